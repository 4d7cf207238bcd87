"""Run ``moceir degrade``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import typer

from moceir import image_io
from moceir.batch.planning import Job, Naming, plan
from moceir.cli.degrade import DegradeArguments
from moceir.cli.run.jobs import Stages, run_jobs
from moceir.data import degraded
from moceir.data.degraded import Description
from moceir.degradations import parse
from moceir.errors import DataError
from moceir.image_io import Picture


def run(arguments: DegradeArguments) -> None:
    """Degrade each picture, and write one description for each into the output folder.

    Raises:
        ConfigError: If the degradation is unknown or a parameter does not fit.
        DataError: If the file to replay cannot be read.
        OutputError: If two outputs have the same name.
        typer.Exit: With code 1 if a picture failed.
    """
    describe = _describer(arguments)
    jobs, problems = plan(arguments.inputs, Naming(arguments.output, arguments.format, single_file=False))
    listing = arguments.output / degraded.DESCRIPTIONS
    described = degraded.read_descriptions(listing) if listing.exists() else {}

    def read(job: Job) -> Picture:
        image_io.protect_original(job.source, job.target)
        return image_io.read(job.source)

    def work(job: Job, clean: Picture) -> tuple[Picture, Description]:
        description = describe(job.target.relative_to(arguments.output).as_posix())
        depth_map = None
        if arguments.depth and description.depth_map:
            depth_map = degraded.read_depth(arguments.depth, description.name, clean.rgb.shape[:2])
        return degraded.degrade_picture(clean, description, depth_map), description

    def write(job: Job, done: tuple[Picture, Description]) -> str:
        picture, description = done
        image_io.write(job.target, picture)
        described[description.name] = description
        return f"{picture.rgb.shape[1]}x{picture.rgb.shape[0]}, {description.degradation}"

    try:
        run_jobs(jobs, problems, Stages("degraded", read, work, write, str), arguments.existing)
    finally:
        # After an interruption too: pictures are of little use without their descriptions.
        if described:
            degraded.write_descriptions(listing, described.values())


def _describer(arguments: DegradeArguments) -> Callable[[str], Description]:
    """Return the function that gives the description for a file name: drawn anew, or as recorded."""
    if arguments.replay:
        return partial(_recorded, degraded.read_descriptions(arguments.replay), arguments)
    spec = parse(arguments.degradation)
    if arguments.depth and "haze" not in spec.names:
        raise typer.BadParameter(f"--depth is for haze, and there is none in {spec}")
    return partial(degraded.draw_description, spec, arguments.seed, depth_map=arguments.depth is not None)


def _recorded(recorded: dict[str, Description], arguments: DegradeArguments, file: str) -> Description:
    known = recorded.get(degraded.name_of(file))
    if known is None:
        name = degraded.name_of(file)
        raise DataError(f"{arguments.replay} has no line for {name}; add one or leave the picture out")
    if known.depth_map and arguments.depth is None:
        raise DataError(f"{known.file} was made with a depth map; give the folder of depth maps with --depth")
    return known.model_copy(update={"file": file})
