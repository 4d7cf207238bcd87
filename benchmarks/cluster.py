"""Measure what a cluster job costs beside the network: memory of the driver, listing, and the rate of workers.

    python benchmarks/cluster.py --keys 1000000
    python benchmarks/cluster.py --pictures 300

With --keys, a stand-in store names that many pictures in folders of a thousand, and a stand-in network answers at once.
Listing, manifest, schedule, Ray and results are the real ones. Printed are the seconds of listing and planning, and the
resident memory of the driver by tenths of the job, from the first 100,000 pictures on.

With --pictures, that many pictures of 512x512 pixels are restored on this machine: by two `moceir restore` processes
with one core each, half of the pictures for each, and by two workers of `moceir cluster restore`. Printed are pictures
per second without the start (from the first picture to the last) and with it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import psutil
from fsspec.spec import AbstractFileSystem
from recording import add_result_options, describe_processor, print_machine, save_results

from moceir import image_io
from moceir.cluster.job import Job, cluster, restore_all
from moceir.cluster.manifest import read_manifest, write_manifest
from moceir.cluster.progress import Progress
from moceir.cluster.results import RESTORED, Row, make_row
from moceir.cluster.stores import Entry, Store
from moceir.evaluation.report import markdown_table
from moceir.restoration import RestoreOptions

IN_FOLDER = 1000
SETTLED = 100_000
"""Pictures after which the memory of the driver must stay the same."""


class StandInStore(AbstractFileSystem):
    """Names as many pictures as its URL says, ``standin://1000000``, without having them."""

    protocol = "standin"
    cachable = False

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List the root (folders) or a folder (pictures)."""
        count, _, folder = path.removeprefix("standin://").partition("/")
        if not folder:
            names = [f"{count}/{number:06}" for number in range(-(-int(count) // IN_FOLDER))]
            return [{"name": name, "type": "directory", "size": 0} for name in names]
        first = int(folder) * IN_FOLDER
        numbers = range(first, min(first + IN_FOLDER, int(count)))
        sizes = [200_000 + (number * 7919) % 4_000_000 for number in numbers]
        names = [f"{path}/scan of page {number:09}.jpg" for number in numbers]
        return [
            {"name": name, "type": "file", "size": size, "etag": f"{size:032x}"}
            for name, size in zip(names, sizes, strict=True)
        ]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Say that the root is there."""
        return {"name": path, "type": "directory", "size": 0}


class StandInWorker:
    """Answers at once that pictures are restored."""

    def __init__(self, source: str, target: str, options: RestoreOptions) -> None:
        self._stores = source, target, options

    def prepare(self) -> None:
        """Do nothing."""

    def restore(self, entries: Sequence[Entry]) -> list[Row]:
        """Return rows such as those of real pictures."""
        seen: dict[str, Any] = {"width": 1000, "height": 800, "megapixels": 0.8, "bytes": 300_000, "seconds": 0.9}
        return [make_row(entry, entry.key, RESTORED, route=[[0], [1], [2]], notes=[], **seen) for entry in entries]


def resident_mb() -> float:
    """Return the memory of this process that is its own, in MB."""
    return psutil.Process().memory_full_info().uss / 1e6


def measure_keys(keys: int, folder: Path) -> dict[str, Any]:
    """List and plan that many pictures, then take them through a whole job."""
    fsspec.register_implementation("standin", StandInStore, clobber=True)
    source = f"standin://{keys}"
    began = time.perf_counter()
    target = Store(str(folder / "planned"))
    description = write_manifest(Store(source), target, {})
    listed = time.perf_counter()
    planned = sum(len(entries) for entries in read_manifest(target, description))
    done = time.perf_counter()
    if planned != keys:
        raise RuntimeError(f"{planned} of {keys} pictures are in the manifest")
    memory: list[tuple[int, float]] = []
    job = Job(source=source, target=str(folder / "results"), options=RestoreOptions(), smallest=2, largest=2)

    def note(progress: Progress) -> None:
        if progress.done >= min(SETTLED, keys) + len(memory) * (keys - SETTLED) // 10:
            memory.append((progress.done, resident_mb()))

    with cluster("local"):
        running = time.perf_counter()
        progress = restore_all(job, on_progress=note, worker=StandInWorker)
        seconds = time.perf_counter() - running
    if progress.done != keys or progress.left:
        raise RuntimeError(f"not all pictures are done: {progress}")
    megabytes = [mb for _, mb in memory]
    return {
        "keys": keys,
        "listing_s": listed - began,
        "planning_s": done - listed,
        "job_s": seconds,
        "driver_mb": memory,
        "growth": max(megabytes) / megabytes[0] - 1,
    }


def make_pictures(folder: Path, count: int) -> None:
    """Write smooth pictures of 512x512 pixels with noise, as JPEG files of high quality."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:1:512j, 0:1:512j]
    for number in range(count):
        waves = np.stack([np.sin(rng.uniform(2, 30) * x + rng.uniform(2, 30) * y) for _ in range(3)], axis=2)
        levels = (0.5 + 0.4 * waves + rng.normal(0, 0.08, waves.shape)).clip(0, 1)
        image_io.write(folder / str(number % 2) / f"{number:05}.jpg", image_io.Picture((levels * 255).astype(np.uint8)))


def measure_rate(count: int, folder: Path, model: str) -> dict[str, Any]:
    """Restore pictures with two processes, and with two workers."""
    make_pictures(folder / "in", count)
    restore = [sys.executable, "-m", "moceir", "restore"]
    options = ["--model", model, "--threads", "1", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    processes = [
        subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of this script
            [*restore, str(folder / "in" / half), "-o", str(folder / "files" / half), *options],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for half in "01"
    ]
    lines = [process.communicate()[0].splitlines()[-1] for process in processes]
    processes_s = time.perf_counter() - began
    spans = [float(re.findall(r"in ([0-9.]+) s", line)[0]) for line in lines]
    asked = RestoreOptions(model=model, device="cpu")
    job = Job(source=str(folder / "in"), target=str(folder / "out"), options=asked, smallest=2, largest=2)
    ready: list[float] = []

    def note(progress: Progress) -> None:
        if progress.workers and not ready:
            ready.append(time.perf_counter())

    began = time.perf_counter()
    with cluster("local"):
        progress = restore_all(job, on_progress=note)
        ended = time.perf_counter()
    if progress.counts[RESTORED] != count:
        raise RuntimeError(f"not all pictures are restored: {progress}")
    for path in (folder / "files").rglob("*.jpg"):
        if path.read_bytes() != (folder / "out" / path.relative_to(folder / "files")).read_bytes():
            raise RuntimeError(f"{path.name} differs from what moceir restore makes")
    workers_s = ended - ready[0]
    return {
        "pictures": count,
        "processes_per_s": count / max(spans),
        "workers_per_s": count / workers_s,
        "share": max(spans) / workers_s,
        "processes_with_start_s": processes_s,
        "workers_with_start_s": ended - began,
        "megapixels_per_s_of_a_worker": count * 512 * 512 / 1e6 / workers_s / 2,
    }


def main() -> None:
    """Measure, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=0, help="pictures of the stand-in store")
    parser.add_argument("--pictures", type=int, default=0, help="pictures to restore")
    parser.add_argument("--model", default="tiny", help="name of a bundled model or model folder")
    add_result_options(parser)
    options = parser.parse_args()
    machine = describe_processor()
    print_machine(machine)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        if options.keys:
            keys = measure_keys(options.keys, Path(name))
            found["cluster_keys"] = [keys]
            row = [f"{keys['keys']:,}", *(f"{keys[key]:.1f}" for key in ("listing_s", "planning_s", "job_s"))]
            row += [" ".join(f"{mb:.0f}" for _, mb in keys["driver_mb"]), f"{keys['growth']:+.1%}"]
            print(*markdown_table(("keys", "listing s", "planning s", "job s", "driver MB", "growth"), [row]), sep="\n")
        if options.pictures:
            rate = {"model": options.model, **measure_rate(options.pictures, Path(name), options.model)}
            found["cluster_rate"] = [rate]
            both = [("two processes", "processes"), ("two workers", "workers")]
            rows = [[label, f"{rate[f'{k}_per_s']:.3f}", f"{rate[f'{k}_with_start_s']:.1f}"] for label, k in both]
            print(*markdown_table(("", "pictures/s", "seconds with start"), rows), sep="\n")
            speed = rate["megapixels_per_s_of_a_worker"]
            print(f"workers reach {rate['share']:.1%} of the rate; {speed:.3f} megapixels/s each")
    save_results(machine, options, **found)


if __name__ == "__main__":
    main()
