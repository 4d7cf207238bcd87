"""What ``moceir cluster restore`` does."""

from __future__ import annotations

import re
import time

import typer

from moceir.cli.cluster import ClusterArguments
from moceir.cli.run.jobs import interruption
from moceir.cli.run.restore import restore_options
from moceir.cli.run.terminal import echo
from moceir.cluster.job import Job, check_places, cluster, restore_all
from moceir.cluster.manifest import FOLDER
from moceir.cluster.progress import Progress
from moceir.cluster.results import RESTORED, Row
from moceir.cluster.stores import Store

LINE_S = 10.0
"""Seconds between two lines about the progress."""


def run(arguments: ClusterArguments) -> None:
    """Restore a store of pictures on a cluster.

    Raises:
        typer.BadParameter: If options contradict each other.
        typer.Exit: With code 1 if anything failed or is left to do.
        MoceirError: If the job cannot begin or go on.
    """
    smallest, largest = _numbers(arguments.actors)
    job = Job(
        source=arguments.source,
        target=arguments.target,
        options=restore_options(arguments.asked, arguments.force_expert),
        smallest=smallest,
        largest=largest,
        cpus=arguments.threads,
        gpus=arguments.gpus,
        retry_failed=arguments.retry_failed,
        list_again=arguments.list_again,
    )
    check_places(Store(job.source), Store(job.target))
    lines = _Lines()
    with cluster(arguments.address), interruption() as stop:
        progress = restore_all(job, on_listed=lines.listed, on_row=lines.row, on_progress=lines.progress, stop=stop)
    echo(f"{progress}; a row for each is in {job.target.rstrip('/')}/{FOLDER}/results")
    if progress.left:
        echo(f"{progress.left:,} left to do; go on with the same command", err=True)
    if progress.left or progress.done != progress.counts[RESTORED]:
        raise typer.Exit(1)


def _numbers(actors: str | None) -> tuple[int, int | None]:
    """Read the least and the most number of workers.

    Raises:
        typer.BadParameter: If the text is not one number or two.
    """
    if actors is None:
        return 1, None
    parts = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", actors)
    smallest, largest = (int(parts[1]), int(parts[2] or parts[1])) if parts else (0, 0)
    if not 1 <= smallest <= largest:
        raise typer.BadParameter(f"'{actors}' is not a number of workers; write it as 4, or as 2:16")
    return smallest, largest


class _Lines:
    """Prints failures as they come, and now and then how far the job is."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def listed(self, count: int) -> None:
        echo(f"listed {count:,} pictures", err=True)

    def row(self, row: Row) -> None:
        if row["status"] != RESTORED:
            echo(f"{row['status']}: {row['error']}", err=True)

    def progress(self, progress: Progress) -> None:
        if time.monotonic() - self._printed >= LINE_S:
            self._printed = time.monotonic()
            echo(str(progress), err=True)
