"""Open exported files, whatever program runs them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from moceir.config import ModelConfig
from moceir.errors import ConfigError, WeightsError, require_extra

BACKENDS = {"onnx": (".onnx",), "openvino": (".xml", ".onnx")}
"""Suffixes of the files that each program reads; the first is that of its own files."""
LIBRARIES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""What has to be installed for each."""
INPUT, OUTPUT = "image", "restored"
"""Names of the input and the output of an exported network."""
CONFIG = "config"
"""Key of the file's metadata that holds the shape of the network."""

_OUT_OF_MEMORY = re.compile(r"bad_alloc|[Ff]ailed to allocate|[Cc]an ?no?t allocate|not enough memory", re.ASCII)
"""What the programs say, in errors of several types, where memory runs out."""

Images = NDArray[np.float32]
"""Images ``(N, 3, H, W)``, RGB in [0, 1]."""


@dataclass(frozen=True)
class Runtime:
    """An exported network, ready to run.

    Attributes:
        config: Shape of the network.
        run: Takes ``(1, 3, H, W)`` float32 RGB in [0, 1] and returns the same shape, not clamped.
    """

    config: ModelConfig
    run: Callable[[Images], Images]


def open_file(path: Path, backend: str, threads: int | None = None) -> Runtime:
    """Open a file of ``moceir export``.

    Args:
        path: The file.
        backend: ``onnx`` or ``openvino``.
        threads: How many to compute with; None leaves it to the program.

    Raises:
        ConfigError: If the program does not read such files.
        MissingExtraError: If the program is not installed.
        WeightsError: If the file is missing, damaged or not from ``moceir export``.
    """
    suffixes = BACKENDS[backend]
    if path.suffix not in suffixes:
        raise ConfigError(f"backend {backend} cannot run {path}; give a {' or '.join(suffixes)} file of moceir export")
    require_extra(LIBRARIES[backend], backend)
    if not path.is_file():
        raise WeightsError(f"there is no file {path}; make it with: moceir export MODEL -o {path}")
    # By name, because each of the two modules needs a library that may not be installed.
    program = importlib.import_module(f"moceir.runtimes.{backend}")
    try:
        run, metadata = program.start(path, threads)
    except program.ERRORS as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{path} cannot be opened ({reason}); write it again with moceir export") from error
    return Runtime(_config(path, metadata), lambda images: _run(run, images, program.ERRORS))


def _config(path: Path, metadata: Mapping[str, str]) -> ModelConfig:
    """Read the shape of the network from a file's metadata.

    Raises:
        WeightsError: If it is not there.
    """
    try:
        return ModelConfig.model_validate_json(metadata.get(CONFIG, ""))
    except ValidationError as error:
        msg = f"{path} does not describe a network of moceir; give a file that moceir export wrote"
        raise WeightsError(msg) from error


def _run(run: Callable[[Images], Images], images: Images, errors: tuple[type[Exception], ...]) -> Images:
    """Run a network.

    Raises:
        MemoryError: If memory runs out.
    """
    try:
        return run(images)
    except errors as error:
        if _OUT_OF_MEMORY.search(str(error)):
            raise MemoryError(str(error)) from error
        raise
