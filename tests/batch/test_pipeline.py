"""Three stages at a time, in order, with bounds; ends when told."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from threading import Event

import pytest

from moceir.batch.pipeline import AHEAD, Together, overlapped
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


def in_groups(items: range, key=lambda i, _: i // 5, work=None, read=lambda i: i, most: int = 4):  # type: ignore[no-untyped-def]
    """Work on items, slowly enough that reading stays ahead; return what is worked on together, and the outcomes."""
    groups: list[list[int]] = []

    def together(group: list[int], reads: list[int]) -> list[int]:
        time.sleep(0.02)
        groups.append(list(group))
        return work(reads) if work else reads

    def alone(item: int, x: int) -> int:
        time.sleep(0.02)
        groups.append([item])
        return x

    done = list(overlapped(items, read, alone, lambda _, x: x, Event(), Together(most, key, together)))
    return groups, done


def test_items_in_a_row_with_the_same_key_are_worked_on_together() -> None:
    groups, done = in_groups(range(20), key=lambda i, _: i // 5 if i >= 5 else None)
    assert groups[:5] == [[0], [1], [2], [3], [4]], "those without a key"
    assert max(map(len, groups)) == 4, "as many as were asked for"
    assert all(len({i // 5 for i in group}) == 1 for group in groups)
    assert [i for group in groups for i in group] == [i for i, _ in done] == [x for _, x in done] == list(range(20))


def test_only_items_with_a_key_are_read_ahead_in_numbers() -> None:
    begun: list[int] = []
    seen: list[int] = []

    def slow(item: int, _: int) -> int:
        time.sleep(0.02)
        seen.append(len(begun) - item - 1)
        return item

    for key, most in ((lambda *_: None, AHEAD), (lambda i, _: i, 8)):
        begun.clear(), seen.clear()
        together = Together(8, key, lambda items, _: items)
        list(overlapped(range(30), lambda i: begun.append(i) or i, slow, lambda *_: None, Event(), together))
        assert max(seen) == most


@pytest.mark.parametrize("error", [ImageError("no"), MemoryError()])
def test_what_fails_together_is_tried_alone(error: Exception) -> None:
    def fail(_: list[int]) -> list[int]:
        raise error

    groups, done = in_groups(range(10), work=fail)
    assert [x for _, x in done] == list(range(10))
    assert max(map(len, groups)) > 1
    assert [i for group in groups if len(group) == 1 for i in group] == list(range(10))


def test_what_cannot_be_read_is_in_no_group() -> None:
    def read(item: int) -> int:
        if item == 7:
            raise ImageError("seven is broken")
        return item

    groups, done = in_groups(range(10), key=lambda *_: 1, read=read)
    assert isinstance(dict(done).pop(7), ImageError)
    assert sorted(i for group in groups for i in group) == [0, 1, 2, 3, 4, 5, 6, 8, 9]


@pytest.mark.parametrize("end", ["stop", "error"])
def test_an_early_end_is_quiet_while_more_is_read_ahead(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """Reads that are cancelled or finish afterwards call for nothing more."""
    stop = Event()

    def read(item: int) -> int:
        time.sleep(0.005)
        return item

    def work(item: int, _: int) -> int:
        time.sleep(0.02)
        if item == 1:
            if end == "error":
                raise ZeroDivisionError
            stop.set()
        return item

    together = Together(8, lambda i, _: i, lambda items, _: items)
    with suppress(ZeroDivisionError):
        assert [i for i, _ in overlapped(range(50), read, work, lambda *_: None, stop, together)] == [0, 1]
    assert not caplog.records
