"""Compare enlarging a picture with restoring one of the size of the result, in one run.

    python benchmarks/upscale.py --scale 4 --size 1024x1024 --threads 1 --json out.json

Measures the processor time of the whole path of a picture in memory (``Restorer.restore`` on 8-bit arrays), with one
thread: alone on the machine that is the time that passes, and other work hardly changes it. The network that enlarges
sees the small picture; the network of the same shape that restores sees one of the size ``--beside``, by default with
twice the sides. The two take turns. Weights are random, and both take the dearest experts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inference import size

from moceir.evaluation.profiling import describe_machine, median_process_seconds
from moceir.evaluation.report import markdown_table
from moceir.files import write_json
from moceir.machine.allocator import keep_freed_memory
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer

COLUMNS = ("task", "input", "output", "seconds")


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", help="shape of both networks")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4)
    parser.add_argument("--size", type=size, default=(1024, 1024), help="WIDTHxHEIGHT of the picture to enlarge")
    parser.add_argument("--beside", type=size, help="WIDTHxHEIGHT of the picture to restore; default: twice the sides")
    parser.add_argument("--repeat", type=int, default=3, help="number of pictures to take the median of")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()

    width, height = options.size
    beside = options.beside or (2 * width, 2 * height)
    jobs = {
        f"enlarge by {options.scale}": (options.scale, options.size),
        "restore": (1, beside),
    }
    works = [work(options.preset, scale, of_size) for scale, of_size in jobs.values()]
    seconds = median_process_seconds(works, options.repeat)
    rows: list[dict[str, Any]] = [
        {
            "task": task,
            "input": f"{wide}x{high}",
            "output": f"{scale * wide}x{scale * high}",
            "seconds": taken,
        }
        for (task, (scale, (wide, high))), taken in zip(jobs.items(), seconds, strict=True)
    ]
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
