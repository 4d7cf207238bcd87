"""Options that several commands share, and readers for their texts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from moceir.restoration.options import Effort, Experts

OUTPUT, ROUTES, LIMITS = "What is written", "Which experts work", "Limits"
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
Upscale = Annotated[
    int | None,
    typer.Option(
        "--upscale",
        metavar="2|3|4",
        min=1,
        max=4,
        help="Enlarge: both sides grow by this factor. The model is then tiny-x2 or tiny-x4, if none is given.",
        show_default=False,
    ),
]


class Backend(StrEnum):
    """Programs that compute the network; ``auto`` follows the suffix of the model."""

    auto = "auto"
    torch = "torch"
    onnx = "onnx"


BackendOption = Annotated[
    Backend,
    typer.Option(
        "--backend",
        metavar="BACKEND",
        help="torch, onnx (onnxruntime), or auto: onnx if the model is an .onnx file, else torch.",
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


class Format(StrEnum):
    """Formats that are written; ``auto`` is the input's."""

    auto = "auto"
    png = "png"
    jpeg = "jpeg"
    webp = "webp"
    tiff = "tiff"


Strength = Annotated[
    float, typer.Option(metavar="0..1", help="How much of the restoration to take: 0 is none, 1 is all.")
]
KeepTones = Annotated[
    bool,
    typer.Option(
        "--keep-tones",
        metavar="",
        help="Keep brightness and colours at large scales: for dusk and mist, which are not faults.",
    ),
]
FileFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="png, jpeg, webp, tiff, or auto: the input's (PNG where that is only read, as AVIF).",
        rich_help_panel=OUTPUT,
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(metavar="1..100", help="Of JPEG and WebP.", show_default="95", rich_help_panel=OUTPUT),
]
StripMetadata = Annotated[
    bool,
    typer.Option(
        "--strip-metadata",
        metavar="",
        help="Leave out EXIF (with place and time), XMP, IPTC and comments. The colour profile stays.",
        rich_help_panel=OUTPUT,
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What the network may take for a picture, as 4GB; above it, pictures are restored in tiles.",
        show_default="most of what is free",
        rich_help_panel=LIMITS,
    ),
]
MaxMegapixels = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        min=1e-6,
        max=1e6,
        help="Refuse larger pictures: small files can unpack to more than there is memory. Enlarged ones count.",
        show_default="what memory allows, at most 500",
        rich_help_panel=LIMITS,
    ),
]
MaxFileSize = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Refuse larger files, as 500MB.", show_default="2GB", rich_help_panel=LIMITS),
]


SAME_NAME = (
    *("model", "upscale", "backend", "device", "precision", "compiled", "experts", "effort"),
    *("strength", "keep_tones", "memory_limit", "quality"),
)
"""Options of the command line that have the name and the values of their field in ``moceir.RestoreOptions``."""


def asked_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``moceir.RestoreOptions`` that a command was asked for; None where an option was left out.

    Args:
        given: Parameters of the command by name, as in ``typer.Context.params``.
    """
    file_format, megapixels = Format(given["file_format"]), given["max_megapixels"]
    return {name: given[name] for name in SAME_NAME if name in given} | {
        "format": None if file_format is Format.auto else file_format.value,
        "metadata": "strip" if given["strip_metadata"] else "keep",
        "max_pixels": None if megapixels is None else megapixels * 1e6,
        "max_bytes": given["max_file_size"],
    }


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
