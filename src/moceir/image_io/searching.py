"""Which pictures files and folders stand for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from moceir.errors import ImageError, MoceirError
from moceir.image_io.formats import SUFFIXES


def _refuse(error: MoceirError) -> None:
    raise error


def find(inputs: Iterable[Path], on_problem: Callable[[MoceirError], None] = _refuse) -> list[tuple[Path, Path]]:
    """List the pictures that files and folders stand for.

    Folders are searched recursively by suffix, in sorted order. Hidden files and folders are left out, and so are links
    to folders, which could lead in circles; give such a folder itself.

    Args:
        inputs: Files (taken whatever their names) and folders.
        on_problem: Called with what is wrong with one input, while the others go on; raises it by default.

    Returns:
        Pairs of the file and its place relative to the input it came from, ``a/b.png`` for ``b.png`` in ``in/a``.

    Raises:
        ImageError: If a folder cannot be read or holds no picture.
    """
    found: list[tuple[Path, Path]] = []
    for entry in inputs:
        if not entry.is_dir():
            found.append((entry, Path(entry.name)))
            continue
        unread: list[OSError] = []
        inside = sorted(_pictures_below(entry, unread))
        for error in unread:
            on_problem(ImageError(f"{error.filename} cannot be searched: {error.strerror}; leave it out or allow it"))
        if not inside and not unread:
            expected = ", ".join(SUFFIXES)
            on_problem(ImageError(f"the folder {entry} holds no pictures; expected files ending in {expected}"))
        found += [(path, path.relative_to(entry)) for path in inside]
    return found


def _pictures_below(folder: Path, unread: list[OSError]) -> Iterable[Path]:
    for here, folders, files in os.walk(folder, onerror=unread.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(here) / name
