"""The simulation of large jobs keeps its books, and agrees with what can be computed by hand."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

from scale_simulation import BYTES_PER_PIXEL, Machines, archive, simulate

from moceir.cluster.manifest import size_class
from moceir.cluster.schedule import batches


def work_s(entries: list, machines: Machines) -> float:  # type: ignore[type-arg]
    return sum(entry.size for entry in entries) / BYTES_PER_PIXEL / 1e6 / machines.megapixels_per_s


def test_large_pictures_come_first_and_have_the_mean_size() -> None:
    entries = list(archive(20_000, 2.0))
    assert len({entry.key for entry in entries}) == 20_000
    classes = [size_class(entry.size) for entry in entries]
    assert classes == sorted(classes, reverse=True)
    mean = sum(entry.size for entry in entries) / len(entries)
    assert mean == pytest.approx(2e6 * BYTES_PER_PIXEL, rel=0.05)


@pytest.mark.parametrize("workers", [1, 7, 64])
def test_without_failures_only_the_end_is_lost(workers: int) -> None:
    """Graham's bound: no schedule that keeps all busy is later than the mean load and one batch."""
    machines = Machines(workers, life_h=math.inf, start_s=0.0)
    entries = list(archive(5_000, 1.0))
    outcome = simulate(entries, len(entries), machines)
    ideal = work_s(entries, machines) / workers
    longest = max(work_s(list(batch.entries), machines) for batch in batches(entries, len(entries), workers))
    assert (outcome.pictures, outcome.set_aside, outcome.kills, outcome.repeated) == (5_000, 0, 0, 0)
    assert ideal * (1 - 1e-9) <= outcome.seconds <= ideal + longest
    assert outcome.useful == pytest.approx(ideal / outcome.seconds)


def test_large_ones_first_end_sooner_than_small_ones_first() -> None:
    machines = Machines(64, life_h=math.inf, start_s=0.0)
    entries = list(archive(3_000, 4.0))
    assert simulate(entries, len(entries), machines).seconds < simulate(entries[::-1], len(entries), machines).seconds


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_however_often_machines_are(seed: int) -> None:
    """Each worker lives for half an hour on average: every picture is restored, but for those that kill."""
    entries = list(archive(10_000, 1.0, poison=0.001))
    poison = sum(entry.etag == "poison" for entry in entries)
    outcome = simulate(entries, len(entries), Machines(16, life_h=0.5), seed)
    assert outcome.kills > poison > 0
    # A machine may be lost twice with the same innocent picture alone in hand; that is rare.
    assert 0 <= outcome.set_aside - poison <= 2
    assert outcome.pictures + outcome.set_aside == 10_000
    assert 0.5 < outcome.useful < 1


def test_failures_cost_what_they_repeat() -> None:
    entries = list(archive(10_000, 1.0))
    calm, rough = (simulate(entries, len(entries), Machines(16, life_h=life)) for life in (math.inf, 1.0))
    assert rough.useful < calm.useful
    assert rough.seconds < 1.2 * calm.seconds
