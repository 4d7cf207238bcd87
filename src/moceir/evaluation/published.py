"""Published results as data: one table per setting, and the settings as groups of benchmarks.

Source of the restoration settings: MoCE-IR (arXiv 2411.18466), tables 1, 2 and 3; each method was trained on the data
of the setting. Sources of the tables for super-resolution stand beside them.
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
        means: Mean by method, as published; empty if none is published.
        reference: Method that results are compared with.
        on_y: Whether scores are on Y without a border, as in super-resolution, and not on RGB.
        note: What there is to know about the rows, such as their sources.
    """

    title: str
    benchmarks: tuple[str, ...]
    rows: dict[str, tuple[Score, ...]]
    means: dict[str, Score]
    reference: str = REFERENCE
    on_y: bool = False
    note: str = ""


_S = Score
_SR_SETS = ("set5", "set14", "b100", "urban100", "manga109")
_SR_ROWS: dict[int, dict[str, tuple[Score, ...]]] = {
    2: {
        "bicubic": (_S(33.66, 0.9299), _S(30.24, 0.8688), _S(29.56, 0.8431), _S(26.88, 0.8403), _S(30.80, 0.9339)),
        "SRCNN": (_S(36.66, 0.9542), _S(32.45, 0.9067), _S(31.36, 0.8879), _S(29.50, 0.8946), _S(35.60, 0.9663)),
        "EDSR-baseline": (
            *(_S(37.99, 0.9604), _S(33.57, 0.9175), _S(32.16, 0.8994), _S(31.98, 0.9272)),
            _S(38.54, 0.9769),
        ),
        "SwinIR-light": (
            *(_S(38.14, 0.9611), _S(33.86, 0.9206), _S(32.31, 0.9012), _S(32.76, 0.9340)),
            _S(39.12, 0.9783),
        ),
    },
    3: {
        "bicubic": (_S(30.39, 0.8682), _S(27.55, 0.7742), _S(27.21, 0.7385), _S(24.46, 0.7349), _S(26.95, 0.8556)),
        "SRCNN": (_S(32.75, 0.9090), _S(29.30, 0.8215), _S(28.41, 0.7863), _S(26.24, 0.7989), _S(30.48, 0.9117)),
        "EDSR-baseline": (
            *(_S(34.37, 0.9270), _S(30.28, 0.8417), _S(29.09, 0.8052), _S(28.15, 0.8527)),
            _S(33.45, 0.9439),
        ),
        "SwinIR-light": (
            *(_S(34.62, 0.9289), _S(30.54, 0.8463), _S(29.20, 0.8082), _S(28.66, 0.8624)),
            _S(33.98, 0.9478),
        ),
    },
    4: {
        "bicubic": (_S(28.42, 0.8104), _S(26.00, 0.7027), _S(25.96, 0.6675), _S(23.14, 0.6577), _S(24.89, 0.7866)),
        "SRCNN": (_S(30.48, 0.8628), _S(27.50, 0.7513), _S(26.90, 0.7101), _S(24.52, 0.7221), _S(27.58, 0.8555)),
        "EDSR-baseline": (
            *(_S(32.09, 0.8938), _S(28.58, 0.7813), _S(27.57, 0.7357), _S(26.04, 0.7849)),
            _S(30.35, 0.9067),
        ),
        "SwinIR-light": (
            *(_S(32.44, 0.8976), _S(28.77, 0.7858), _S(27.69, 0.7406), _S(26.47, 0.7980)),
            _S(30.92, 0.9151),
        ),
    },
}
_SR_NOTE = (
    "Bicubic and SRCNN as in RCAN (arXiv 1807.02758), EDSR-baseline (arXiv 1707.02921) as reprinted in papers on light "
    "networks, SwinIR-light as in SwinIR (arXiv 2108.10257). Published rows were measured in MATLAB or Python, which "
    "differ by hundredths of a dB. Of MoCE-IR only 28.1 dB on Manga109 is known, without scale, training data or "
    "protocol, so it has no row."
)
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
    **{
        f"sr{scale}": PublishedTable(
            f"Enlargement by {scale}",
            tuple(f"{name}-x{scale}" for name in _SR_SETS),
            rows,
            {},
            reference="bicubic",
            on_y=True,
            note=_SR_NOTE,
        )
        for scale, rows in _SR_ROWS.items()
    },
}


def expand(names: Iterable[str]) -> list[str]:
    """Replace names of settings by the names of their benchmarks, without duplicates.

    Args:
        names: Benchmarks and settings (``aio3``, ``aio5``, ``cdd11``, ``sr2``, ``sr3``, ``sr4``, or ``all`` for those
            of restoration).

    Raises:
        ConfigError: If a name is neither a setting nor a benchmark.
    """
    settings = {key: table.benchmarks for key, table in PUBLISHED.items()}
    settings["all"] = tuple(name for table in PUBLISHED.values() if not table.on_y for name in table.benchmarks)
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
