"""``moceir degrade``: make a test set of degraded pictures, with a description of each, from clean ones."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.loading import implementation
from moceir.cli.options import Existing, Overwrite, SkipExisting, existing_policy


class Format(StrEnum):
    """Formats of degraded pictures; JPEG and WebP lose more than was asked for."""

    png = "png"
    tif = "tif"
    webp = "webp"
    jpg = "jpg"


FORMAT_NAMES = {Format.tif: "tiff", Format.jpg: "jpeg"}


@dataclass(frozen=True)
class DegradeArguments:
    """What ``moceir degrade`` was called with; see ``degrade_command``.

    ``degradation`` is empty if ``replay`` is given.
    """

    inputs: list[Path]
    output: Path
    degradation: str
    seed: int
    replay: Path | None
    depth: Path | None
    format: str
    existing: Existing


def degrade_command(
    inputs: Annotated[list[Path], typer.Argument(help="Clean JPEG, PNG, WebP or TIFF files, and folders of them.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A folder. It is created if needed, and sub-folders are mirrored.")
    ],
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="DEGRADATION",
            help="What to apply: for example noise:sigma=25, low_haze_rain or real. Repeat the option to apply several "
            "in order. Parameters that are not given are drawn for each picture.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random draws.", show_default="0")] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead of --with: repeat what a degradations.jsonl describes.")
    ] = None,
    depth: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Grey depth maps for haze, with the names of the pictures. Brighter is farther."
        ),
    ] = None,
    file_format: Annotated[Format, typer.Option("--format", help="PNG and TIFF are lossless.")] = Format.png,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
) -> None:
    """Degrade clean pictures: noise, poisson_gaussian, rain, snow, haze, blur, low_light, resize, jpeg, or composites.

    The degradation of a picture depends only on the seed and on the picture's
    name in the output folder. The file degradations.jsonl in that folder
    describes each picture on one line; --replay makes the same pictures from
    it.

    Examples:

        moceir degrade photographs/ -o rainy/ --with rain:angle_deg=20,strength=0.6 --seed 3

        moceir degrade photographs/ -o worn/ --with low_light+haze --with jpeg:quality=30

        moceir degrade photographs/ -o again/ --replay worn/degradations.jsonl
    """
    if bool(kinds) == (replay is not None):
        raise typer.BadParameter("give either --with (for example --with noise:sigma=25) or --replay")
    if replay is not None and seed is not None:
        raise typer.BadParameter("--replay repeats the seeds of its file; leave --seed out")
    arguments = DegradeArguments(
        inputs=inputs,
        output=output,
        degradation="+".join(kinds or ()),
        seed=seed or 0,
        replay=replay,
        depth=depth,
        format=FORMAT_NAMES.get(file_format, file_format.value),
        existing=existing_policy(overwrite, skip_existing),
    )
    implementation("degrade").run(arguments)
