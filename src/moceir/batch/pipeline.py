"""Read, work and write at the same time, on different files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from threading import Event, RLock
from typing import Any, Generic, TypeVar

from moceir.errors import ImageError, MoceirError

Item = TypeVar("Item")
Read = TypeVar("Read")
Worked = TypeVar("Worked")
Written = TypeVar("Written")

AHEAD = 2
"""How many items may be read and wait for work, and how many may be worked on and wait to be written."""


@dataclass(frozen=True)
class Together(Generic[Item, Read, Worked]):
    """How to work on several items at a time, where that is faster.

    Attributes:
        most: Number of items at a time, and of items with a key that are read ahead.
        key: Returns the key of an item that was read. Items in a row with the same key are worked on together; those
            with None are worked on alone. As items with a key are read ahead in numbers, they should be small.
        work: Second stage for several items. If it fails, they are worked on one by one.
    """

    most: int
    key: Callable[[Item, Read], Hashable]
    work: Callable[[Sequence[Item], Sequence[Read]], Sequence[Worked]]


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Read],
    work: Callable[[Item, Read], Worked],
    write: Callable[[Item, Worked], Written],
    stop: Event,
    together: Together[Item, Read, Worked] | None = None,
) -> Iterator[tuple[Item, Written | MoceirError]]:
    """Take items through three stages: this thread works on one while two more read and write others.

    Args:
        items: The items, in this order.
        read: First stage, called one at a time.
        work: Second stage, given what the first made.
        write: Third stage, given what the second made, called one at a time.
        stop: Once it is set, nothing new begins; the items in hand are finished and written.
        together: How to work on several items at a time: on those that have been read, without waiting for others. None
            works on one at a time.

    Yields:
        Each item that was begun, in order, with what came of it, or with the expected error that ended it.
    """
    with (
        ThreadPoolExecutor(1, "read") as reader,
        ThreadPoolExecutor(1, "write") as writer,
        closing(_Ahead(items, partial(reader.submit, read), together)) as ahead,
    ):
        writes: deque[tuple[Item, Future[Written]]] = deque()
        while not stop.is_set() and (group := ahead.next_group()):
            at_a_time = len(group)
            for item, worked in _work_on(group, work, together):
                if isinstance(worked, MoceirError | MemoryError):
                    failed: Future[Written] = Future()
                    failed.set_exception(worked)
                    writes.append((item, failed))
                else:
                    writes.append((item, writer.submit(write, item, worked)))
                del worked
            while writes and (writes[0][1].done() or len(writes) >= AHEAD + at_a_time):
                yield _outcome(*writes.popleft())
        ahead.close()  # before what is cancelled calls for more
        reader.shutdown(cancel_futures=True)
        while writes:
            yield _outcome(*writes.popleft())


class _Ahead(Generic[Item, Read]):
    """Items that are read before their turn: `AHEAD` beside the one in hand, and more where they have keys.

    Args:
        items: All items.
        submit: Begins to read one in another thread.
        together: What gives items their keys.
    """

    def __init__(
        self,
        items: Iterable[Item],
        submit: Callable[[Item], Future[Read]],
        together: Together[Item, Read, Any] | None,
    ) -> None:
        self._waiting = iter(items)
        self._submit = submit
        self._together = together
        self._most = together.most if together else 1
        self._reads: deque[tuple[Item, Future[Read]]] = deque()
        self._lock = RLock()

    def next_group(self) -> list[tuple[Item, Future[Read]]]:
        """Take the next item, and those after it that can be worked on together with it; nothing at the end."""
        with self._lock:
            self._top_up(AHEAD + 1)
            if not self._reads:
                return []
            group = [self._reads.popleft()]
        key = self._key(*group[0])
        with self._lock:
            while key is not None and len(group) < self._most and self._reads:
                item, future = self._reads[0]
                if not future.done() or self._key(item, future) != key:
                    break
                group.append(self._reads.popleft())
        return group

    def close(self) -> None:
        """Read nothing more, and forget what was read."""
        with self._lock:
            self._waiting = iter(())
            self._reads.clear()

    def _top_up(self, heavy: int) -> None:
        """Begin to read until up to ``heavy`` items without a key are there, and more of those with one."""
        with self._lock:
            while len(self._reads) < max(min(heavy + self._light(), self._most), heavy):
                try:
                    item = next(self._waiting)
                except StopIteration:
                    return
                future = self._submit(item)
                self._reads.append((item, future))
                if self._together:
                    future.add_done_callback(lambda _: self._top_up(AHEAD))

    def _light(self) -> int:
        return sum(future.done() and self._key(item, future) is not None for item, future in self._reads)

    def _key(self, item: Item, future: Future[Read]) -> Hashable:
        """Return the key of an item, once it has been read."""
        return self._together.key(item, future.result()) if self._together and not future.exception() else None


def _work_on(
    group: list[tuple[Item, Future[Read]]],
    work: Callable[[Item, Read], Worked],
    together: Together[Item, Read, Worked] | None,
) -> Iterator[tuple[Item, Worked | MoceirError | MemoryError]]:
    """Work on a group, which is empty afterwards, and give each item what came of it."""
    done: Sequence[Worked] = ()
    if together and len(group) > 1:
        with suppress(MoceirError, MemoryError):
            done = together.work([item for item, _ in group], [future.result() for _, future in group])
    if done:
        yield from zip([item for item, _ in group], done, strict=True)
        group.clear()
    while group:
        item, future = group.pop(0)
        try:
            worked = work(item, future.result())
        except (MoceirError, MemoryError) as error:
            worked = error
        del future
        yield item, worked


def _outcome(item: Item, future: Future[Written]) -> tuple[Item, Written | MoceirError]:
    try:
        return item, future.result()
    except MoceirError as error:
        return item, error
    except MemoryError:
        return item, ImageError(f"{item} does not fit into the memory of this machine; make it smaller")
