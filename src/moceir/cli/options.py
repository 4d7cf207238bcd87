"""Options that several commands share, and readers for their texts."""

from __future__ import annotations

import math
import re
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moceir.restoration.options import Effort, Experts

OUTPUT, ROUTES = "What is written", "Which experts work"
"""Panels of the help."""

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Name of a bundled model, a model folder, a published .ckpt file, or user/name on the Hugging Face Hub.",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="PRECISION",
        help="auto, float32, bfloat16 or float16. auto is bfloat16 on GPUs that support it, and float32 elsewhere.",
    ),
]

Compiled = Annotated[
    bool,
    typer.Option(
        "--compile",
        metavar="",
        help="Speed up the network with torch.compile. Takes minutes; for GPUs and many pictures of one size.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="Threads of the processor. By default torch decides.", show_default=False
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", metavar="", help="Replace outputs that exist already.", rich_help_panel=OUTPUT),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        metavar="",
        help="Keep outputs that exist already. Use this to go on with an interrupted run.",
        rich_help_panel=OUTPUT,
    ),
]


class Existing(Enum):
    """What to do with outputs that exist already."""

    REFUSE = auto()
    SKIP = auto()
    REPLACE = auto()


class Forced(StrEnum):
    """The two ends of the range of experts."""

    cheapest = "cheapest"
    dearest = "dearest"


EffortOption = Annotated[
    str,
    typer.Option(
        "--effort",
        metavar="low|auto|high|NUMBER",
        help="Shift the routers' choice to cheap experts (low, or below 0) or expensive ones (high, or above 0).",
        rich_help_panel=ROUTES,
    ),
]
RouteOption = Annotated[
    str | None,
    typer.Option(
        "--experts",
        metavar="0,2,...",
        help="Fix the expert of each decoder block, deepest block first.",
        rich_help_panel=ROUTES,
    ),
]
ForceExpert = Annotated[
    Forced | None,
    typer.Option(
        "--force-expert",
        metavar="cheapest|dearest",
        help="Use the cheapest or the most expensive expert in every block.",
        rich_help_panel=ROUTES,
    ),
]


def existing_policy(overwrite: bool, skip_existing: bool) -> Existing:
    """Read what to do with existing outputs from ``--overwrite`` and ``--skip-existing``.

    Raises:
        typer.BadParameter: If both are given.
    """
    if overwrite and skip_existing:
        raise typer.BadParameter("give --overwrite or --skip-existing, not both")
    return Existing.REPLACE if overwrite else Existing.SKIP if skip_existing else Existing.REFUSE


def parse_effort(text: str) -> Effort:
    """Read ``low``, ``auto``, ``high`` or a number.

    Raises:
        typer.BadParameter: If the text is something else.
    """
    if text in ("low", "auto", "high"):
        return text
    try:
        shift = float(text)
    except ValueError:
        shift = math.nan
    if not math.isfinite(shift):
        raise typer.BadParameter(f"'{text}' is no effort; give low, auto, high or a number, as -0.5 (0 is auto)")
    return shift


def parse_experts(experts: str | None, force: Forced | None) -> Experts:
    """Read which experts to use from ``--experts`` and ``--force-expert``.

    Raises:
        typer.BadParameter: If both are given, or the first is not a list of numbers.
    """
    if experts is None:
        return force.value if force else "auto"
    if force:
        raise typer.BadParameter("give one of --experts and --force-expert")
    if not re.fullmatch(r"\d+(,\d+)*", experts):
        raise typer.BadParameter(
            f"'{experts}' is no list of experts; write it as 0,2,1 with a number per decoder block"
        )
    return tuple(int(number) for number in experts.split(","))


def parse_duration(text: str) -> float:
    """Read ``90s``, ``45m``, ``1h30m`` or a number of seconds.

    Returns:
        Seconds, above zero.

    Raises:
        typer.BadParameter: If the text is not a duration.
    """
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    seconds = (
        sum(int(value or 0) * unit for value, unit in zip(parts.groups(), (3600, 60, 1), strict=True)) if parts else 0
    )
    if seconds <= 0:
        raise typer.BadParameter(f"'{text}' is not a duration; write it as 90s, 45m or 1h30m")
    return float(seconds)


def parse_size(text: str) -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT`` in pixels, for example ``640x480``.

    Raises:
        typer.BadParameter: If the text is not a size of at least one pixel.
    """
    sides = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text.strip().lower())
    width, height = (int(sides[1]), int(sides[2])) if sides else (0, 0)
    if not width or not height:
        raise typer.BadParameter(f"'{text}' is not a size; write it as WIDTHxHEIGHT in pixels, for example 640x480")
    return width, height
