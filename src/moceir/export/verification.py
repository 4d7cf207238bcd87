"""Compare an exported file with the network it was made from, on pictures and routes that reach every expert."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor

from moceir.config import ModelConfig
from moceir.errors import ExportError
from moceir.export.graph import INPUT
from moceir.models.network import MoCEIR

TOLERANCE = 2e-4
"""Largest difference from the network that is allowed, a twentieth of a level of 255."""
SIZES = ((1, 1), (9, 2), (64, 96), (77, 45))
"""Heights and widths to compare at."""


def on_cpu(network: MoCEIR, *, half: bool) -> MoCEIR:
    """Copy a network to the CPU in evaluation mode and float32, with weights that float16 holds if asked."""
    plain = copy.deepcopy(network).cpu().eval()
    return (plain.half() if half else plain).float()


def verify(network: MoCEIR, path: Path, *, batch: bool) -> tuple[int, float]:
    """Run a file with onnxruntime and compare it with the network.

    Args:
        network: The network, on the CPU, in evaluation mode.
        path: The exported file.
        batch: Whether it takes several images.

    Returns:
        The number of comparisons and the largest difference.

    Raises:
        ExportError: If the difference is larger than `TOLERANCE` or not a number.
    """
    free, steered = ir.load(path), ir.load(path)
    entries = _open_routes(steered)
    run_free, run_steered = _session(free), _session(steered)
    differences: list[float] = []
    for seed, (height, width) in enumerate(SIZES):
        image = _picture(height, width, seed)
        images = torch.cat([image, _picture(height, width, seed + len(SIZES))]) if batch else image
        with torch.inference_mode():
            differences.append(_difference(network(images), run_free, {INPUT: images}))
            for route in _routes(network.config):
                expected, _ = network.restore_with_routing(image, routes=route)
                chosen = dict(zip(entries, route, strict=True))
                differences.append(_difference(expected, run_steered, {INPUT: image} | chosen))
    largest = max(differences, key=lambda difference: math.inf if math.isnan(difference) else difference)
    if not largest <= TOLERANCE:
        raise ExportError(
            f"the file would differ from the network by {largest:.2g}, where {TOLERANCE:g} is allowed; no file was "
            "written; check that the weights are finite, and report this with the model if they are"
        )
    return len(differences), largest


def _routes(config: ModelConfig) -> Iterator[Tensor]:
    """List routes ``(blocks, 1, top_k)`` that reach every expert in every block."""
    for first in range(config.experts):
        experts = (first + torch.arange(config.top_k)) % config.experts
        yield experts.expand(config.routed_blocks, 1, -1)


def _open_routes(model: ir.Model) -> list[str]:
    """Turn the choice of each router into an input of the graph; return their names, deepest block first."""
    choices = [node for node in model.graph if node.op_type == "TopK"]
    for number, choice in enumerate(choices):
        entry = ir.Value(name=f"route_{number}", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1, None]))
        choice.outputs[1].replace_all_uses_with(entry)
        model.graph.inputs.append(entry)
    return [f"route_{number}" for number in range(len(choices))]


def _session(model: ir.Model) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    serialized = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])


def _difference(expected: Tensor, session: Any, inputs: dict[str, Tensor]) -> float:
    (restored,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return float(np.abs(restored - expected.numpy()).max())


def _picture(height: int, width: int, seed: int) -> Tensor:
    """Draw an image ``(1, 3, H, W)`` in [0, 1]: dark and smooth for some seeds, bright and noisy for others."""
    generator = torch.Generator().manual_seed(seed)
    strength, offset = torch.rand(2, generator=generator)
    return (offset + strength * torch.randn(1, 3, height, width, generator=generator)).clamp(0, 1)
