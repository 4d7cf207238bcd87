"""Degraded and clean pictures that belong together, matched by name and never by position."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from moceir import image_io
from moceir.errors import DataError


def pair_folders(degraded: Path, clean: Path) -> list[tuple[Path, Path]]:
    """Match every degraded picture with its clean one.

    Names match if the stems are equal, if the clean stem is the text before the first ``_`` of the degraded one
    (``0012_0.9_0.2`` and ``0012``), or as ``rain-X`` and ``norain-X``; tried in this order.

    Args:
        degraded: Folder of degraded pictures.
        clean: Folder of clean pictures.

    Returns:
        Pairs of degraded and clean files, sorted by the degraded name.

    Raises:
        DataError: If a folder is missing, or a picture has no partner or several; the message names it.
    """
    for folder in (degraded, clean):
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give a folder of pictures")
    partners: dict[str, list[Path]] = defaultdict(list)
    for path in _pictures(clean):
        partners[path.stem].append(path)
    pairs: list[tuple[Path, Path]] = []
    for path in _pictures(degraded):
        names = [path.stem, path.stem.split("_", 1)[0]]
        if path.stem.startswith("rain-"):
            names.append("no" + path.stem)
        found = next((partners[name] for name in names if name in partners), [])
        if not found:
            wanted = " or ".join(dict.fromkeys(names))
            raise DataError(f"{path} has no partner in {clean}; expected a picture named {wanted}")
        if len(found) > 1:
            raise DataError(f"{path} has several partners ({', '.join(map(str, found))}); keep one of them")
        pairs.append((path, found[0]))
    return pairs


def _pictures(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in image_io.SUFFIXES and p.is_file())
    if not found:
        raise DataError(
            f"the folder {folder} holds no pictures; expected files ending in {', '.join(image_io.SUFFIXES)}"
        )
    return found
