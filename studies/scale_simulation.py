"""Simulate a job on a cluster: how long it takes, and what failures cost.

    python studies/scale_simulation.py --pictures 1000000 --workers 256

The rules are those of `moceir cluster restore`: the same batches, the same order, the same `Schedule` that decides what
becomes of a batch whose worker was killed. Only time is simulated. Each worker is a core with the given speed. Machines
are lost at random, and a new worker takes a while to start. Some pictures kill every worker that opens them.

Printed are the time in hours, the share of the workers' time that went into pictures that count (the rest is repeated
work, starts, and waiting at the end), and the batches per second that the driver has to hand out.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from moceir.cluster.manifest import size_class
from moceir.cluster.schedule import Batch, Schedule, batches
from moceir.cluster.stores import Entry
from moceir.evaluation.report import markdown_table

BYTES_PER_PIXEL = 0.5
"""Bytes of a JPEG file per pixel, about; turns sizes of files into megapixels."""
COLUMNS = ("pictures", "workers", "hours", "of the time in results", "batches/s", "kills", "repeated", "set aside")


@dataclass(frozen=True)
class Machines:
    """What the job runs on.

    Attributes:
        workers: Workers at a time; each that is killed is replaced.
        megapixels_per_s: Speed of a worker.
        life_h: Mean hours until a worker is lost with its machine; infinity for never.
        start_s: Seconds until a new worker is ready.
    """

    workers: int
    megapixels_per_s: float = 0.5
    life_h: float = 24.0
    start_s: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Attributes:
        pictures: Restored.
        set_aside: Pictures that killed two workers.
        kills: Workers that were lost or killed.
        repeated: Pictures that were restored in vain, since their worker was killed before it reported them.
        seconds: Until the last picture.
        useful: Share of the time of all workers that went into results.
        batches_per_s: Batches handed out per second.
    """

    pictures: int
    set_aside: int
    kills: int
    repeated: int
    seconds: float
    useful: float
    batches_per_s: float


def archive(count: int, megapixels: float, seed: int = 0, poison: float = 0.0) -> Iterator[Entry]:
    """Draw pictures in the order of work: sizes spread log-normally, the large classes first.

    Args:
        count: How many.
        megapixels: Mean size.
        seed: Of the sizes.
        poison: Share of pictures that kill their worker; their version is ``poison``.
    """
    draw = random.Random(seed)  # noqa: S311 - not a secret
    spread = 0.8
    median = megapixels * math.exp(-(spread**2) / 2)
    counts: dict[int, int] = {}
    for _ in range(count):
        size = round(BYTES_PER_PIXEL * 1e6 * draw.lognormvariate(math.log(median), spread))
        counts[size_class(size)] = counts.get(size_class(size), 0) + 1
    number = 0
    for kind in sorted(counts, reverse=True):
        for _ in range(counts[kind]):
            yield Entry(f"{number:09}.jpg", round(2 ** (kind / 2)), "poison" if draw.random() < poison else "")
            number += 1


def simulate(entries: Iterable[Entry], pictures: int, machines: Machines, seed: int = 0) -> Outcome:
    """Run a job in simulated time.

    Args:
        entries: The pictures in the order of work.
        pictures: How many there are.
        machines: What it runs on.
        seed: Of the failures.
    """
    draw = random.Random(seed)  # noqa: S311 - not a secret
    schedule = Schedule(batches(entries, pictures, machines.workers))
    free: list[tuple[float, float]] = []  # when a worker is free, and when its machine is lost
    ends: list[
        tuple[float, int, float, Batch, bool]
    ] = []  # when, number, loss of the machine, batch, whether it is done
    done = aside = kills = repeated = given = 0
    useful = now = 0.0

    def new_worker(at: float) -> None:
        loss = math.inf if math.isinf(machines.life_h) else draw.expovariate(1 / (machines.life_h * 3600))
        heapq.heappush(free, (at + machines.start_s, at + machines.start_s + loss))

    for _ in range(machines.workers):
        new_worker(0.0)
    waiting = schedule.take()
    while waiting is not None or ends:
        if waiting is not None and free and (not ends or free[0][0] <= ends[0][0]):
            at, loss = heapq.heappop(free)
            length, whole = _seconds(waiting, machines)
            end = min(at + length, max(loss, at))
            given += 1
            heapq.heappush(ends, (end, given, loss, waiting, whole and at + length <= loss))
            waiting = schedule.take()
            continue
        now, _, loss, batch, whole = heapq.heappop(ends)
        if whole:
            done += len(batch.entries)
            useful += _seconds(batch, machines)[0]
            heapq.heappush(free, (now, loss))
            continue
        kills += 1
        repeated += len(batch.entries) - 1
        aside += len(schedule.killed(batch))
        new_worker(now)
        waiting = waiting or schedule.take()
    return Outcome(done, aside, kills, repeated, now, useful / (now * machines.workers or 1), given / (now or 1))


def _seconds(batch: Batch, machines: Machines) -> tuple[float, bool]:
    """Return the seconds until a batch is done, or until one of its pictures kills the worker; and which of the two."""
    seconds = 0.0
    for entry in batch.entries:
        if entry.etag == "poison":
            return seconds, False
        seconds += entry.size / BYTES_PER_PIXEL / 1e6 / machines.megapixels_per_s
    return seconds, True


def main() -> None:
    """Simulate jobs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[100_000, 1_000_000], help="pictures of each job")
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 256], help="workers of each job")
    parser.add_argument("--megapixels", type=float, default=1.0, help="mean size of a picture")
    parser.add_argument("--speed", type=float, default=0.5, help="megapixels per second of a worker")
    parser.add_argument("--life", type=float, default=24.0, help="mean hours until a worker is lost")
    parser.add_argument("--start", type=float, default=60.0, help="seconds until a new worker is ready")
    parser.add_argument("--poison", type=float, default=1e-5, help="share of pictures that kill their worker")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    rows, found = [], []
    for pictures in options.pictures:
        for workers in options.workers:
            machines = Machines(workers, options.speed, options.life, options.start)
            outcome = simulate(archive(pictures, options.megapixels, poison=options.poison), pictures, machines)
            found.append({"workers": workers, **asdict(outcome)})
            row = [f"{pictures:,}", workers, f"{outcome.seconds / 3600:.2f}", f"{outcome.useful:.1%}"]
            row += [f"{outcome.batches_per_s:.2f}", outcome.kills, outcome.repeated, outcome.set_aside]
            rows.append([str(value) for value in row])
    print(*markdown_table(COLUMNS, rows), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
