"""Pairing of degraded and clean pictures by name, never by position."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from moceir.data.photographs import picture_files
from moceir.errors import DataError
from moceir.image_io import matching_name

Rule = Literal["same name", "text before _", "rain-X to norain-X"]
"""Rule that derives the name of the clean picture from that of the degraded one (without suffixes)."""
RULES: dict[Rule, Callable[[str], str | None]] = {
    "same name": lambda stem: stem,
    "text before _": lambda stem: stem.split("_", 1)[0],
    "rain-X to norain-X": lambda stem: f"no{stem}" if stem.startswith("rain-") else None,
}
ALL_RULES: tuple[Rule, ...] = tuple(RULES)


def match_files(
    degraded: Sequence[Path], clean: Sequence[Path], rules: Sequence[Rule] = ALL_RULES
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Match every degraded picture with its clean one, and describe those that do not match.

    Args:
        degraded: Files of degraded pictures.
        clean: Files of clean pictures; several degraded pictures may share one.
        rules: Naming rules, tried in order.

    Returns:
        Pairs of degraded and clean files in the order of ``degraded``, and one line for each picture that has no
        partner or more than one.
    """
    partners: dict[str, list[Path]] = defaultdict(list)
    for path in clean:
        partners[matching_name(path.name)].append(path)
    pairs: list[tuple[Path, Path]] = []
    problems: list[str] = []
    for path in degraded:
        names = list(
            dict.fromkeys(name for rule in rules if (name := RULES[rule](matching_name(path.name))) is not None)
        )
        found = next((partners[name] for name in names if name in partners), [])
        if len(found) == 1:
            pairs.append((path, found[0]))
        elif found:
            problems.append(f"{path} has several partners ({', '.join(map(str, found))}); keep one of them")
        else:
            where = ", ".join(dict.fromkeys(str(path.parent) for path in clean)) or "no folder"
            problems.append(f"{path} has no partner in {where}; expected a picture named {' or '.join(names)}")
    return pairs, problems


def pair_files(
    degraded: Sequence[Path], clean: Sequence[Path], rules: Sequence[Rule] = ALL_RULES
) -> list[tuple[Path, Path]]:
    """Match every degraded picture with its clean one, as ``match_files`` does.

    Raises:
        DataError: If a picture has no partner or more than one; the message names the first such picture.
    """
    pairs, problems = match_files(degraded, clean, rules)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(problems[0] + more)
    return pairs


def pair_folders(degraded: Path, clean: Path) -> list[tuple[Path, Path]]:
    """Match the pictures of two folders.

    Names match, in this order of preference, if the stems are equal, if the clean stem is the text before the first
    ``_`` of the degraded one (``0012_0.9_0.2`` and ``0012``), or if they are ``rain-X`` and ``norain-X``.

    Args:
        degraded: Folder of degraded pictures, or a pack of it.
        clean: Folder of clean pictures, or a pack of it.

    Returns:
        Pairs of degraded and clean files, sorted by the degraded name.

    Raises:
        DataError: If a folder is missing or empty, or a picture has no partner or more than one; the message names it.
    """
    return pair_files(picture_files(degraded, deep=False), picture_files(clean, deep=False))
