"""The ONNX graph of a network: padding, the network, cropping."""

from __future__ import annotations

import onnx_ir as ir
import torch
from onnx_ir.passes import common
from torch import Tensor

from moceir.config import ModelConfig
from moceir.export.layers import for_export
from moceir.export.operators import OPERATORS, OPSET
from moceir.export.recording import Recorded, Recorder
from moceir.models.layers import pad_to_multiple
from moceir.models.network import MoCEIR
from moceir.models.routing import routing_requests
from moceir.onnx_files import INPUT, OUTPUT

EXAMPLE = (1, 3, 72, 40)
"""Shape that the network is recorded with; verification uses others."""


def network_graph(network: MoCEIR, *, batch: bool, half: bool) -> ir.Model:
    """Record a network that takes images of any size.

    Args:
        network: The network, in evaluation mode, on the CPU.
        batch: Take any number of images, with all experts at work on each; else one image, with a branch per expert.
        half: Store the weights as float16. The arithmetic stays in float32.
    """
    view = for_export(network, batch=batch)
    recorder = Recorder(OPERATORS, dict(network.state_dict(keep_vars=True)), half=half, batch=batch)
    number = "images" if batch else 1
    sides = ["height", "width"]
    enlarged = sides if network.config.scale == 1 else [f"{network.config.scale}*{side}" for side in sides]
    source, target = (
        ir.Value(name=name, shape=ir.Shape([number, 3, *shape]), type=ir.TensorType(ir.DataType.FLOAT))
        for name, shape in ((INPUT, sides), (OUTPUT, enlarged))
    )
    with torch.no_grad():
        example = torch.rand(EXAMPLE, generator=torch.Generator().manual_seed(0))
        image = recorder.wrap(example, source)
        requests = routing_requests(network.config, image.shape[0], None, None, 0.0)
        features, _ = view.features(_padded(recorder, image, network.config), requests)
        restored = view.enlarge(features, image)
    nodes = [*recorder.nodes, ir.node("Identity", [recorder.value(restored)], outputs=[target])]
    graph = ir.Graph(
        [source],
        [target],
        nodes=nodes,
        initializers=recorder.initializers,
        opset_imports={"": OPSET},
        name="MoCE-IR",
    )
    model = ir.Model(graph, ir_version=8, producer_name="moceir")
    ir.passes.Sequential(
        common.RemoveUnusedNodesPass(),
        common.CommonSubexpressionEliminationPass(),
        common.NameFixPass(),
    )(model)
    return model


def _padded(recorder: Recorder, image: Recorded, config: ModelConfig) -> Tensor:
    """Record `pad_to_multiple` so that one graph fits all sizes: where nothing is missing, it copies the image."""
    multiple, op = config.size_multiple, recorder.op
    padded = recorder.value(image)
    for axis in (-2, -1):
        size = image.shape[axis]
        count = op("Squeeze", (size + multiple - 1) // multiple * multiple)
        period = op("Max", (size - 1) * 2, [1])
        phase = op("Mod", op("Range", 0, count, 1), period)
        padded = op("Gather", padded, op("Min", phase, op("Sub", period, phase)), axis=axis)
    with torch._C.DisableTorchFunctionSubclass():  # pyright: ignore[reportPrivateUsage] - torch documents it so
        example = pad_to_multiple(image, multiple)
    return recorder.wrap(example, padded)
