"""A job from its command to its last row: check, list, plan, work, record. The same command goes on where it ended."""

from __future__ import annotations

import logging
import os
import re
import socket
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import ray
from grpc import RpcError

from moceir.cluster.manifest import (
    FOLDER,
    Description,
    output_key,
    read_description,
    read_manifest,
    write_manifest,
)
from moceir.cluster.pool import Pool, Size, places
from moceir.cluster.progress import Progress
from moceir.cluster.results import UNREACHED, Finished, ResultWriter, Row
from moceir.cluster.schedule import Schedule, batches
from moceir.cluster.stores import Entry, Store
from moceir.cluster.worker import Worker
from moceir.errors import ClusterError, ConfigError, OutputError
from moceir.restoration import RestoreOptions

_log = logging.getLogger("moceir")

OF_MACHINES = frozenset({"device", "threads", "compiled", "memory_limit", "max_pixels", "max_bytes"})
"""Options that may change between two runs of a job."""
BESIDE_NETWORK_BYTES = 1_500_000_000
"""What a worker takes beside the memory limit of its options: libraries, the network, pictures before and after."""
UNREACHED_IN_A_ROW = 64
"""Pictures in a row whose store failed, after which it counts as down and the job stops."""
CONNECT_S = 5.0
CLIENT_HINT = "check the port, and set RAY_AUTH_MODE=token here if the cluster requires a token"
"""What to do if a client server does not answer, which it does not if the token is missing, either."""


@dataclass(frozen=True)
class Job:
    """What to restore, with what, and where.

    Attributes:
        source: Folder or URL of the pictures.
        target: Folder or URL for the results, empty or with what an earlier run of this job left.
        options: What is asked of every picture; the network is found by its name on each machine.
        smallest: Workers to begin with.
        largest: Workers at most; None for as many as the cluster has room for.
        cpus: Cores of each worker.
        gpus: GPUs of each worker; parts of one are possible.
        retry_failed: Try those again that failed or were set aside.
        list_again: Make a new manifest: new pictures are added, changed ones are restored again.
    """

    source: str
    target: str
    options: RestoreOptions
    smallest: int = 1
    largest: int | None = None
    cpus: int = 1
    gpus: float = 0.0
    retry_failed: bool = False
    list_again: bool = False


@contextmanager
def cluster(address: str | None) -> Generator[None]:
    """Connect to a cluster, and disconnect at the end.

    Args:
        address: ``ray://HOST:10001`` from outside, ``HOST:6379`` or ``auto`` on a machine of the cluster. None for the
            one that ``RAY_ADDRESS`` names or this machine belongs to, or else a new one on this machine.

    Raises:
        ClusterError: If there is no cluster at the address, or the connection to it is lost.
    """
    for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")):
        os.environ.setdefault(name, value)
    if address is not None:
        _knock(address)
    name = address or "this machine"
    try:
        with warnings.catch_warnings(action="ignore"):  # Ray warns of a timeout, and raises it
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except Exception as error:  # Ray's own kinds are as plain as this
        reason = " ".join(str(error).strip().partition("\n\n")[0].split()) or type(error).__name__
        if name.startswith("ray://") and isinstance(error, ConnectionError):
            reason += f"; {CLIENT_HINT}"
        raise ClusterError(f"cannot join the cluster at {name}: {reason}") from error
    try:
        yield
    except (ConnectionError, RpcError) as error:  # from Ray's client; those of stores are errors of this package
        raise ClusterError(f"lost the connection to the cluster at {name}; give the same command again") from error
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Refuse an address where nothing answers, which Ray itself finds out only after a minute."""
    if address in ("auto", "local"):
        return
    parts = re.fullmatch(r"(?:ray://)?(\[[0-9a-fA-F:]+\]|[^/:]+):([0-9]{1,5})", address)
    if parts is None:
        raise ConfigError(f"'{address}' is not the address of a cluster; write it as ray://HOST:10001 or HOST:6379")
    try:
        with socket.create_connection((parts[1].strip("[]"), int(parts[2])), CONNECT_S):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        msg = f"no cluster answers at {address} ({reason}); check the address, or start one with: ray start --head"
        raise ClusterError(msg) from error


def check_places(source: Store, target: Store) -> None:
    """Refuse a source that is not there, and a target in which results could become inputs, or replace originals.

    Raises:
        ConfigError: If one of the two is the other, or lies inside it.
        StoreError: If the source does not exist, may not be read or is out of reach.
    """
    source.check()
    if source.holds(target) or target.holds(source):
        how = (
            "is"
            if source.holds(target) and target.holds(source)
            else "lies inside"
            if source.holds(target)
            else "holds"
        )
        raise ConfigError(f"the target {target} {how} the source {source}; give a target outside it")


def prepare(job: Job, source: Store, target: Store, on_listed: Callable[[int], object]) -> Description:
    """Find the manifest of a job that was begun, or list the source.

    Raises:
        ConfigError: If the target is that of another job.
        DataError: If the source holds no pictures, or the manifest is damaged.
        OutputError: If the target holds other files, or two pictures would be written to one.
        StoreError: If a store does not exist, refuses access or is out of reach.
    """
    asked = {name: value for name, value in job.options.model_dump(mode="json").items() if name not in OF_MACHINES}
    found = read_description(target)
    if found is None:
        others = [name for name in target.names("") if name != FOLDER]
        if others:
            msg = f"{target} holds files that are not of this job, for example {others[0]}; give an empty target"
            raise OutputError(msg)
    else:
        before = {"source": found.source, **found.options}
        changes = [
            f"{name} is {now}, was {before.get(name)}"
            for name, now in {"source": source.absolute, **asked}.items()
            if before.get(name) != now
        ]
        if changes:
            differs = ", ".join(changes)
            msg = f"{target} holds results of another job ({differs}); ask for the same, or give another target"
            raise ConfigError(msg)
        if not job.list_again:
            return found
    return write_manifest(source, target, asked, on_listed)


def restore_all(
    job: Job,
    *,
    on_listed: Callable[[int], object] = lambda _: None,
    on_row: Callable[[Row], object] = lambda _: None,
    on_progress: Callable[[Progress], object] = lambda _: None,
    stop: Event | None = None,
    worker: type[Any] = Worker,
) -> Progress:
    """Restore the pictures of a source that are not restored yet, on the cluster that this process is connected to.

    Args:
        job: What to do.
        on_listed: Called during the listing with the number of pictures so far.
        on_row: Called with the row of each picture, once it is recorded.
        on_progress: Called about twice a second.
        stop: Once it is set, the pictures in hand are finished.
        worker: Class of the workers.

    Returns:
        What was done.

    Raises:
        MoceirError: If the job cannot begin or go on. The rows so far are recorded.
    """
    source, target = Store(job.source), Store(job.target)
    check_places(source, target)
    description = prepare(job, source, target, on_listed)
    finished = Finished(target, retry_failed=job.retry_failed)
    progress = _what_is_left(target, description, finished)
    stop = stop or Event()
    size = _size(job)
    options = job.options.changed(threads=job.cpus)
    make = ray.remote(num_cpus=size.cpus, num_gpus=size.gpus, memory=size.memory)(worker)
    pool = Pool(
        lambda: make.remote(source.absolute, target.absolute, options),
        size,
        lambda entry: output_key(entry.key, options.format),
    )
    left = _left(target, description, finished)
    schedule = Schedule(batches(left, progress.pictures, size.largest))
    unreached = 0
    if not progress.pictures:
        return progress
    with ResultWriter(target) as results:
        for rows in pool.run(schedule, stop):
            if pool.ready and not progress.workers:
                progress.begin()
            progress.workers = pool.ready
            for row in rows:
                results.add(row)
                progress.add(row)
                on_row(row)
                unreached = unreached + 1 if row["status"] == UNREACHED else 0
                if unreached >= UNREACHED_IN_A_ROW and not stop.is_set():
                    stop.set()
                    _log.warning("stopping: a store failed for %d pictures in a row", unreached)
            on_progress(progress)
    return progress


def _size(job: Job) -> Size:
    limit = job.options.memory_limit
    memory = 0 if limit is None else limit + BESIDE_NETWORK_BYTES
    size = Size(job.smallest, job.largest or job.smallest, job.cpus, job.gpus, memory)
    room = places(size, ray.nodes())
    if not room:
        _log.warning("no machine of the cluster has room for a worker yet; waiting for one")
    if job.largest is None:
        size = Size(job.smallest, max(room, job.smallest), job.cpus, job.gpus, memory)
    return size


def _what_is_left(target: Store, description: Description, finished: Finished) -> Progress:
    """Count the work that is left."""
    if not finished:
        return Progress(description.pictures, description.size)
    pictures = size = 0
    for entry in _left(target, description, finished):
        pictures += 1
        size += entry.size
    return Progress(pictures, size)


def _left(target: Store, description: Description, finished: Finished) -> Iterator[Entry]:
    for entries in read_manifest(target, description):
        yield from finished.left(entries) if finished else entries
