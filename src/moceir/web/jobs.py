"""The queue of a server: one picture at a time, with progress, a bounded length, and a way to stop each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from threading import Event, Lock
from typing import Any, Generic, TypeVar

from moceir.errors import ServerError
from moceir.machine.allocator import Heap
from moceir.restoration.progress import on_progress

Result = TypeVar("Result")

FIRST_GUESS_S = 2.0
"""Seconds that a job is expected to take before the first one is done."""
CANCELLED = "the restoration was cancelled"
MEMORY = 0.7
"""Share of the old expectation in the new one, after each job."""


class QueueFullError(ServerError):
    """The queue has no place left.

    Attributes:
        retry_after_s: Seconds after which a place should be free.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DrainingError(ServerError):
    """The server finishes what it has accepted and takes nothing new."""


class JobCancelledError(ServerError):
    """The job was cancelled before it was done."""


class State(StrEnum):
    """What a job is doing."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Status:
    """What there is to say about a job at one moment.

    Attributes:
        state: What the job is doing.
        progress: Share of the network's work that is done, in [0, 1].
        ahead: Number of jobs before this one.
        seconds_left: Expected seconds until it is done, from the progress of the running job and the mean of the last
            ones.
    """

    state: State
    progress: float
    ahead: int
    seconds_left: float


class Job(Generic[Result]):
    """A piece of work in a queue.

    Attributes:
        future: The result or the error; for asyncio, use ``asyncio.wrap_future``.
        progress: Share of the network's work that is done, in [0, 1].
        began_s: Moment of ``time.monotonic()`` at which it began; None while it waits.
    """

    def __init__(self, work: Callable[[], Result], queue: JobQueue) -> None:
        self.future: Future[Result] = Future()
        self.future.set_running_or_notify_cancel()  # only `cancel` ends a job early, not whoever waits for the future
        self.progress = 0.0
        self.began_s: float | None = None
        self._work: Callable[[], Result] | None = work
        self._taking = Lock()
        self._cancelled = Event()
        self._queue = queue

    @property
    def state(self) -> State:
        """What the job is doing."""
        if not self.future.done():
            return State.QUEUED if self.began_s is None else State.RUNNING
        error = self.future.exception()
        if isinstance(error, JobCancelledError):
            return State.CANCELLED
        return State.DONE if error is None else State.FAILED

    @property
    def status(self) -> Status:
        """The state with progress, position and time left."""
        return self._queue.status(self)

    def cancel(self) -> None:
        """Stop the job: at once if it waits, after the stripe in hand if it runs. Does nothing if it is done."""
        self._cancelled.set()
        if self._take() is not None:
            self.future.set_exception(JobCancelledError(CANCELLED))

    def run(self) -> None:
        """Do the work in this thread and set the future, unless the job was cancelled."""
        work = self._take()
        if work is None:
            return
        self.began_s = time.monotonic()
        try:
            with on_progress(self._listen):
                result = work()
        except BaseException as error:  # noqa: BLE001 - the future hands it to whoever waits for the result
            self.future.set_exception(error)
        else:
            self.progress = 1.0
            self.future.set_result(result)

    def _take(self) -> Callable[[], Result] | None:
        """Return the work to the first caller only, and let go of it: it holds the upload."""
        with self._taking:
            work, self._work = self._work, None
            return work

    def _listen(self, progress: float) -> None:
        self.progress = progress
        if self._cancelled.is_set():
            raise JobCancelledError(CANCELLED)


class JobQueue:
    """Jobs in order of arrival, worked on one at a time in one thread.

    Args:
        length: Most jobs that wait or run at any time.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self._jobs: list[Job[Any]] = []
        self._lock = Lock()
        self._worker = ThreadPoolExecutor(1, "restore")
        self._heap = Heap()
        self._closed = False
        self._usual_s = FIRST_GUESS_S

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def draining(self) -> bool:
        """Whether new jobs are refused because the server is about to stop."""
        return self._closed

    def prepare(self, work: Callable[[], Result]) -> Result:
        """Do something in the thread of the queue, and wait for it.

        Each thread that computes with torch gets a team of OpenMP threads of its own, and where teams outnumber cores
        all of them wait less readily. So what is loaded for the jobs is loaded in their thread.
        """
        return self._worker.submit(work).result()

    def submit(self, work: Callable[[], Result]) -> Job[Result]:
        """Add one job; see `submit_all`."""
        return self.submit_all([work])[0]

    def submit_all(self, works: Sequence[Callable[[], Result]]) -> list[Job[Result]]:
        """Add jobs, all or none.

        Args:
            works: Called one after the other in the thread of the queue.

        Raises:
            DrainingError: If the queue is closed.
            QueueFullError: If there are fewer free places than jobs.
        """
        jobs = [Job(work, self) for work in works]
        with self._lock:
            self.check_room(len(jobs))
            self._jobs += jobs
            for job in jobs:
                self._worker.submit(self._run, job)
        for job in jobs:  # outside of the lock: a job may be done already, and is then removed here
            job.future.add_done_callback(lambda _, job=job: self._remove(job))
        return jobs

    def check_room(self, count: int = 1) -> None:
        """Check that jobs would be taken.

        Raises:
            DrainingError: If the queue is closed.
            QueueFullError: If there are fewer free places.
        """
        if self._closed:
            raise DrainingError("the server is about to stop and takes no new pictures; try again in a minute")
        if len(self._jobs) + count > self.length:
            wait_s = max(round(self._seconds_left(len(self._jobs) + count - self.length)), 1)
            raise QueueFullError(
                f"the queue of {self.length} pictures has no place left for {count}; try again in {wait_s} s", wait_s
            )

    def status(self, job: Job[Any]) -> Status:
        """Return what there is to say about a job now."""
        jobs = list(self._jobs)
        ahead = jobs.index(job) if job in jobs else 0
        left = self._seconds_left(ahead + 1) if job in jobs else 0.0
        return Status(job.state, job.progress, ahead, left)

    def close(self) -> None:
        """Refuse new jobs from now on."""
        self._closed = True

    def wait(self, timeout_s: float) -> bool:
        """Wait until all jobs are done, and return whether they are."""
        return not wait([job.future for job in list(self._jobs)], timeout_s).not_done

    def cancel_all(self) -> None:
        """Cancel all jobs."""
        for job in list(self._jobs):
            job.cancel()

    def _run(self, job: Job[Any]) -> None:
        job.run()
        if job.state is State.DONE and job.began_s is not None:
            took = time.monotonic() - job.began_s
            self._usual_s = MEMORY * self._usual_s + (1 - MEMORY) * took
        self._heap.settle()

    def _remove(self, job: Job[Any]) -> None:
        with self._lock:
            self._jobs.remove(job)

    def _seconds_left(self, count: int) -> float:
        """Expect how long the first jobs of the queue take from now on."""
        left = 0.0
        for job in list(self._jobs)[:count]:
            if job.began_s is None:
                left += self._usual_s
            elif job.progress > 0.05:
                left += (time.monotonic() - job.began_s) * (1 - job.progress) / job.progress
            else:
                left += max(self._usual_s - (time.monotonic() - job.began_s), 0.0)
        return left
