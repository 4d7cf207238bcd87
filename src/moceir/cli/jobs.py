"""What commands over many pictures share: one after the other, with a line for each, a bar, a summary and an end."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from moceir.batch.pipeline import overlapped
from moceir.errors import MoceirError, named

if TYPE_CHECKING:
    from moceir.batch.planning import Job

Read = TypeVar("Read")
Worked = TypeVar("Worked")
Written = TypeVar("Written")

FULL = (errno.ENOSPC, errno.EDQUOT)


class Existing(Enum):
    """What happens to outputs that are there already."""

    REFUSE = auto()
    SKIP = auto()
    REPLACE = auto()


OUTPUT = "What is written"

Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", metavar="", help="Replace outputs that exist already.", rich_help_panel=OUTPUT),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        metavar="",
        help="Leave outputs that exist as they are: goes on where a run ended.",
        rich_help_panel=OUTPUT,
    ),
]


def existing_policy(overwrite: bool, skip_existing: bool) -> Existing:
    """One of three from two options.

    Raises:
        typer.BadParameter: If both are given.
    """
    if overwrite and skip_existing:
        raise typer.BadParameter("give --overwrite or --skip-existing, not both")
    return Existing.REPLACE if overwrite else Existing.SKIP if skip_existing else Existing.REFUSE


@dataclass(frozen=True)
class Stages(Generic[Read, Worked, Written]):
    """How a picture is made, as in ``moceir.batch.pipeline.overlapped``, and what its line says.

    Attributes:
        done: What happened to a picture, as ``restored``.
        read: First stage.
        work: Second stage.
        write: Third stage.
        describe: What the line says of what the third stage made.
        record: Called with each job and its outcome: what was made, the error, or None if it was skipped.
        summarize: What the last line says in addition, given the seconds from the first picture's reading to the last
            one's writing.
    """

    done: str
    read: Callable[[Job], Read]
    work: Callable[[Job, Read], Worked]
    write: Callable[[Job, Worked], Written]
    describe: Callable[[Written], str]
    record: Callable[[Job, Written | MoceirError | None], None] = lambda *_: None
    summarize: Callable[[float], str] = lambda _: ""


def run_jobs(jobs: list[Job], problems: list[str], stages: Stages[Any, Any, Any], existing: Existing) -> None:
    """Do the jobs, with a progress bar and a line for each; one that fails does not stop the others.

    Ctrl-C (or a request to terminate) lets the picture in hand be finished; a second one stops at once. A full disk
    stops the run: no further picture could be written.

    Args:
        jobs: What to make.
        problems: A line for each input that could not be planned; they count as failed.
        stages: How.
        existing: What happens to outputs that are there already.

    Raises:
        typer.Exit: With code 1 if anything failed or is left to do.
    """
    from moceir.batch.planning import check_target  # noqa: PLC0415 - keeps --help fast

    for problem in problems:
        echo(f"failed: {problem}", err=True)
    counts = Counter(failed=len(problems))
    to_do = _to_do(jobs, stages, existing)
    counts["skipped"] = len(jobs) - len(to_do)

    def read(job: Job) -> Any:
        check_target(job.target, exists_is_fine=existing is Existing.REPLACE)
        return stages.read(job)

    with bar(stages.done, len(to_do)) as advance, interruption() as stop:
        began = time.perf_counter()
        for job, outcome in overlapped(to_do, read, stages.work, stages.write, stop):
            if isinstance(outcome, MoceirError):
                counts["failed"] += 1
                echo(f"failed: {named(job.source, outcome)}", err=True)
                if is_disk_full(outcome):
                    stop.set()
            else:
                counts["done"] += 1
                echo(f"{stages.done} {job.source} -> {job.target} ({stages.describe(outcome)})")
            stages.record(job, outcome)
            advance()
        seconds = time.perf_counter() - began
    left = len(jobs) + len(problems) - counts.total()
    if len(jobs) + len(problems) > 1 or left:
        skips = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        more = stages.summarize(seconds)
        echo(f"{counts['done']} {stages.done}, {counts['failed']} failed{skips} in {seconds:.1f} s{more}")
    if left:
        echo(f"stopped with {left} left to do; go on with the same command and --skip-existing", err=True)
    if counts["failed"] or left:
        raise typer.Exit(1)


def _to_do(jobs: list[Job], stages: Stages[Any, Any, Any], existing: Existing) -> list[Job]:
    """The jobs without those whose outputs are there and stay; these are recorded."""
    to_do: list[Job] = []
    for job in jobs:
        if existing is Existing.SKIP and os.path.lexists(job.target):
            stages.record(job, None)
        else:
            to_do.append(job)
    return to_do


def echo(text: str, *, err: bool = False) -> None:
    """Print one line: line breaks and bytes that are no text, which names of files may hold, are written out."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    typer.echo(shown, err=err)


@contextlib.contextmanager
def interruption() -> Generator[threading.Event]:
    """Turn the first Ctrl-C or request to terminate into an event, the second into an end."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # Printing may have been what was interrupted; a bare system call has no locks.
        os.write(2, b"\nfinishing the picture in hand; once more to stop at once\n")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error comes from a full disk."""
    return error is not None and ((isinstance(error, OSError) and error.errno in FULL) or is_disk_full(error.__cause__))


@contextlib.contextmanager
def bar(done: str, total: int) -> Generator[Callable[[], None]]:
    """A bar on the terminal alone, with rate and time left; lines go where they are sent. Gives what advances it."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help fast
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")

    console = Console(stderr=True)
    columns = (TextColumn(done), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(done, total=total)
        yield lambda: progress.advance(task)
