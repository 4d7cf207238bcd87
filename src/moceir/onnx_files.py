"""Files of ``moceir export`` in onnxruntime, on the processor. Nothing here imports torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from moceir.config import ModelConfig
from moceir.errors import WeightsError, require_extra

SUFFIX = ".onnx"
LIBRARY = "onnxruntime"
"""What has to be installed."""
INPUT, OUTPUT = "image", "restored"
"""Names of the input and the output of an exported network."""
CONFIG = "config"
"""Key of the file's metadata that holds the shape of the network."""

_OUT_OF_MEMORY = re.compile(r"bad_alloc|[Ff]ailed to allocate")
"""What onnxruntime says, in errors of several types, where memory runs out."""

Images = NDArray[np.float32]
"""Images ``(N, 3, H, W)``, RGB in [0, 1]."""


@dataclass(frozen=True)
class Runtime:
    """An exported network, ready to run.

    Attributes:
        config: Shape of the network.
        run: Takes ``(1, 3, H, W)`` float32 RGB in [0, 1] and returns the same shape, not clamped. Raises `MemoryError`
            if memory runs out.
    """

    config: ModelConfig
    run: Callable[[Images], Images]


def open_file(path: Path, threads: int | None = None) -> Runtime:
    """Open a file of ``moceir export``.

    Args:
        path: The file.
        threads: How many to compute with; None leaves it to onnxruntime.

    Raises:
        MissingExtraError: If onnxruntime is not installed.
        WeightsError: If the file is missing, damaged or not from ``moceir export``.
    """
    require_extra(LIBRARY, "onnx")
    if not path.is_file():
        raise WeightsError(f"there is no file {path}; make it with: moceir export MODEL -o {path}")
    errors = _errors()
    try:
        loaded = session(path, threads)
    except errors as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{path} cannot be opened ({reason}); write it again with moceir export") from error

    def run(images: Images) -> Images:
        try:
            (restored,) = loaded.run(None, {INPUT: images})
        except errors as error:
            if _OUT_OF_MEMORY.search(str(error)):
                raise MemoryError(str(error)) from error
            raise
        return restored

    try:
        config = ModelConfig.model_validate_json(loaded.get_modelmeta().custom_metadata_map.get(CONFIG, ""))
    except ValidationError as error:
        msg = f"{path} does not describe a network of moceir; give a file that moceir export wrote"
        raise WeightsError(msg) from error
    return Runtime(config, run)


def session(model: Path | bytes, threads: int | None) -> Any:
    """Load a file, or its content, for the processor."""
    # Of the extra: what only names files works without it.
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors arrive as exceptions and need no second report
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _errors() -> tuple[type[Exception], ...]:
    """Return what onnxruntime raises. These exceptions have no base class in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415  # pyright: ignore[reportAttributeAccessIssue] - compiled

    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
