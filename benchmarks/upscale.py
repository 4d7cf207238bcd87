"""Compare enlarging a picture with restoring one of the size of the result, in one run.

    python benchmarks/upscale.py --scale 4 --size 1024x1024 --threads 1 --json out.json

Measures the processor time of the whole path of a picture in memory (``Restorer.restore`` on 8-bit arrays), with one
thread: alone on the machine that is the time that passes, and other work hardly changes it. The network that enlarges
sees the small picture; the network of the same shape that restores sees one of the size ``--beside``, by default with
twice the sides. The two take turns with a large matrix product (GEMM), whose rate shows how fast the machine is.
Weights are random, and both take the dearest experts.
"""

from __future__ import annotations

import moceir  # noqa: F401 - before torch, so that threads wait for each other as in the command

# isort: split
import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from recording import add_result_options, describe_processor, gemm_gflops, print_machine, save_results

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import median_process_seconds
from moceir.evaluation.report import markdown_table
from moceir.machine.allocator import keep_freed_memory
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer

COLUMNS = ("task", "input", "output", "seconds", "GEMM, GFLOP/s")


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", help="shape of both networks")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=4)
    parser.add_argument("--size", type=parse_size, default=(1024, 1024), help="WIDTHxHEIGHT of the picture to enlarge")
    parser.add_argument(
        "--beside", type=parse_size, help="WIDTHxHEIGHT of the picture to restore; default: twice the sides"
    )
    parser.add_argument("--repeat", type=int, default=3, help="number of pictures to take the median of")
    add_result_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    machine = describe_processor() | {"repeat": options.repeat}
    print_machine(machine)

    width, height = options.size
    beside = options.beside or (2 * width, 2 * height)
    jobs = {
        f"enlarge by {options.scale}": (options.scale, options.size),
        "restore": (1, beside),
    }
    works = [work(options.preset, scale, of_size) for scale, of_size in jobs.values()]
    rates: list[float] = []
    *seconds, _ = median_process_seconds([*works, lambda: rates.append(gemm_gflops(time.process_time))], options.repeat)
    rows: list[dict[str, Any]] = [
        {
            "preset": options.preset,
            "task": task,
            "input": f"{wide}x{high}",
            "output": f"{scale * wide}x{scale * high}",
            "seconds": taken,
            "gemm_gflops": statistics.median(rates),
        }
        for (task, (scale, (wide, high))), taken in zip(jobs.items(), seconds, strict=True)
    ]
    cells = [
        [row["task"], row["input"], row["output"], f"{row['seconds']:.2f}", f"{row['gemm_gflops']:.0f}"] for row in rows
    ]
    print(*markdown_table(COLUMNS, cells), sep="\n")
    save_results(machine, options, upscale=rows)


def work(name: str, scale: int, of_size: tuple[int, int]) -> Callable[[], Any]:
    """Prepare a restoration of a picture of noise by a network of a shape."""
    torch.manual_seed(0)
    restorer = Restorer(MoCEIR(preset(name).model_copy(update={"scale": scale})), device="cpu", experts="dearest")
    width, height = of_size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return partial(restorer.restore, picture)


if __name__ == "__main__":
    main()
