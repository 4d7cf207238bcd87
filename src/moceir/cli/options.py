"""Options that several commands share."""

from __future__ import annotations

import re
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Option("--model", "-m", help="A bundled model's name, a model folder, or a published .ckpt file.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]


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
