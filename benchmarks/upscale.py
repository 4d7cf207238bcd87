"""Compare enlarging a picture with restoring one of the size of the result, in one run.

    python benchmarks/upscale.py --scale 4 --size 1024x1024 --threads 1 --json out.json

Times the whole path of a picture in memory (``Restorer.restore`` on 8-bit arrays). The network that enlarges sees the
small picture; the network of the same shape that restores sees one with as many pixels as ``--beside`` says, for
example twice the sides for 4 megapixels. The two take turns. Weights are random; the cost depends on the shape, and
both take the dearest experts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inference import size

from moceir.evaluation.profiling import describe_machine
from moceir.evaluation.report import markdown_table
from moceir.files import write_json
from moceir.machine.allocator import keep_freed_memory
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer

COLUMNS = ("task", "input", "output", "seconds", "best")


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", help="shape of both networks")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4)
    parser.add_argument("--size", type=size, default=(1024, 1024), help="WIDTHxHEIGHT of the picture to enlarge")
    parser.add_argument("--beside", type=size, help="WIDTHxHEIGHT of the picture to restore; default: twice the sides")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="number of rounds to take the median of")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()

    width, height = options.size
    beside = options.beside or (2 * width, 2 * height)
    jobs = {
        f"enlarge by {options.scale}": (options.scale, options.size),
        "restore": (1, beside),
    }
    works = {task: work(options.preset, scale, of_size) for task, (scale, of_size) in jobs.items()}
    seconds: dict[str, list[float]] = {task: [] for task in jobs}
    for _ in range(options.repeat):
        for task, restore in works.items():
            began = time.perf_counter()
            restore()
            seconds[task].append(time.perf_counter() - began)

    rows: list[dict[str, Any]] = []
    for task, (scale, (wide, high)) in jobs.items():
        taken = seconds[task]
        rows.append(
            {
                "task": task,
                "input": f"{wide}x{high}",
                "output": f"{scale * wide}x{scale * high}",
                "seconds": statistics.median(taken),
                "best": min(taken),
            }
        )
    cells = [[f"{row[name]:.2f}" if isinstance(row[name], float) else row[name] for name in COLUMNS] for row in rows]
    print("\n".join(markdown_table(COLUMNS, cells)))
    if options.json:
        write_json(options.json, {**describe_machine("cpu"), "preset": options.preset, "rows": rows})


def work(name: str, scale: int, of_size: tuple[int, int]) -> Callable[[], Any]:
    """Prepare a restoration of a picture of noise by a network of a shape."""
    torch.manual_seed(0)
    restorer = Restorer(MoCEIR(preset(name).model_copy(update={"scale": scale})), device="cpu", experts="dearest")
    width, height = of_size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return partial(restorer.restore, picture)


if __name__ == "__main__":
    main()
