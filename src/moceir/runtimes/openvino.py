"""OpenVINO's own files, and ONNX files, in OpenVINO on the processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import openvino

from moceir.runtimes.files import CONFIG, INPUT, Images

ERRORS: tuple[type[Exception], ...] = (RuntimeError,)
"""What OpenVINO raises."""
METADATA = ["framework", CONFIG]
"""Where OpenVINO keeps the metadata of an ONNX file, also in its own files that were made from one."""


@cache
def core() -> openvino.Core:
    """Return the OpenVINO core of this process, which is kept until the process ends.

    If the process has a separate stack for signals (``faulthandler`` sets one up), each core replaces it and puts the
    previous one back when it is freed. If two cores are freed in the order in which they were created, that is memory
    which no longer exists, and the next signal with a Python handler kills the process.
    """
    return openvino.Core()


def start(path: Path, threads: int | None) -> tuple[Callable[[Images], Images], Mapping[str, str]]:
    """Load a file; return what runs it, and its metadata."""
    model: Any = core().read_model(path)
    compiled = compile_model(model, threads)
    metadata = {CONFIG: str(model.get_rt_info(METADATA).value)} if model.has_rt_info(METADATA) else {}
    return lambda images: compiled({INPUT: images})[0], metadata


def compile_model(model: Any, threads: int | None) -> Any:
    """Prepare a model for the processor, in float32: by default OpenVINO rounds to bfloat16 where that is fast."""
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    return core().compile_model(model, "CPU", settings)
