"""Open OpenVINO's files for verification."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13

from moceir.export.verification import ROUTE, Arrays, Candidate


@cache
def core() -> openvino.Core:
    """Return the OpenVINO core of this process, which is kept until the process ends.

    If the process has a separate stack for signals (``faulthandler`` sets one up), each core replaces it and puts the
    previous one back when it is freed. If two cores are freed in the order in which they were created, that is memory
    which no longer exists, and the next signal with a Python handler kills the process.
    """
    return openvino.Core()


def openvino_candidate(path: Path, weights: Path) -> Candidate:
    """Open a file as it is, and with the choice of each router as an input."""
    free, steered = (core().read_model(path, weights) for _ in range(2))
    routes = _open_routes(steered)
    return Candidate(_running(free), _running(steered), routes)


def compile_model(model: Any, threads: int, precision: str = "f32") -> Any:
    """Prepare a model, or a file, for the processor. By default OpenVINO would round to bfloat16 where that is fast."""
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    return core().compile_model(model, "CPU", settings)


def _open_routes(model: Any) -> int:
    """Turn the choice of each router into an input of the model, deepest block first; return how many there are."""
    choices = [node for node in model.get_ordered_ops() if node.get_type_name() == "TopK"]
    for number, choice in enumerate(choices):
        entry: Any = opset13.parameter([1, -1], np.int64, name=ROUTE.format(number))
        entry.output(0).set_names({ROUTE.format(number)})
        for reader in choice.output(1).get_target_inputs():
            reader.replace_source_output(entry.output(0))
        model.add_parameters([entry])
    model.validate_nodes_and_infer_types()
    return len(choices)


def _running(model: Any) -> Any:
    compiled = compile_model(model, torch.get_num_threads())

    def run(inputs: Arrays) -> Any:
        return compiled(inputs)[0]

    return run
