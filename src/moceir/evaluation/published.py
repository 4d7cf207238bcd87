"""Published results as data: one table per setting, and the settings as groups of benchmarks.

Source: MoCE-IR (arXiv 2411.18466), tables 1, 2 and 3. Each method was trained on the data of the setting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from moceir.data.layouts import find_benchmark
from moceir.errors import ConfigError

REFERENCE = "MoCE-IR-S"
"""Published network that results are compared with."""


class Score(NamedTuple):
    """PSNR in dB, and SSIM if it was published."""

    psnr_db: float
    ssim: float | None = None


@dataclass(frozen=True)
class PublishedTable:
    """Results of several methods on the benchmarks of one setting.

    Attributes:
        title: Name of the setting.
        benchmarks: Names of the benchmarks, which are the columns.
        rows: Scores by method, one per benchmark.
        means: Mean by method, as published.
    """

    title: str
    benchmarks: tuple[str, ...]
    rows: dict[str, tuple[Score, ...]]
    means: dict[str, Score]


_S = Score
PUBLISHED: dict[str, PublishedTable] = {
    "aio3": PublishedTable(
        "Three tasks: haze, rain, noise",
        ("sots-outdoor", "rain100l", "cbsd68-s15", "cbsd68-s25", "cbsd68-s50"),
        {
            "AirNet": (_S(27.94, 0.962), _S(34.90, 0.967), _S(33.92, 0.933), _S(31.26, 0.888), _S(28.00, 0.797)),
            "PromptIR": (_S(30.58, 0.974), _S(36.37, 0.972), _S(33.98, 0.933), _S(31.31, 0.888), _S(28.06, 0.799)),
            "MoCE-IR-S": (_S(30.94, 0.979), _S(38.22, 0.983), _S(34.08, 0.933), _S(31.42, 0.888), _S(28.16, 0.798)),
            "MoCE-IR": (_S(31.34, 0.979), _S(38.57, 0.984), _S(34.11, 0.932), _S(31.45, 0.888), _S(28.18, 0.800)),
        },
        {
            "AirNet": _S(31.20, 0.910),
            "PromptIR": _S(32.06, 0.913),
            "MoCE-IR-S": _S(32.57, 0.916),
            "MoCE-IR": _S(32.73, 0.917),
        },
    ),
    "aio5": PublishedTable(
        "Five tasks: haze, rain, noise, blur, low light",
        ("sots-outdoor", "rain100l", "cbsd68-s25", "gopro", "lolv1"),
        {
            "Restormer": (_S(24.09), _S(34.81), _S(31.49), _S(27.22), _S(20.41)),
            "InstructIR-5D": (_S(27.10), _S(36.84), _S(31.40), _S(29.40), _S(23.00)),
            "MoCE-IR-S": (_S(31.33, 0.978), _S(37.21, 0.978), _S(31.25, 0.884), _S(28.90, 0.877), _S(21.68, 0.851)),
            "MoCE-IR": (_S(30.48, 0.974), _S(38.04, 0.982), _S(31.34, 0.887), _S(30.05, 0.899), _S(23.00, 0.852)),
        },
        {
            "Restormer": _S(27.60, 0.881),
            "InstructIR-5D": _S(29.55, 0.908),
            "MoCE-IR-S": _S(30.08, 0.913),
            "MoCE-IR": _S(30.58, 0.919),
        },
    ),
    "cdd11": PublishedTable(
        "Composites: low light, haze, rain, snow",
        (
            *("cdd11-low", "cdd11-haze", "cdd11-rain", "cdd11-snow"),
            *("cdd11-low_haze", "cdd11-low_rain", "cdd11-low_snow", "cdd11-haze_rain", "cdd11-haze_snow"),
            *("cdd11-low_haze_rain", "cdd11-low_haze_snow"),
        ),
        {
            "MoCE-IR-S": (
                *(_S(27.26), _S(32.66), _S(34.31), _S(35.91)),
                *(_S(26.24), _S(26.25), _S(26.04), _S(29.93), _S(30.19)),
                *(_S(25.41), _S(25.39)),
            )
        },
        {"MoCE-IR-S": _S(29.05, 0.881)},
    ),
}


def expand(names: Iterable[str]) -> list[str]:
    """Replace names of settings by the names of their benchmarks, without duplicates.

    Args:
        names: Benchmarks and settings (``aio3``, ``aio5``, ``cdd11`` or ``all``).

    Raises:
        ConfigError: If a name is neither a setting nor a benchmark.
    """
    settings = {key: table.benchmarks for key, table in PUBLISHED.items()}
    settings["all"] = tuple(name for benchmarks in settings.values() for name in benchmarks)
    found: list[str] = []
    for name in names:
        if name not in settings:
            try:
                find_benchmark(name)
            except ConfigError as error:
                raise ConfigError(f"{error} (groups of benchmarks: {', '.join(settings)})") from None
        found += settings.get(name, (name,))
    return list(dict.fromkeys(found))


def tables_for(measured: Iterable[str]) -> list[PublishedTable]:
    """Choose the tables to show beside measured benchmarks.

    These are the tables whose benchmarks were all measured, and those that cover any of the remaining benchmarks.

    Args:
        measured: Names of the measured benchmarks.
    """
    left = set(measured)
    whole = [table for table in PUBLISHED.values() if left.issuperset(table.benchmarks)]
    left -= {name for table in whole for name in table.benchmarks}
    return [table for table in PUBLISHED.values() if table in whole or left.intersection(table.benchmarks)]
