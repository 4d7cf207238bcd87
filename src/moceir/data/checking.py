"""Checks that published data sets are present and complete before a long run starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moceir.data.layouts import DataSet, locate, set_files
from moceir.data.pairs import match_files
from moceir.data.photographs import Photographs, is_folder
from moceir.errors import DataError, MoceirError

State = Literal["whole", "damaged", "missing"]
_Look = tuple[int, int] | str
"""Width and height of a picture, or the reason it cannot be read."""


@dataclass(frozen=True)
class SetReport:
    """Result of checking a data set.

    Attributes:
        name: Name of the set.
        state: ``whole``, ``damaged`` (files are missing, unreadable or unmatched) or ``missing`` (nothing found).
        found: Number of pairs, or of clean pictures if the set has no degraded ones.
        expected: Number in the published set.
        problems: One line per problem.
        source: Where to get the set.
    """

    name: str
    state: State
    found: int
    expected: int
    problems: list[str]
    source: str


class Checker:
    """Checks data sets; a file that several sets share is read only once.

    Args:
        root: Folder that holds the data sets, or a pack of it.
        quick: Whether to check only the names, without reading the pictures.
        on_progress: Called with the number of pictures read so far and in total for the current set.

    Raises:
        DataError: If the root does not exist.
    """

    def __init__(
        self, root: Path, *, quick: bool = False, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        if not is_folder(root):
            raise DataError(f"{root} is not a folder; give the folder that holds the data sets")
        self.root = root
        self.quick = quick
        self.on_progress = on_progress
        self._photographs = Photographs(cache_bytes=0)
        self._seen: dict[Path, _Look] = {}

    def check(self, dataset: DataSet) -> SetReport:
        """Check one data set."""
        if locate(dataset, self.root) is None:
            return SetReport(dataset.name, "missing", 0, dataset.count, [], dataset.source)
        try:
            degraded, clean = set_files(dataset, self.root)
        except DataError as error:
            return SetReport(dataset.name, "damaged", 0, dataset.count, [str(error)], dataset.source)
        pairs, problems = match_files(degraded, clean, dataset.rules) if dataset.paired else ([], [])
        if dataset.paired and "text before _" not in dataset.rules:
            problems += _lonely(clean, {partner for _, partner in pairs})
        found = len(pairs if dataset.paired else clean)
        if found != dataset.count:
            what = "pairs" if dataset.paired else "pictures"
            problems.append(f"{found} {what} instead of the {dataset.count} of the published set")
        if not self.quick:
            problems += self._unreadable(degraded + clean) + self._unequal(pairs)
        return SetReport(
            dataset.name, "damaged" if problems else "whole", found, dataset.count, problems, dataset.source
        )

    def _unreadable(self, paths: Sequence[Path]) -> list[str]:
        """Read the pictures not read before and return one line for each unreadable picture."""
        unseen = [path for path in paths if path not in self._seen]
        # Decoding releases the GIL, so threads can use all cores.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, (path, look) in enumerate(zip(unseen, pool.map(self._look, unseen), strict=True), 1):
                self._seen[path] = look
                if self.on_progress:
                    self.on_progress(number, len(unseen))
        return [look for path in paths if isinstance(look := self._seen[path], str)]

    def _look(self, path: Path) -> _Look:
        try:
            picture = self._photographs[path]
        except MoceirError as error:
            return str(error)
        return picture.shape[-1], picture.shape[-2]

    def _unequal(self, pairs: Iterable[tuple[Path, Path]]) -> list[str]:
        """Return one line for each pair of readable pictures that differ in size."""
        problems: list[str] = []
        for degraded, clean in pairs:
            sizes = [look for path in (degraded, clean) if not isinstance(look := self._seen[path], str)]
            if len(set(sizes)) > 1:
                shown = " and ".join(f"{width}x{height}" for width, height in sizes)
                problems.append(f"{degraded} and {clean} differ in size ({shown}); mend the pair")
        return problems


def _lonely(clean: Sequence[Path], partners: set[Path]) -> list[str]:
    return [f"{path} has no degraded version; get it or remove this one" for path in clean if path not in partners]
