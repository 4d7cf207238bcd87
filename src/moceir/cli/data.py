"""``moceir data``: which data sets there are, whether they are whole, and packs that load fast."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moceir.errors import OutputError
from moceir.files import whole_file

if TYPE_CHECKING:
    from moceir.data.checking import SetReport

SHOWN_PROBLEMS = 10

data_app = typer.Typer(help="List, check and pack data sets to train and to evaluate on.", no_args_is_help=True)


@data_app.command("list")
def list_command() -> None:
    """List the published data sets: name, use, task, size, folders below the data root, and where to get them."""
    from moceir.data.layouts import DATA_SETS  # noqa: PLC0415 - keeps --help fast

    for dataset in DATA_SETS.values():
        unit = "pairs" if dataset.paired else "pictures"
        typer.echo(f"{dataset.name}: {dataset.part}, {dataset.task}, {dataset.count:,} {unit}")
        typer.echo("    " + " or ".join(" + ".join(place.folders) for place in dataset.places))
        typer.echo(f"    {dataset.source}")


@data_app.command("check")
def check_command(
    root: Annotated[Path, typer.Argument(help="Folder that holds the data sets.")],
    names: Annotated[
        list[str] | None, typer.Option("--set", help="Check this set, be it there or not; may be given several times.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Compare names and counts; read no picture.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was found there, in full.")] = None,
) -> None:
    """Check that data sets are whole: counts, partners by name, readable files, equal sizes in each pair.

    The exit code is 0 if every set that is there (or that was asked for) is whole, and 1 otherwise.

    Examples:

        moceir data check datasets/

        moceir data check datasets/ --set rain100l-train --set rain100l --quick
    """
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import Progress  # noqa: PLC0415

    from moceir.batch.planning import check_reports  # noqa: PLC0415
    from moceir.data.checking import Checker  # noqa: PLC0415
    from moceir.data.layouts import DATA_SETS, find_data_set  # noqa: PLC0415

    check_reports(json_file)
    datasets = [find_data_set(name) for name in names] if names else list(DATA_SETS.values())
    console = Console(stderr=True)
    reports: list[SetReport] = []
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("")
        checker = Checker(
            root, quick=quick, on_progress=lambda done, total: progress.update(bar, completed=done, total=total)
        )
        for dataset in datasets:
            progress.update(bar, description=dataset.name)
            reports.append(checker.check(dataset))
            _show(reports[-1])
    there = [report for report in reports if names or report.state != "missing"]
    whole = bool(there) and all(report.state == "whole" for report in there)
    _show_missing([report for report in reports if report.state == "missing"])
    if json_file:
        _write_json(json_file, root, whole, reports)
    if not whole:
        raise typer.Exit(1)


@data_app.command("pack")
def pack_command(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, searched with its sub-folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The pack to write, NAME.pack.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a pack that exists already.")] = False,
) -> None:
    """Decode the pictures of a folder into one file that is read without decoding.

    Give the pack to training wherever it takes a folder, a folder of published sets included. It is as large as the
    decoded pictures: three bytes per pixel.

    Examples:

        moceir data pack photographs/ -o photographs.pack

        moceir train recipes/tiny.yaml --data photographs.pack
    """
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import Progress  # noqa: PLC0415

    from moceir.data.packs import PACK_SUFFIX, write_pack  # noqa: PLC0415
    from moceir.data.photographs import picture_files  # noqa: PLC0415

    if output.suffix.lower() != PACK_SUFFIX:
        raise typer.BadParameter(f"{output} does not end in {PACK_SUFFIX}, by which packs are known", param_hint="-o")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; add --overwrite or choose another output")
    pictures = {path.relative_to(folder).as_posix(): path for path in picture_files(folder)}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("packing", total=len(pictures))
        write_pack(pictures, output, lambda: progress.advance(bar))
    typer.echo(f"packed {len(pictures)} pictures into {output} ({output.stat().st_size / 2**20:.1f} MiB)")


def _show(report: SetReport) -> None:
    if report.state == "missing":
        return
    typer.echo(f"{report.name}: {report.state}, {report.found:,} of {report.expected:,}")
    for problem in report.problems[:SHOWN_PROBLEMS]:
        typer.echo(f"    {problem}")
    if len(report.problems) > SHOWN_PROBLEMS:
        typer.echo(f"    and {len(report.problems) - SHOWN_PROBLEMS} more; --json FILE lists them all")


def _show_missing(reports: list[SetReport]) -> None:
    """Sets that come from one place get one line."""
    for source in dict.fromkeys(report.source for report in reports):
        names = ", ".join(report.name for report in reports if report.source == source)
        typer.echo(f"not there: {names}\n    get it from {source}")


def _write_json(path: Path, root: Path, whole: bool, reports: list[SetReport]) -> None:
    content = {"root": str(root), "whole": whole, "sets": [asdict(report) for report in reports]}
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
