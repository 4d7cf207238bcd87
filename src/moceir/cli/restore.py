"""``moceir restore``: files and folders of pictures in, restored files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moceir.cli.options import Device, Model
from moceir.errors import ImageError, MoceirError, OutputError


def restore_command(
    inputs: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or TIFF files, and folders of them.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="A folder (created if needed; sub-folders are mirrored), or a file for one file."
        ),
    ],
    model: Model = "tiny",
    device: Device = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist already.")] = False,
) -> None:
    """Restore pictures: noise, rain, haze, blur, low light, JPEG artefacts or several at once.

    Each file gets one line. A file that fails is reported and the others go on; the exit code is 0 only if all
    succeeded, 1 if some failed, 2 for wrong usage.

    Examples:

        moceir restore photo.jpg -o restored.jpg

        moceir restore scans/ more/*.png -o restored/
    """
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from moceir.allocator import keep_freed_memory  # noqa: PLC0415
    from moceir.restoration import Restorer  # noqa: PLC0415

    jobs, problems = plan_jobs(inputs, output)
    for problem in problems:
        typer.echo(f"failed {problem}", err=True)
    keep_freed_memory()
    restorer = Restorer.from_pretrained(model, device)
    # The bar goes to the terminal alone; lines go where they are sent.
    console = Console(stderr=True)
    failed = len(problems)
    columns = (TextColumn("restoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("restoring", total=len(jobs))
        for source, target in jobs:
            try:
                if target.exists() and not overwrite:
                    raise OutputError(f"{target} exists already; add --overwrite or choose another output")
                done = restorer.restore_file(source, target)
                typer.echo(f"restored {source} -> {target} ({done.width}x{done.height}, {done.seconds:.2f} s)")
            except MoceirError as error:
                failed += 1
                typer.echo(f"failed {source}: {error}", err=True)
            progress.advance(bar)
    if len(jobs) + len(problems) > 1:
        typer.echo(f"{len(jobs) + len(problems) - failed} restored, {failed} failed")
    if failed:
        raise typer.Exit(1)


def plan_jobs(inputs: list[Path], output: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Decide which file becomes which, before anything is written.

    Args:
        inputs: Files and folders.
        output: A folder, or a picture file if there is exactly one input file.

    Returns:
        Pairs of source and target, and a line for each input that holds no pictures.

    Raises:
        OutputError: If two sources would write one target, or the output is a file but the input is not.
    """
    from moceir import image_io  # noqa: PLC0415 - keeps --help fast

    as_file = output.suffix.lower() in image_io.SUFFIXES and not output.is_dir()
    if as_file and len(inputs) == 1 and not inputs[0].is_dir():
        return [(inputs[0], output)], []
    if as_file or output.is_file():
        raise OutputError(f"{output} is a file, but the input is more than one file; give a folder with -o")
    found: list[tuple[Path, Path]] = []
    problems: list[str] = []
    for entry in inputs:
        try:
            found += image_io.find([entry])
        except ImageError as error:
            problems.append(f"{entry}: {error}")
    jobs: dict[Path, Path] = {}
    for source, place in found:
        target = output / place
        if target in jobs:
            raise OutputError(
                f"{jobs[target]} and {source} would both be written to {target}; restore them into different folders"
            )
        jobs[target] = source
    return [(source, target) for target, source in jobs.items()], problems
