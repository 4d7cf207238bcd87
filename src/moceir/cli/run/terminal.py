"""What commands show on the terminal: safe lines and the progress bar."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Advance(Protocol):
    """Moves a progress bar."""

    def __call__(self, done: int | None = None, total: int | None = None, /) -> None:
        """Move the bar by one step, or to ``done`` of ``total`` steps."""
        ...


class _Rate(ProgressColumn):
    """Steps per second, or seconds per step where these are long."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")


@contextlib.contextmanager
def progress_bar(label: str, total: int | None = None) -> Generator[Advance]:
    """Show a progress bar with rate and time left, on standard error and only if that is a terminal.

    Args:
        label: Text beside the bar.
        total: Number of steps; None if it comes with the first call of what is yielded.

    Yields:
        The function that moves the bar. Lines printed meanwhile appear above the bar.
    """
    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(label, total=total)

        def advance(done: int | None = None, total: int | None = None, /) -> None:
            if done is None:
                progress.advance(task)
            else:
                progress.update(task, completed=done, total=total)

        yield advance


def echo(text: str, *, err: bool = False) -> None:
    """Print one line. File names may hold line breaks and undecodable bytes; these are printed as escapes."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    typer.echo(shown, err=err)
