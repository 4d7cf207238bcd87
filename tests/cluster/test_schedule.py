"""Nothing is lost and nothing is done twice, whatever is killed when."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.cluster.schedule import Batch, Schedule, batches
from moceir.cluster.stores import Entry

SIZES = st.lists(st.integers(0, 3_000), max_size=60)


def entries(sizes: list[int]) -> list[Entry]:
    return [Entry(f"{number}.png", size, "") for number, size in enumerate(sizes)]


@given(SIZES, st.integers(1, 8), st.integers(1, 5_000))
def test_batches_hold_all_pictures_in_order_and_are_small(sizes: list[int], most: int, most_bytes: int) -> None:
    cut = list(batches(entries(sizes), len(sizes), 1, most_pictures=most, most_bytes=most_bytes))
    assert [entry for batch in cut for entry in batch.entries] == entries(sizes)
    for batch in cut:
        assert 1 <= len(batch.entries) <= most
        assert len(batch.entries) == 1 or sum(entry.size for entry in batch.entries) <= most_bytes


@pytest.mark.parametrize(("pictures", "workers"), [(48, 2), (300, 2), (5000, 16), (10, 64)])
def test_the_last_batches_are_small_so_that_all_end_together(pictures: int, workers: int) -> None:
    """Equal pictures, each batch for who is free first: nobody waits longer at the end than for one picture or two."""
    loads = [0] * workers
    for batch in batches(entries([1] * pictures), pictures, workers):
        loads[loads.index(min(loads))] += len(batch.entries)
    assert sum(loads) == pictures
    assert max(loads) - min(loads) <= 2


@settings(deadline=None)
@given(SIZES, st.sets(st.integers(0, 59), max_size=6), st.integers(0, 2**32), st.integers(1, 4))
def test_only_those_that_kill_are_set_aside(sizes: list[int], guilty: set[int], seed: int, workers: int) -> None:
    """Workers end in any order. A guilty picture always kills; nothing else does."""
    draw = random.Random(seed)  # noqa: S311 - not a secret
    schedule = Schedule(batches(entries(sizes), len(sizes), 1, most_pictures=8))
    bad = {f"{number}.png" for number in guilty if number < len(sizes)}
    done: Counter[str] = Counter()
    aside: list[str] = []
    deaths: Counter[str] = Counter()
    hands: list[Batch] = []
    while True:
        while len(hands) < workers and (batch := schedule.take()) is not None:
            hands.append(batch)
        if not hands:
            break
        batch = hands.pop(draw.randrange(len(hands)))
        killers = [entry.key for entry in batch.entries if entry.key in bad]
        if draw.random() < 0.1:
            schedule.give_back(batch)
        elif killers:
            deaths[killers[0]] += 1
            aside += [entry.key for entry in schedule.killed(batch)]
        else:
            done.update(entry.key for entry in batch.entries)
    assert set(aside) == bad
    assert done == Counter(entry.key for entry in entries(sizes) if entry.key not in bad)
    assert len(aside) == len(bad)
    assert max(deaths.values(), default=0) <= 2


def test_lost_machines_set_nothing_aside_that_works_alone() -> None:
    """A worker that is killed with a batch in hand, and never again, costs nothing but time."""
    schedule = Schedule([Batch(tuple(entries([10] * 5))), Batch(tuple(entries([20] * 5)))])
    first = schedule.take()
    assert first is not None
    assert schedule.killed(first) == ()
    rest = list(iter(schedule.take, None))
    assert [len(batch.entries) for batch in rest] == [1] * 5 + [5]
    assert [batch.kills for batch in rest] == [1] * 5 + [0]
