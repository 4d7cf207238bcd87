"""Run the same work on many files: a line for each, a progress bar, a summary and a clean end."""

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
from typing import Any, Generic, TypeVar

import typer

from moceir.batch.pipeline import Together, overlapped
from moceir.batch.planning import Job, check_target
from moceir.cli.options import Existing
from moceir.cli.run.terminal import echo, progress_bar
from moceir.errors import MoceirError, named

Read = TypeVar("Read")
Worked = TypeVar("Worked")
Written = TypeVar("Written")

FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Stages(Generic[Read, Worked, Written]):
    """How to make a picture (see ``moceir.batch.pipeline.overlapped``), and what to print about it.

    Attributes:
        done: Verb for a finished picture, for example ``restored``.
        read: First stage.
        work: Second stage.
        write: Third stage.
        describe: Format the details of a finished picture, from what the third stage returned.
        record: Called with each job and its outcome: what the third stage returned, the error, or None if the job was
            skipped.
        summarize: Format the end of the last line, from the seconds between the first read and the last write.
        together: How to work on several pictures at a time, where that is faster.
    """

    done: str
    read: Callable[[Job], Read]
    work: Callable[[Job, Read], Worked]
    write: Callable[[Job, Worked], Written]
    describe: Callable[[Written], str]
    record: Callable[[Job, Written | MoceirError | None], None] = lambda *_: None
    summarize: Callable[[float], str] = lambda _: ""
    together: Together[Job, Read, Worked] | None = None


def run_jobs(jobs: list[Job], problems: list[str], stages: Stages[Any, Any, Any], existing: Existing) -> None:
    """Run jobs with a progress bar and print a line for each. A job that fails does not stop the others.

    The first Ctrl-C (or request to terminate) finishes the current picture; the second stops at once. A full disk
    stops the run, because no other picture could be written either.

    Args:
        jobs: Pictures to make.
        problems: A line for each input that could not be planned. Each counts as failed.
        stages: How to make them.
        existing: What to do with outputs that exist already.

    Raises:
        typer.Exit: With code 1 if a job failed or is left to do.
    """
    for problem in problems:
        echo(f"failed: {problem}", err=True)
    counts = Counter(failed=len(problems))
    to_do = _to_do(jobs, stages, existing)
    counts["skipped"] = len(jobs) - len(to_do)

    def read(job: Job) -> Any:
        check_target(job.target, exists_is_fine=existing is Existing.REPLACE)
        return stages.read(job)

    with progress_bar(stages.done, len(to_do)) as advance, interruption() as stop:
        began = time.perf_counter()
        for job, outcome in overlapped(to_do, read, stages.work, stages.write, stop, stages.together):
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
    """Return the jobs that are not skipped, and record those that are."""
    to_do: list[Job] = []
    for job in jobs:
        if existing is Existing.SKIP and os.path.lexists(job.target):
            stages.record(job, None)
        else:
            to_do.append(job)
    return to_do


@contextlib.contextmanager
def interruption() -> Generator[threading.Event]:
    """Set an event at the first Ctrl-C or request to terminate, and stop at the second."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # The signal may have interrupted a print, which holds a lock. A system call needs none.
        os.write(2, b"\nfinishing the picture in hand; once more to stop at once\n")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether an error comes from a full disk."""
    return error is not None and ((isinstance(error, OSError) and error.errno in FULL) or is_disk_full(error.__cause__))
