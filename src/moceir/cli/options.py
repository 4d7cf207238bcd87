"""Options that several commands share."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from moceir.restoration.options import Effort, Experts

ROUTES = "Which experts work"

Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="A bundled model's name, a model folder, or a published .ckpt file."
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="PRECISION",
        help="auto, float32, bfloat16 or float16 arithmetic; auto is bfloat16 on GPUs made for it, else float32.",
    ),
]

Compiled = Annotated[
    bool,
    typer.Option(
        "--compile",
        metavar="",
        help="For GPUs and many pictures of one size: let torch.compile make the network faster, which takes minutes.",
    ),
]


class Forced(StrEnum):
    """Ends of the scale of experts."""

    cheapest = "cheapest"
    dearest = "dearest"


EffortOption = Annotated[
    str,
    typer.Option(
        "--effort",
        metavar="low|auto|high|NUMBER",
        help="Shift the routers' choice towards cheap (low, below 0) or dear experts (high, above 0).",
        rich_help_panel=ROUTES,
    ),
]
RouteOption = Annotated[
    str | None,
    typer.Option(
        "--experts",
        metavar="0,2,...",
        help="Fix the expert of each decoder block, deep first.",
        rich_help_panel=ROUTES,
    ),
]
ForceExpert = Annotated[
    Forced | None,
    typer.Option(
        "--force-expert",
        metavar="cheapest|dearest",
        help="Fix the cheapest or the dearest expert in all blocks.",
        rich_help_panel=ROUTES,
    ),
]


def parse_effort(text: str) -> Effort:
    """Read ``low``, ``auto``, ``high`` or a number.

    Raises:
        typer.BadParameter: If the text is neither.
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
    """Read who is to work on pictures from ``--experts`` and ``--force-expert``.

    Raises:
        typer.BadParameter: If both are given, or the first is no list of numbers.
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
    """Read ``90s``, ``45m``, ``1h30m`` or a plain number of seconds.

    Args:
        text: The duration.

    Returns:
        Seconds, above zero.

    Raises:
        typer.BadParameter: If the text is no duration.
    """
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    seconds = (
        sum(int(value or 0) * unit for value, unit in zip(parts.groups(), (3600, 60, 1), strict=True)) if parts else 0
    )
    if seconds <= 0:
        raise typer.BadParameter(f"'{text}' is no duration; write it as 90s, 45m or 1h30m")
    return float(seconds)


def parse_size(text: str) -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT`` in pixels, as ``640x480``.

    Raises:
        typer.BadParameter: If the text is no size of at least one pixel.
    """
    sides = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text.strip().lower())
    width, height = (int(sides[1]), int(sides[2])) if sides else (0, 0)
    if not width or not height:
        raise typer.BadParameter(f"'{text}' is no size; write it as WIDTHxHEIGHT in pixels, as 640x480")
    return width, height
