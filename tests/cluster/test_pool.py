"""Workers on Ray that do nothing but die: every picture is reported once, and those that kill are named."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("ray")

import ray

from moceir.cluster.job import cluster
from moceir.cluster.pool import FAILED_STARTS, Pool, Size
from moceir.cluster.results import RESTORED, SET_ASIDE, Row, make_row
from moceir.cluster.schedule import Schedule, batches
from moceir.cluster.stores import Entry
from moceir.errors import ClusterError, WeightsError

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests

PICTURES = 1500
POISON = {200, 201, 900}


class StandIn:
    """Reports each picture as restored, and dies of some."""

    def __init__(self, pause_s: float = 0.002, fate: str = "") -> None:
        self.pause_s = pause_s
        self.fate = fate

    def prepare(self) -> None:
        if self.fate == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fate == "lacks the model":
            raise WeightsError("there is no model 'x'")

    def restore(self, entries: Sequence[Entry]) -> list[Row]:
        for entry in entries:
            time.sleep(self.pause_s)
            if entry.etag == "poison":
                os.kill(os.getpid(), signal.SIGKILL)
        return [make_row(entry, entry.key, RESTORED) for entry in entries]


def pictures() -> list[Entry]:
    return [Entry(f"{number}.png", 1000, "poison" if number in POISON else "") for number in range(PICTURES)]


def pool(smallest: int, largest: int, *fate: Any, cpus: float = 0.25) -> Pool:
    actor = ray.remote(num_cpus=cpus)(StandIn)
    return Pool(lambda: actor.remote(*fate), Size(smallest, largest), lambda entry: entry.key)


def test_nothing_is_lost_when_workers_and_a_node_die(two_nodes: Any) -> None:
    two_nodes.start_second()
    rows: list[Row] = []
    with cluster(two_nodes.address):
        workers = pool(2, 4)
        schedule = Schedule(batches(pictures(), PICTURES, 4))
        for some in workers.run(schedule, threading.Event()):
            rows += some
            if len(rows) > PICTURES // 2 and two_nodes.second is not None:
                two_nodes.kill_second()
    assert Counter(row["key"] for row in rows) == Counter(entry.key for entry in pictures())
    aside = {row["key"]: row["error"] for row in rows if row["status"] == SET_ASIDE}
    assert aside.keys() == {f"{number}.png" for number in POISON}
    assert all(error.startswith(f"{key} was set aside: two workers were killed") for key, error in aside.items())
    assert workers.killed >= 2 + len(POISON)  # two batches, then each of the three alone


def test_stop_finishes_what_is_in_hand(two_nodes: Any) -> None:
    stop = threading.Event()
    with cluster(two_nodes.address):
        clean = [Entry(f"{number}.png", 1000, "") for number in range(PICTURES)]
        rows: list[Row] = []
        for some in pool(1, 1).run(Schedule(batches(clean, PICTURES, 1)), stop):
            rows += some
            if rows:
                stop.set()
        assert 0 < len(rows) < PICTURES
        assert [row["key"] for row in rows] == [entry.key for entry in clean[: len(rows)]]


def test_workers_that_cannot_start_end_the_job(two_nodes: Any) -> None:
    with cluster(two_nodes.address):
        work = Schedule(batches(pictures(), PICTURES, 1))
        with pytest.raises(WeightsError, match="there is no model 'x'"):
            list(pool(1, 1, 0.0, "lacks the model").run(work, threading.Event()))
        with pytest.raises(ClusterError, match=f"{FAILED_STARTS} workers in a row died while they started"):
            list(pool(1, 1, 0.0, "dies").run(work, threading.Event()))
