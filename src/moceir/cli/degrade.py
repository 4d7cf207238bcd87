"""``moceir degrade``: clean pictures in, a test set of degraded ones out, with a description of each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moceir.cli.jobs import Overwrite, SkipExisting, Stages, existing_policy, run_jobs
from moceir.errors import DataError

if TYPE_CHECKING:
    from moceir.batch.planning import Job
    from moceir.image_io import Picture


class Format(StrEnum):
    """Formats of degraded pictures; JPEG and WebP lose more than was asked for."""

    png = "png"
    tif = "tif"
    webp = "webp"
    jpg = "jpg"


FORMAT_NAMES = {Format.tif: "tiff", Format.jpg: "jpeg"}


def degrade_command(
    inputs: Annotated[list[Path], typer.Argument(help="Clean JPEG, PNG, WebP or TIFF files, and folders of them.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A folder (created if needed; sub-folders are mirrored).")
    ],
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="DEGRADATION",
            help="What to do, as noise:sigma=25, low_haze_rain or real; give several to do one after the other. "
            "Parameters that are not given are drawn for each picture.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything drawn.", show_default="0")] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead of --with: repeat what a degradations.jsonl describes.")
    ] = None,
    depth: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Grey depth maps for haze, named as the pictures; brighter is farther."),
    ] = None,
    file_format: Annotated[Format, typer.Option("--format", help="PNG and TIFF keep every level.")] = Format.png,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
) -> None:
    """Degrade clean pictures: noise, poisson_gaussian, rain, snow, haze, blur, low_light, resize, jpeg, or composites.

    A picture's degradation depends on the seed and its relative name alone. What was drawn is written to
    degradations.jsonl in the output folder, a line for each picture, from which --replay makes the same pictures again.

    Examples:

        moceir degrade photographs/ -o rainy/ --with rain:angle_deg=20,strength=0.6 --seed 3

        moceir degrade photographs/ -o worn/ --with low_light+haze --with jpeg:quality=30

        moceir degrade photographs/ -o again/ --replay worn/degradations.jsonl
    """
    _check_usage(kinds, replay, seed)
    existing = existing_policy(overwrite, skip_existing)

    from moceir import image_io  # noqa: PLC0415 - keeps --help fast
    from moceir.batch.planning import Naming, plan  # noqa: PLC0415
    from moceir.data import degraded  # noqa: PLC0415
    from moceir.degradations import parse  # noqa: PLC0415

    spec = parse("+".join(kinds)) if kinds else None
    if spec and depth and "haze" not in spec.names:
        raise typer.BadParameter(f"--depth is for haze, and there is none in {spec}")
    recorded = degraded.read_descriptions(replay) if replay else {}
    kind = FORMAT_NAMES.get(file_format, file_format.value)
    jobs, problems = plan(inputs, Naming(output, kind, single_file=False))
    listing = output / degraded.DESCRIPTIONS
    described = degraded.read_descriptions(listing) if listing.exists() else {}

    def describe(file: str) -> degraded.Description:
        if spec:
            return degraded.draw_description(spec, seed or 0, file, depth_map=depth is not None)
        known = recorded.get(degraded.name_of(file))
        if known is None:
            raise DataError(f"{replay} has no line for {degraded.name_of(file)}; add one or leave the picture out")
        if known.depth_map and depth is None:
            raise DataError(f"{known.file} was made with a depth map; give the folder of depth maps with --depth")
        return known.model_copy(update={"file": file})

    def read(job: Job) -> Picture:
        image_io.protect_original(job.source, job.target)
        return image_io.read(job.source)

    def work(job: Job, clean: Picture) -> tuple[Picture, degraded.Description]:
        description = describe(job.target.relative_to(output).as_posix())
        size = clean.rgb.shape[0], clean.rgb.shape[1]
        depth_map = degraded.read_depth(depth, description.name, size) if depth and description.depth_map else None
        return degraded.degrade_picture(clean, description, depth_map), description

    def write(job: Job, done: tuple[Picture, degraded.Description]) -> str:
        picture, description = done
        image_io.write(job.target, picture)
        described[description.name] = description
        return f"{picture.rgb.shape[1]}x{picture.rgb.shape[0]}, {description.degradation}"

    try:
        run_jobs(jobs, problems, Stages("degraded", read, work, write, str), existing)
    finally:
        # Also after an interruption: pictures without their description would be of little use.
        if described:
            degraded.write_descriptions(listing, described.values())


def _check_usage(kinds: list[str] | None, replay: Path | None, seed: int | None) -> None:
    """Refuse options that contradict each other.

    Raises:
        typer.BadParameter: If they do.
    """
    if bool(kinds) == (replay is not None):
        raise typer.BadParameter("give either --with, as --with noise:sigma=25, or --replay")
    if replay is not None and seed is not None:
        raise typer.BadParameter("--replay repeats the seeds of its file; leave --seed out")
