"""The queue: order, limits, progress, and cancelling work that waits or runs."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from serving import picture, until

from moceir import Restorer
from moceir.web.jobs import DrainingError, Job, JobCancelledError, JobQueue, QueueFullError, State
from moceir.web.service import Service, Upload
from moceir.web.settings import ServeSettings


@pytest.fixture
def gate() -> threading.Event:
    """Blocks work until it is set."""
    return threading.Event()


def test_jobs_run_in_order_one_at_a_time(gate: threading.Event) -> None:
    queue, seen = JobQueue(5), list[int]()

    def work(number: int) -> int:
        gate.wait()
        seen.append(number)
        return number * 10

    jobs = queue.submit_all([lambda n=n: work(n) for n in range(5)])
    until(lambda: jobs[0].state is State.RUNNING)
    assert [job.state for job in jobs[1:]] == [State.QUEUED] * 4
    assert [job.status.ahead for job in jobs] == [0, 1, 2, 3, 4]
    assert jobs[4].status.seconds_left > jobs[1].status.seconds_left > 0
    gate.set()
    assert [job.future.result(10) for job in jobs] == [0, 10, 20, 30, 40]
    assert seen == [0, 1, 2, 3, 4]
    until(lambda: len(queue) == 0)


def test_a_full_queue_takes_all_or_none(gate: threading.Event) -> None:
    queue = JobQueue(3)
    first = queue.submit(gate.wait)
    with pytest.raises(QueueFullError, match="no place left for 3") as caught:
        queue.submit_all([gate.wait] * 3)
    assert caught.value.retry_after_s >= 1
    assert len(queue) == 1
    queue.submit_all([gate.wait] * 2)
    with pytest.raises(QueueFullError):
        queue.submit(gate.wait)
    gate.set()
    assert first.future.result(10)


def test_a_cancelled_job_that_waits_frees_its_place_at_once(gate: threading.Event) -> None:
    queue = JobQueue(2)
    queue.submit(gate.wait)
    waiting = queue.submit(lambda: pytest.fail("a cancelled job was run"))
    waiting.cancel()
    assert waiting.state is State.CANCELLED
    assert len(queue) == 1
    with pytest.raises(JobCancelledError):
        waiting.future.result(0)
    last = queue.submit(lambda: 7)
    gate.set()
    assert last.future.result(10) == 7


def test_failures_stay_in_their_job() -> None:
    queue = JobQueue(2)
    bad, good = queue.submit_all([lambda: 1 // 0, lambda: 1])
    assert isinstance(bad.future.exception(10), ZeroDivisionError)
    assert bad.state is State.FAILED
    assert good.future.result(10) == 1


def test_draining_finishes_what_was_accepted(gate: threading.Event) -> None:
    queue = JobQueue(2)
    job = queue.submit(gate.wait)
    queue.close()
    with pytest.raises(DrainingError):
        queue.submit(gate.wait)
    assert not queue.wait(0.05)
    gate.set()
    assert queue.wait(10)
    assert job.future.result(0)


@pytest.fixture
def service(model_folder: Path) -> Service:
    return Service(ServeSettings(models=(str(model_folder),), options={"device": "cpu"}, queue_length=4))


def test_a_running_restoration_stops_within_a_fraction_of_a_second(service: Service) -> None:
    big: Job[object]
    big, small = service.restore([Upload(picture(1200, 1600)), Upload(picture(24, 16))])
    until(lambda: 0 < big.progress < 0.2)
    began = time.monotonic()
    big.cancel()
    assert small.future.result(20).width == 16
    assert time.monotonic() - began < 2  # a fraction of a second, with room for a busy machine
    assert big.state is State.CANCELLED
    assert big.progress < 0.5


def test_progress_rises_to_one_and_bytes_are_those_of_the_restorer(service: Service, model_folder: Path) -> None:
    data = picture(300, 200)
    (job,) = service.restore([Upload(data)], strength=0.5, format="jpeg")
    shares = list[float]()
    while not job.future.done():
        shares.append(job.progress)
        time.sleep(0.001)
    assert shares == sorted(shares)
    assert len(set(shares)) > 5
    assert job.status.progress == 1
    restorer = Restorer.from_pretrained(model_folder, device="cpu", strength=0.5, format="jpeg")
    assert job.future.result().restored == restorer.restore_bytes(data).restored
