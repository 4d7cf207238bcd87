"""How far a job is, how fast it goes, and how long it still takes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from moceir.cluster.results import RESTORED, UNREACHED, Row


class Progress:
    """Counts of a job.

    The time left follows from bytes, not from pictures: large ones come first.

    Args:
        pictures: Pictures to do.
        size: Bytes to do.
        clock: Gives the time in seconds.

    Attributes:
        counts: Rows by status.
        workers: Workers that are ready.
    """

    def __init__(self, pictures: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.pictures = pictures
        self.size = size
        self.counts: Counter[str] = Counter()
        self.workers = 0
        self._clock = clock
        self._began = clock()
        self._bytes = 0

    def begin(self) -> None:
        """Count the time from now on: the first worker is ready."""
        self._began = self._clock()

    def add(self, row: Row) -> None:
        """Count a picture."""
        self.counts[row["status"]] += 1
        self._bytes += row["size"]

    @property
    def done(self) -> int:
        """Pictures with a row."""
        return self.counts.total()

    @property
    def left(self) -> int:
        """Pictures that are left to do, or whose store failed."""
        return self.pictures - self.done + self.counts[UNREACHED]

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the present rate; None before anything is done."""
        seconds = self._clock() - self._began
        return (self.size - self._bytes) * seconds / self._bytes if self._bytes and seconds > 0 else None

    def __str__(self) -> str:
        """Format a line such as ``1,200 of 5,000 pictures (24 %), 12.5/s, 3.1 MB/s, 0:05:04 left, 4 workers``."""
        seconds = max(self._clock() - self._began, 1e-9)
        share = self.done / self.pictures if self.pictures else 1
        parts = [f"{self.done:,} of {self.pictures:,} pictures ({share:.0%})"]
        parts += [
            f"{count:,} {status}" for status, count in sorted(self.counts.items()) if status != RESTORED and count
        ]
        parts += [f"{self.done / seconds:.1f}/s", f"{self._bytes / 1e6 / seconds:.1f} MB/s"]
        if self.seconds_left is not None:
            parts.append(f"{timedelta(seconds=round(self.seconds_left))} left")
        parts.append(f"{self.workers} worker{'' if self.workers == 1 else 's'}")
        return ", ".join(parts)
