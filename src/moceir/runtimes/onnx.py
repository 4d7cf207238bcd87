"""ONNX files in onnxruntime, on the processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _state  # pyright: ignore[reportAttributeAccessIssue] - compiled

from moceir.runtimes.files import INPUT, Images

ERRORS = tuple(kind for kind in vars(_state).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""What onnxruntime raises. These exceptions have no base class in common."""


def start(path: Path, threads: int | None) -> tuple[Callable[[Images], Images], Mapping[str, str]]:
    """Load a file; return what runs it, and its metadata."""
    loaded = session(path, threads)

    def run(images: Images) -> Images:
        (restored,) = loaded.run(None, {INPUT: images})
        return restored

    return run, loaded.get_modelmeta().custom_metadata_map


def session(model: Path | bytes, threads: int | None) -> Any:
    """Load a file, or its content, for the processor."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors arrive as exceptions and need no second report
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
