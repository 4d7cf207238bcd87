"""Workers as Ray actors: more of them while work waits, new ones for those that were killed.

Plain actors, not ``ray.data`` with an actor pool, for two reasons found in Ray 2.60 (``actor_pool_map_operator.py``).
An actor of its pool whose node is gone keeps its tasks and waits for a place to restart; on a cluster that is not
refilled, the job hangs. With restarts switched off, its pool does not replace dead actors, and an error drops a whole
block without saying which rows were in it. Who kills a worker must be known by name here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RaySystemError, RayTaskError

from moceir.cluster.results import SET_ASIDE, Row, make_row
from moceir.cluster.schedule import Batch, Schedule
from moceir.cluster.stores import Entry
from moceir.errors import ClusterError, MoceirError

IN_HAND = 2
"""Batches that a worker has: one in work, and one to go on with at once."""
FAILED_STARTS = 5
"""Workers in a row that may die before their first batch."""
LOOK_S = 0.5
"""Seconds after which a wait for workers is interrupted to see whether to stop."""


@dataclass(frozen=True)
class Size:
    """How many workers there are, and what each takes.

    Attributes:
        smallest: Workers to begin with.
        largest: Workers at most; each that is added waits for a place, which makes a cluster that can grow do so.
        cpus: Processor cores of a worker.
        gpus: GPUs of a worker; parts of one are possible.
        memory: Bytes that a worker reserves, so that no more workers share a machine than fit; 0 for no reservation.
    """

    smallest: int
    largest: int
    cpus: int = 1
    gpus: float = 0.0
    memory: int = 0


@dataclass(eq=False)
class _Hand:
    """A worker and what it has in hand.

    Attributes:
        actor: The Ray actor.
        starting: Answer that comes when it is ready; None afterwards.
        given: Batches by the answer that is awaited, the oldest first.
    """

    actor: Any
    starting: Any
    given: dict[Any, Batch] = field(default_factory=dict[Any, Batch])

    def may_take(self, batch: Batch) -> bool:
        """Return whether the worker may have a batch beside what it has: a picture that may kill must be alone.

        Otherwise the one before it could take the blame, whose answer was lost with the worker.
        """
        return not self.given or not (batch.kills or any(other.kills for other in self.given.values()))

    @property
    def awaited(self) -> list[Any]:
        return [self.starting] if self.starting is not None else list(self.given)


class Pool:
    """Workers that share a schedule.

    Args:
        make: Creates the actor, which has the methods of `moceir.cluster.worker.Worker`.
        size: How many.
        output: Gives the key of a result, for the rows of pictures that no worker can report.
    """

    def __init__(self, make: Callable[[], Any], size: Size, output: Callable[[Entry], str]) -> None:
        self._make = make
        self._size = size
        self._output = output
        self._hands: list[_Hand] = []
        self._failed_starts = 0
        self.killed = 0
        """Workers that were killed so far."""

    @property
    def ready(self) -> int:
        """Number of workers that have loaded their network."""
        return sum(hand.starting is None for hand in self._hands)

    def run(self, schedule: Schedule, stop: Event) -> Iterator[list[Row]]:
        """Do all there is to do.

        Args:
            schedule: The work.
            stop: Once it is set, nothing new begins; what is in hand is finished.

        Yields:
            The rows of each batch that ended; an empty list from time to time when none did.

        Raises:
            ClusterError: If workers cannot be started.
            ConnectionError: If the connection to the cluster is lost.
            MoceirError: If a worker cannot load the network.
        """
        self._schedule = schedule
        self._next: Batch | None = schedule.take()
        try:
            self._hire(self._size.smallest)
            while self._begin_work(stop) or any(hand.given for hand in self._hands):
                awaited = {ref: hand for hand in self._hands for ref in hand.awaited}
                ready, _ = ray.wait(list(awaited), timeout=LOOK_S)
                for ref in ready:
                    yield self._receive(awaited[ref], ref)
                if not ready:
                    yield []
        finally:
            if ray.is_initialized():  # see _begin_work
                for hand in self._hands:
                    ray.kill(hand.actor)
            self._hands = []

    def _hire(self, count: int) -> None:
        for _ in range(count):
            actor = self._make()
            self._hands.append(_Hand(actor, actor.prepare.remote()))

    def _begin_work(self, stop: Event) -> bool:
        """Give work to all who can take some, and see to it that there are enough of them.

        Returns:
            Whether there is work that nobody has in hand.

        Raises:
            ConnectionError: If the connection to the cluster is lost. Ray would go on with another one, or start one.
        """
        if not ray.is_initialized():
            raise ConnectionError
        if stop.is_set():
            return False
        ready = [hand for hand in self._hands if hand.starting is None]
        for depth in range(1, IN_HAND + 1):  # a first batch for all before a second one for some
            for hand in ready:
                if self._next is not None and len(hand.given) < depth and hand.may_take(self._next):
                    hand.given[hand.actor.restore.remote(self._next.entries)] = self._next
                    self._next = self._schedule.take()
        if self._next is None:
            return False
        # Doubling, so that a large cluster is not filled one by one, nor asked for all at once by a short job.
        starting = len(self._hands) - len(ready)
        missing = self._size.smallest - len(self._hands)
        room = self._size.largest - len(self._hands)
        self._hire(max(missing, min(room, len(ready)) if not starting else 0))
        return True

    def _receive(self, hand: _Hand, ref: Any) -> list[Row]:
        """Take the answer of a worker, or see that it was killed."""
        if hand not in self._hands:
            return []  # another of its answers in the same round said that it was killed
        try:
            answer = ray.get(ref)
        except RayTaskError as error:
            if isinstance(error.cause, MoceirError):
                raise error.cause from error
            raise
        except (RayActorError, RaySystemError):
            return self._replace(hand)
        except RayError as error:
            raise ClusterError(f"the cluster failed: {_first_line(error)}; see its logs") from error
        self._failed_starts = 0
        if ref == hand.starting:
            hand.starting = None
            return []
        del hand.given[ref]
        return answer

    def _replace(self, hand: _Hand) -> list[Row]:
        """Dismiss a worker that was killed, and return the rows of the pictures that are set aside."""
        self._hands.remove(hand)
        ray.kill(hand.actor)  # it may only be out of reach, and come back
        self.killed += 1
        if hand.starting is not None:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                msg = f"{FAILED_STARTS} workers in a row died while they started; see the logs of the cluster"
                raise ClusterError(msg)
            return []
        given = deque(hand.given.items())
        rows: list[Row] = []
        while given and (done := _answer(given[0][0])) is not None:
            rows += done
            given.popleft()
        if not given:
            return rows
        # Batches are worked on in order: this one was in work, later ones waited.
        rows += [self._set_aside(entry) for entry in self._schedule.killed(given.popleft()[1])]
        waiting = [batch for _, batch in given]
        if self._next is not None:
            waiting.append(self._next)
        for batch in reversed(waiting):
            self._schedule.give_back(batch)
        self._next = self._schedule.take()
        return rows

    def _set_aside(self, entry: Entry) -> Row:
        msg = (
            f"{entry.key} was set aside: two workers were killed while they had it in hand, the second with nothing "
            "else; look at the picture and the memory of the workers, and try again with --retry-failed"
        )
        return make_row(entry, self._output(entry), SET_ASIDE, error=msg)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _answer(ref: Any) -> list[Row] | None:
    """Return the rows that a worker sent before it was killed; None if there are none."""
    try:
        return ray.get(ref, timeout=0)
    except RayError:
        return None


def places(size: Size, nodes: Sequence[dict[str, Any]]) -> int:
    """Count the workers that fit on the machines of a cluster.

    Args:
        size: What a worker takes.
        nodes: The machines, as ``ray.nodes()`` lists them.
    """
    wanted = {"CPU": size.cpus, "GPU": size.gpus, "memory": size.memory}
    needs = {name: amount for name, amount in wanted.items() if amount}
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(min(int(node.get(name, 0) / amount) for name, amount in needs.items()) for node in alive)
