"""Training progress: a bar on a terminal, otherwise one line per minute, and a table after each validation."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

FIRST_LINE_S, LINE_EVERY_S, BAR_EVERY_S = 15.0, 60.0, 0.5
MOST_ROWS = 12
"""Maximum rows of a table before another column is added."""


class Report:
    """Shows step, speed, loss and time left during training, and scores after validation.

    Args:
        silent: Whether to show nothing, as in all processes but the first.
    """

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not silent:
            columns = (BarColumn(), TextColumn("{task.percentage:.0f}% {task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.add_task("", total=1.0)
            self._bar.start()
        self._pixels = 0
        self._since = time.monotonic()
        self._wait = BAR_EVERY_S if self._bar else FIRST_LINE_S

    def advance(self, pixels: int) -> bool:
        """Count the pixels of a step and return whether the next ``show`` is due."""
        self._pixels += pixels
        return not self._silent and time.monotonic() - self._since >= self._wait

    def show(self, step: int, progress: float, loss: float, seconds_left: float) -> None:
        """Show the progress of the training.

        Args:
            step: Number of completed steps.
            progress: Completed fraction of the run, in [0, 1].
            loss: Current loss.
            seconds_left: Estimated remaining time in seconds; NaN if unknown.
        """
        now = time.monotonic()
        speed = self._pixels / max(now - self._since, 1e-9)
        self._pixels, self._since = 0, now
        text = f"step {step}  {speed / 1e6:.3g} Mpx/s  loss {loss:.4f}  {duration(seconds_left)} left"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=progress, description=text)
        else:
            self._wait = LINE_EVERY_S
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line or a table, above the bar if there is one."""
        if self._silent:
            return
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)  # noqa: T201 - this is the command's output

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar:
            self._bar.stop()


def duration(seconds: float) -> str:
    """Format a time with a suitable unit, for example ``45 s``, ``12 min`` or ``3.5 h``."""
    if math.isnan(seconds):
        return "unknown time"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def score_table(step: int, scores: Mapping[str, float]) -> str:
    """Format the PSNR of each task as a table, with enough columns to keep it short."""
    mean = sum(scores.values()) / max(len(scores), 1)
    width = max(map(len, scores), default=0)
    cells = [f"{task:<{width}} {score:6.2f}" for task, score in scores.items()]
    rows = math.ceil(len(cells) / math.ceil(len(cells) / MOST_ROWS)) if cells else 0
    lines = ["   ".join(cells[row::rows]) for row in range(rows)]
    return "\n  ".join([f"validation at step {step}: {mean:.3f} dB", *lines])
