"""Models as exported files: written by name, or made on first use and kept."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

from moceir.export.exported import Exported, to_onnx, to_openvino
from moceir.files import sha256
from moceir.onnx_files import SUFFIX
from moceir.weights import CONFIG_FILE, WEIGHTS_FILE, ModelFile, load, read_description, resolve

WRITERS = {"onnx": to_onnx, "openvino": to_openvino}


def export_model(model: str, path: Path, file_format: str, *, batch: bool = False, half: bool = False) -> Exported:
    """Export a model by its name, with its license in the file.

    Args:
        model: A model, as for `moceir.weights.load`.
        path: The file to write.
        file_format: ``onnx`` or ``openvino``.
        batch: As for `to_onnx`.
        half: As for `to_onnx`.

    Raises:
        WeightsError: If there is no such model, or it is damaged.
        MissingExtraError: As `to_onnx` and `to_openvino`.
        ExportError: If the file would compute something else than the network.
        OutputError: If the file cannot be written.
    """
    network = load(model)
    folder = resolve(model)
    description = read_description(folder) if folder.is_dir() else ModelFile(model=network.config)
    name = Path(model).name
    return WRITERS[file_format](network, path, batch=batch, half=half, name=name, license=description.license)


def cached_export(model: str) -> Path:
    """Return the ONNX file of a model, and write it first if there is none for these weights and this version.

    Args:
        model: A model, as for `moceir.weights.load`.

    Raises:
        WeightsError: If there is no such model, or it is damaged.
        MissingExtraError: If the libraries that export are not installed.
        ExportError: If the file would compute something else than the network.
        OutputError: If the file cannot be written.
    """
    found = resolve(model)
    parts = [found / CONFIG_FILE, found / WEIGHTS_FILE] if found.is_dir() else [found]
    contents = "".join(sha256(part) for part in parts if part.is_file())
    fingerprint = hashlib.sha256(contents.encode()).hexdigest()[:32]
    path = _folder() / f"{fingerprint}-{version('moceir')}{SUFFIX}"
    if not path.is_file():
        export_model(model, path, "onnx")
    return path


def _folder() -> Path:
    """Return where caches of users are kept, by the convention of most systems."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "moceir" / "exported"
