"""Compare an exported file with the network it was made from, on pictures and routes that reach every expert."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor

from moceir.config import ModelConfig
from moceir.errors import ExportError
from moceir.models.network import MoCEIR
from moceir.onnx_files import INPUT, session

TOLERANCE = 2e-4
"""Largest difference from the network that is allowed, a twentieth of a level of 255."""
SIZES = ((1, 1), (9, 2), (64, 96), (77, 45))
"""Heights and widths to compare at."""
ROUTE = "route_{}"
"""Names of the inputs that choose the experts of each block, deepest first."""

Arrays = dict[str, NDArray[Any]]


class Candidate(NamedTuple):
    """An exported file that is to be compared with its network."""

    free: Callable[[Arrays], NDArray[np.float32]]
    """Runs it as it is."""
    steered: Callable[[Arrays], NDArray[np.float32]]
    """Runs it with the experts that inputs choose, see `ROUTE`."""
    routers: int
    """How many inputs choose experts."""


def on_cpu(network: MoCEIR, *, half: bool) -> MoCEIR:
    """Copy a network to the CPU in evaluation mode and float32, with weights that float16 holds if asked."""
    plain = copy.deepcopy(network).cpu().eval()
    return (plain.half() if half else plain).float()


def verify(network: MoCEIR, candidate: Candidate, *, batch: bool) -> tuple[int, float]:
    """Run a file and compare it with the network.

    Args:
        network: The network, on the CPU, in evaluation mode.
        candidate: The exported file.
        batch: Whether it takes several images.

    Returns:
        The number of comparisons and the largest difference.

    Raises:
        ExportError: If the difference is larger than `TOLERANCE` or not a number.
    """
    entries = [ROUTE.format(number) for number in range(candidate.routers)]
    differences: list[float] = []
    for seed, (height, width) in enumerate(SIZES):
        image = _picture(height, width, seed)
        images = torch.cat([image, _picture(height, width, seed + len(SIZES))]) if batch else image
        with torch.inference_mode():
            differences.append(_difference(network(images), candidate.free, {INPUT: images}))
            for route in _routes(network.config):
                expected, _ = network.restore_with_routing(image, routes=route)
                chosen = dict(zip(entries, route, strict=True))
                differences.append(_difference(expected, candidate.steered, {INPUT: image} | chosen))
    largest = max(differences, key=lambda difference: math.inf if math.isnan(difference) else difference)
    if not largest <= TOLERANCE:
        raise ExportError(
            f"the file would differ from the network by {largest:.2g}, where {TOLERANCE:g} is allowed; no file was "
            "written; check that the weights are finite, and report this with the model if they are"
        )
    return len(differences), largest


def onnx_candidate(path: Path) -> Candidate:
    """Open an ONNX file as it is, and with the choice of each router as an input."""
    free, steered = ir.load(path), ir.load(path)
    routers = _open_routes(steered)
    return Candidate(_running(free), _running(steered), routers)


def _routes(config: ModelConfig) -> Iterator[Tensor]:
    """List routes ``(blocks, 1, top_k)`` that reach every expert in every block."""
    for first in range(config.experts):
        experts = (first + torch.arange(config.top_k)) % config.experts
        yield experts.expand(config.routed_blocks, 1, -1)


def _open_routes(model: ir.Model) -> int:
    """Turn the choice of each router into an input of the graph, deepest block first; return how many there are."""
    choices = [node for node in model.graph if node.op_type == "TopK"]
    for number, choice in enumerate(choices):
        entry = ir.Value(name=ROUTE.format(number), type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([1, None]))
        choice.outputs[1].replace_all_uses_with(entry)
        model.graph.inputs.append(entry)
    return len(choices)


def _running(model: ir.Model) -> Callable[[Arrays], NDArray[np.float32]]:
    loaded = session(ir.to_proto(model).SerializeToString(), torch.get_num_threads())

    def run(inputs: Arrays) -> NDArray[np.float32]:
        (restored,) = loaded.run(None, inputs)
        return restored

    return run


def _difference(expected: Tensor, run: Callable[[Arrays], NDArray[np.float32]], inputs: dict[str, Tensor]) -> float:
    restored = run({name: tensor.numpy() for name, tensor in inputs.items()})
    return float(np.abs(restored - expected.numpy()).max())


def _picture(height: int, width: int, seed: int) -> Tensor:
    """Draw an image ``(1, 3, H, W)`` in [0, 1]: dark and smooth for some seeds, bright and noisy for others."""
    generator = torch.Generator().manual_seed(seed)
    strength, offset = torch.rand(2, generator=generator)
    return (offset + strength * torch.randn(1, 3, height, width, generator=generator)).clamp(0, 1)
