"""Read, work and write at the same time, on different files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Event
from typing import TypeVar

from moceir.errors import ImageError, MoceirError

Item = TypeVar("Item")
Read = TypeVar("Read")
Worked = TypeVar("Worked")
Written = TypeVar("Written")

AHEAD = 2
"""How many items may be read and wait for work, and how many may be worked on and wait to be written."""


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    work: Callable[[Item, Read], Worked],
    write: Callable[[Item, Worked], Written],
    stop: Event,
) -> Iterator[tuple[Item, Written | MoceirError]]:
    """Take items through three stages: this thread works on one while two more read and write others.

    Args:
        items: The items, in this order.
        read: First stage, called one at a time.
        work: Second stage, given what the first made.
        write: Third stage, given what the second made, called one at a time.
        stop: Once it is set, nothing new begins; the item in hand is finished and written.

    Yields:
        Each item that was begun, in order, with what came of it, or with the expected error that ended it.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        reads: deque[tuple[Item, Future[Read]]] = deque()
        writes: deque[tuple[Item, Future[Written]]] = deque()
        while not stop.is_set():
            reads.extend((item, reader.submit(read, item)) for item in islice(waiting, AHEAD + 1 - len(reads)))
            if not reads:
                break
            item, future = reads.popleft()
            try:
                worked = work(item, future.result())
                writes.append((item, writer.submit(write, item, worked)))
                del worked
            except (MoceirError, MemoryError) as error:
                failed: Future[Written] = Future()
                failed.set_exception(error)
                writes.append((item, failed))
            del future
            while writes and (writes[0][1].done() or len(writes) > AHEAD):
                yield _outcome(*writes.popleft())
        reader.shutdown(cancel_futures=True)
        while writes:
            yield _outcome(*writes.popleft())


def _outcome(item: Item, future: Future[Written]) -> tuple[Item, Written | MoceirError]:
    try:
        return item, future.result()
    except MoceirError as error:
        return item, error
    except MemoryError:
        return item, ImageError(f"{item} does not fit into the memory of this machine; make it smaller")
