"""What commands over many pictures share: which file becomes which, and one after the other with a line for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from moceir.errors import ImageError, MoceirError, OutputError


def plan_jobs(inputs: list[Path], output: Path, suffix: str | None = None) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Decide which file becomes which, before anything is written.

    Args:
        inputs: Files and folders.
        output: A folder; or, if outputs keep their suffixes and there is exactly one input file, a picture file.
        suffix: Suffix of all outputs, as ``.png``; None to keep those of the inputs.

    Returns:
        Pairs of source and target, and a line for each input that holds no pictures.

    Raises:
        OutputError: If two sources would write one target, or the output is a file where a folder is needed.
    """
    from moceir import image_io  # noqa: PLC0415 - keeps --help fast

    as_file = output.suffix.lower() in image_io.SUFFIXES and not output.is_dir()
    if as_file and suffix is None and len(inputs) == 1 and not inputs[0].is_dir():
        return [(inputs[0], output)], []
    if as_file or output.is_file():
        raise OutputError(f"{output} is the name of a file, but this makes a folder of files; give a folder with -o")
    found: list[tuple[Path, Path]] = []
    problems: list[str] = []
    for entry in inputs:
        try:
            found += image_io.find([entry])
        except ImageError as error:
            problems.append(f"{entry}: {error}")
    jobs: dict[Path, Path] = {}
    for source, place in found:
        target = output / (place if suffix is None else place.with_suffix(suffix))
        if target in jobs:
            raise OutputError(
                f"{jobs[target]} and {source} would both be written to {target}; give them different output folders"
            )
        jobs[target] = source
    return [(source, target) for target, source in jobs.items()], problems


def run_jobs(
    jobs: list[tuple[Path, Path]],
    problems: list[str],
    work: Callable[[Path, Path], str],
    *,
    done: str,
    overwrite: bool,
) -> None:
    """Do the jobs of ``plan_jobs``, with a progress bar and a line for each; one that fails does not stop the others.

    Args:
        jobs: Pairs of source and target.
        problems: A line for each input that could not be planned; they count as failed.
        work: Makes the target and returns what the line says about it.
        done: What happened to a picture, as ``restored``.
        overwrite: Whether targets that exist are replaced.

    Raises:
        typer.Exit: With code 1 if anything failed.
    """
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    for problem in problems:
        typer.echo(f"failed {problem}", err=True)
    failed = len(problems)
    # The bar goes to the terminal alone; lines go where they are sent.
    console = Console(stderr=True)
    columns = (TextColumn(done), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(done, total=len(jobs))
        for source, target in jobs:
            try:
                if target.exists() and not overwrite:
                    raise OutputError(f"{target} exists already; add --overwrite or choose another output")
                typer.echo(f"{done} {source} -> {target} ({work(source, target)})")
            except MoceirError as error:
                failed += 1
                typer.echo(f"failed {source}: {error}", err=True)
            progress.advance(bar)
    if len(jobs) + len(problems) > 1:
        typer.echo(f"{len(jobs) + len(problems) - failed} {done}, {failed} failed")
    if failed:
        raise typer.Exit(1)
