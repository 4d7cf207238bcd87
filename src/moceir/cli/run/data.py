"""Run ``moceir data list``, ``check`` and ``pack``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from moceir.batch.planning import check_reports
from moceir.cli.run.terminal import progress_bar
from moceir.data.checking import Checker, SetReport
from moceir.data.layouts import DATA_SETS, find_data_set
from moceir.data.packs import PACK_SUFFIX, write_pack
from moceir.data.photographs import picture_files
from moceir.errors import OutputError
from moceir.files import write_json

SHOWN_PROBLEMS = 10


def show_list() -> None:
    """Print what is known about each published data set."""
    for dataset in DATA_SETS.values():
        unit = "pairs" if dataset.paired else "pictures"
        typer.echo(f"{dataset.name}: {dataset.part}, {dataset.task}, {dataset.count:,} {unit}")
        typer.echo("    " + " or ".join(" + ".join(place.folders) for place in dataset.places))
        typer.echo(f"    {dataset.source}")


def check(root: Path, names: Sequence[str], *, quick: bool, json_file: Path | None) -> None:
    """Check data sets and print what is wrong with them.

    Args:
        root: Folder that holds them.
        names: Sets that must be there; if empty, all sets that are there are checked.
        quick: Read no picture.
        json_file: Where to write the reports.

    Raises:
        typer.Exit: With code 1 if a set is not complete.
    """
    check_reports(json_file)
    datasets = [find_data_set(name) for name in names] or list(DATA_SETS.values())
    checker = Checker(root, quick=quick)
    reports: list[SetReport] = []
    for dataset in datasets:
        with progress_bar(dataset.name) as checker.on_progress:
            reports.append(checker.check(dataset))
        _show(reports[-1])
    there = [report for report in reports if names or report.state != "missing"]
    whole = bool(there) and all(report.state == "whole" for report in there)
    _show_missing([report for report in reports if report.state == "missing"])
    if json_file:
        content = {"root": str(root), "whole": whole, "sets": [asdict(report) for report in reports]}
        write_json(json_file, content)
    if not whole:
        raise typer.Exit(1)


def pack(folder: Path, output: Path, *, overwrite: bool) -> None:
    """Write the pictures of a folder into a pack.

    Raises:
        typer.BadParameter: If the name of the pack lacks its suffix.
        OutputError: If the pack exists already and may not be replaced.
    """
    if output.suffix.lower() != PACK_SUFFIX:
        raise typer.BadParameter(f"{output} does not end in {PACK_SUFFIX}, the suffix of packs", param_hint="-o")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists already; add --overwrite or choose another output")
    pictures = {path.relative_to(folder).as_posix(): path for path in picture_files(folder)}
    with progress_bar("packing", len(pictures)) as advance:
        write_pack(pictures, output, advance)
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
    """Print one line for all missing sets that come from the same place."""
    for source in dict.fromkeys(report.source for report in reports):
        names = ", ".join(report.name for report in reports if report.source == source)
        typer.echo(f"not there: {names}\n    get it from {source}")
