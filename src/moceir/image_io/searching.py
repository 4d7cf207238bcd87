"""Which pictures files and folders stand for. Every command that takes a folder searches it here."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from moceir.errors import ImageError, MoceirError
from moceir.image_io.formats import OTHER_SUFFIXES, SUFFIXES

_log = logging.getLogger("moceir")

SIDE_FOLDERS = frozenset(
    {"@eadir", "@tmp", "#snapshot", "#recycle", "@recycle", "@recently-snapshot", "$recycle.bin", "__macosx"}
    | {"system volume information", "lost+found", "_vti_cnf", "thumbnails", ".thumbnails", ".@__thumb", ".appledouble"}
)
"""Folders, in lower case, in which network drives, systems and programs keep thumbnails, copies and deleted files."""
_SIDE_SUFFIXES = (".lrdata", ".lrprev")
_IN_SIDE_FOLDERS, _HIDDEN, _APPLE_DOUBLE, _OTHER = (
    "in folders of thumbnails or copies",
    "hidden",
    "AppleDouble",
    "other",
)


@dataclass
class Search:
    """What a folder or a pattern stands for.

    Attributes:
        pictures: Their files, sorted.
        skipped: Number of other files by kind: ``HEIC``, ``hidden``, ``AppleDouble``, ``other``.
        unread: Folders that the system would not list.
    """

    pictures: list[Path] = field(default_factory=list[Path])
    skipped: Counter[str] = field(default_factory=Counter[str])
    unread: list[OSError] = field(default_factory=list[OSError])

    def report(self, entry: object) -> None:
        """Log one line about the files that were skipped, if there are any."""
        if self.skipped:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.skipped.items()))
            plural = "" if self.skipped.total() == 1 else "s"
            _log.warning("skipped %s file%s in %s: %s", f"{self.skipped.total():,}", plural, entry, counts)


def _refuse(error: MoceirError) -> None:
    raise error


def find(inputs: Iterable[Path], on_problem: Callable[[MoceirError], None] = _refuse) -> list[tuple[Path, Path]]:
    """List the pictures that files and folders stand for.

    Folders are searched recursively, in sorted order. A line in the log ``moceir`` says how many files of which kind
    were skipped.

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
        inside = search(entry)
        for error in inside.unread:
            on_problem(ImageError(f"{error.filename} cannot be searched: {error.strerror}; leave it out or allow it"))
        if not inside.pictures and not inside.unread:
            expected = ", ".join(SUFFIXES)
            on_problem(ImageError(f"the folder {entry} holds no pictures; expected files ending in {expected}"))
        found += [(path, path.relative_to(entry)) for path in inside.pictures]
    return found


def search(folder: Path, suffixes: Sequence[str] = SUFFIXES, *, deep: bool = True) -> Search:
    """Look for pictures in a folder, and log what is skipped.

    Hidden files and folders are skipped, files that macOS keeps beside others, and folders of thumbnails. So are links
    to folders, which could lead in circles; give such a folder itself.

    Args:
        folder: Where to look.
        suffixes: Endings of names that count, in lower case.
        deep: Whether to look in sub-folders too.
    """
    unread: list[OSError] = []
    files: list[Path] = []
    for here, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = [name for name in folders if deep and (not name.startswith(".") or name.lower() in SIDE_FOLDERS)]
        files += [Path(here) / name for name in names]
    found = sift(files, folder, suffixes)
    found.unread = unread
    found.report(folder)
    return found


def sift(files: Iterable[Path], base: Path, suffixes: Sequence[str] = SUFFIXES) -> Search:
    """Tell pictures from other files.

    Args:
        files: What was found.
        base: Where the search began; hidden folders above it do not matter.
        suffixes: Endings of names that count, in lower case.
    """
    found = Search()
    for path in files:
        kind = kind_to_skip(path.relative_to(base), suffixes)
        if kind:
            found.skipped[kind] += 1
        elif not path.is_dir():  # links that lead nowhere are named when they are read
            found.pictures.append(path)
    found.pictures.sort()
    return found


def matching_name(place: PurePath | str) -> str:
    """What files that belong together are matched by: the path without its suffix, in one Unicode form (NFC).

    macOS takes names apart (``u`` and two dots), most other systems leave them together.
    """
    return unicodedata.normalize("NFC", PurePath(place).with_suffix("").as_posix())


def kind_to_skip(place: PurePath, suffixes: Sequence[str] = SUFFIXES) -> str:
    """Return the kind of a file that is skipped, for example ``HEIC``; empty for pictures.

    Args:
        place: The file, relative to the folder that is searched.
        suffixes: Endings of names that count, in lower case.
    """
    folders = [part.lower() for part in place.parts[:-1]]
    if any(folder in SIDE_FOLDERS or folder.endswith(_SIDE_SUFFIXES) for folder in folders):
        return _IN_SIDE_FOLDERS
    if place.name.startswith("._"):
        return _APPLE_DOUBLE
    if any(part.startswith(".") for part in place.parts):
        return _HIDDEN
    suffix = place.suffix.lower()
    if suffix in suffixes:
        return ""
    return suffix[1:].upper() if suffix in OTHER_SUFFIXES else _OTHER
