"""The published benchmarks as one table: where their pictures lie and how they are degraded."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from moceir.errors import ConfigError, DataError


@dataclass(frozen=True)
class Benchmark:
    """A standard test set.

    Attributes:
        clean: Folders of clean pictures below the data root, the first that exists counts.
        degraded: Folders of degraded pictures, likewise; empty if the pictures are degraded by ``degrade``.
        degrade: Degradation text for sets that have clean pictures alone.
    """

    clean: tuple[str, ...]
    degraded: tuple[str, ...] = ()
    degrade: str | None = None


_BSD68 = ("cbsd68", "denoising/cBSD68/original_png")
BENCHMARKS: dict[str, Benchmark] = {
    "cbsd68-s15": Benchmark(_BSD68, degrade="noise:sigma=15"),
    "cbsd68-s25": Benchmark(_BSD68, degrade="noise:sigma=25"),
    "cbsd68-s50": Benchmark(_BSD68, degrade="noise:sigma=50"),
    "rain100l": Benchmark(
        ("rain100l/gt", "deraining/Rain100L/gt"), degraded=("rain100l/rainy", "deraining/Rain100L/rainy")
    ),
}


def find_benchmark(name: str) -> Benchmark:
    """Look up a benchmark.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in BENCHMARKS:
        guess = get_close_matches(name, BENCHMARKS, n=1)
        hint = f"; did you mean '{guess[0]}'?" if guess else ""
        raise ConfigError(f"there is no benchmark '{name}'; the benchmarks are {', '.join(BENCHMARKS)}{hint}")
    return BENCHMARKS[name]


def locate(root: Path, folders: tuple[str, ...]) -> Path:
    """The first of the folders that exists below the root.

    Raises:
        DataError: If none does.
    """
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    raise DataError(f"{root} has none of the folders {', '.join(folders)}; give the folder that holds the test sets")
