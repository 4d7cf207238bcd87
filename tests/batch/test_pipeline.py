"""Three stages at a time, in order, with bounds; ends when told."""

from __future__ import annotations

import threading
import time
from threading import Event

import pytest

from moceir.batch.pipeline import AHEAD, overlapped
from moceir.errors import ImageError, MoceirError


def run(items: range, read=lambda i: i, work=lambda _, x: x, write=lambda _, x: x, stop: Event | None = None):  # type: ignore[no-untyped-def]
    return overlapped(items, read, work, write, stop or Event())


def test_every_item_passes_all_stages_in_order() -> None:
    done = list(run(range(50), lambda i: i + 1, lambda i, x: (i, x * 10), lambda i, x: (i, x)))
    assert done == [(i, (i, (i, (i + 1) * 10))) for i in range(50)]
    assert list(run(range(0))) == []


def test_stages_overlap() -> None:
    """Each stage sleeps as long as the work does: one after the other they would take three times as long."""
    pause = 0.03

    def slow(*arguments: int) -> int:
        time.sleep(pause)
        return arguments[0]

    began = time.perf_counter()
    assert len(list(run(range(20), slow, slow, slow))) == 20
    assert time.perf_counter() - began < 2 * 20 * pause


def test_no_more_than_a_few_wait() -> None:
    lock = threading.Lock()
    alive = most = 0

    def read(_: int) -> None:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)

    def write(*_: object) -> None:
        nonlocal alive
        time.sleep(0.002)
        with lock:
            alive -= 1

    list(run(range(100), read, lambda *_: None, write))
    assert most <= 2 * (AHEAD + 1) + 1


@pytest.mark.parametrize("stage", ["read", "work", "write"])
def test_an_expected_error_ends_one_item_only(stage: str) -> None:
    def fail(item: int, _: object = None) -> int:
        if item == 3:
            raise ImageError("three is broken")
        return item

    done = dict(run(range(6), **{stage: fail}))
    assert isinstance(done.pop(3), MoceirError)
    assert list(done) == [0, 1, 2, 4, 5]


def test_lack_of_memory_ends_one_item_only() -> None:
    def work(item: int, _: int) -> int:
        if item == 1:
            raise MemoryError
        return item

    done = dict(run(range(3), work=work))
    assert "does not fit into the memory" in str(done[1])
    assert done[2] == 2


@pytest.mark.parametrize("stage", ["read", "work", "write"])
def test_anything_else_ends_it_all(stage: str) -> None:
    def fail(item: int, _: object = None) -> int:
        raise ZeroDivisionError(item)

    others = set(threading.enumerate())  # a compiler of an earlier test may have left some
    with pytest.raises(ZeroDivisionError):
        list(run(range(6), **{stage: fail}))
    assert set(threading.enumerate()) <= others


def test_stop_finishes_what_is_in_hand_and_begins_nothing_new() -> None:
    stop = Event()
    worked: list[int] = []

    def work(item: int, _: int) -> int:
        worked.append(item)
        if item == 4:
            stop.set()
        return item

    done = [item for item, _ in run(range(100), work=work, stop=stop)]
    assert done == worked == [0, 1, 2, 3, 4]
