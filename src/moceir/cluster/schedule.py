"""The order of work, and what becomes of pictures whose worker was killed.

Nothing here knows Ray, clocks or stores, so that a test can try every order of failures, and a simulation can run the
same rules with a billion pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from moceir.cluster.stores import Entry

MOST_PICTURES = 32
MOST_BYTES = 16_000_000
"""Size of a batch: what a worker is given at a time. Small enough to be repeated after a kill."""
SHARES = 4
"""A batch is at most this part of what is left for a worker."""
MOST_KILLS = 2
"""How many workers a picture may take with it."""


@dataclass(frozen=True)
class Batch:
    """Pictures that a worker is given together.

    Attributes:
        entries: The pictures.
        kills: How many workers were killed while they had these pictures in hand.
    """

    entries: tuple[Entry, ...]
    kills: int = 0


def batches(
    entries: Iterable[Entry],
    pictures: int,
    workers: int,
    *,
    most_pictures: int = MOST_PICTURES,
    most_bytes: int = MOST_BYTES,
) -> Iterator[Batch]:
    """Cut a stream of pictures into batches, in its order. Towards the end they become small, so that all end together.

    Args:
        entries: The pictures.
        pictures: How many there are.
        workers: How many share them.
        most_pictures: Pictures in a batch.
        most_bytes: Bytes in a batch of more than one picture.
    """
    here: list[Entry] = []
    size, most = 0, 1
    for number, entry in enumerate(entries):
        if here and (len(here) >= most or size + entry.size > most_bytes):
            yield Batch(tuple(here))
            here, size = [], 0
        if not here:
            most = max(1, min(most_pictures, (pictures - number) // (SHARES * workers)))
        here.append(entry)
        size += entry.size
    if here:
        yield Batch(tuple(here))


class Schedule:
    """What is left to do.

    A worker that is killed leaves a batch of which any picture may be guilty. These pictures are then tried one by one.
    One that kills again, alone, is set aside. The others lose nothing but time.

    Args:
        work: Batches in the order of work, taken one at a time.
    """

    def __init__(self, work: Iterable[Batch]) -> None:
        self._work = iter(work)
        self._again: deque[Batch] = deque()

    def take(self) -> Batch | None:
        """Return the next batch; None if nothing is left."""
        return self._again.popleft() if self._again else next(self._work, None)

    def give_back(self, batch: Batch) -> None:
        """Take back a batch that no worker has begun."""
        self._again.appendleft(batch)

    def killed(self, batch: Batch) -> tuple[Entry, ...]:
        """Say that a worker was killed while it had a batch in hand.

        Returns:
            The pictures that are set aside.
        """
        kills = batch.kills + 1
        if len(batch.entries) == 1 and kills >= MOST_KILLS:
            return batch.entries
        self._again.extend(Batch((entry,), kills) for entry in batch.entries)
        return ()
