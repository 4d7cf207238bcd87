"""Measure which parts of the network take the time, in small and in large pictures.

    python benchmarks/parts.py --preset tiny --size 512x512 --size 384x4096 --size 3000x512 --size 4000x3000 --threads 2

All times are seconds per megapixel. ``whole maps`` is the rest: downsampling, norms that are computed for whole maps,
the router, and the first and the last convolution. Weights are random. Before each picture, a large matrix product
(GEMM) and a copy of a map as large as those of the network (bytes read and written) show how fast the machine is.
"""

from __future__ import annotations

import moceir  # noqa: F401 - before torch, so that threads wait for each other as in the command

# isort: split
import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from recording import add_result_options, describe_processor, gemm_gflops, print_machine, save_results
from torch import Tensor

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import Subject, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.machine.allocator import keep_freed_memory
from moceir.models.execution import inference
from moceir.restoration import Restorer

PARTS = {
    "_attend.<locals>.values": "attention: sums",
    "_attend.<locals>.<lambda>": "attention: mixing",
    "_feed_forward.<locals>.rows": "feed-forward",
    "_StripedMixture.forward.<locals>.rows": "experts",
    "_StripedDecoderBlock.forward.<locals>.<lambda>": "1x1 before the experts",
    "_StripedDecoderStage.join.<locals>.rows": "upsampling and skip",
}
"""Functions that `by_stripes` gets, by their qualified names, and what they compute."""
REST = "whole maps"
COLUMNS = ("preset", "size", "s per megapixel", *PARTS.values(), REST, "GEMM, GFLOP/s", "copy, GB/s")


def main() -> None:
    """Measure each size, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--size", action="append", type=parse_size, help="WIDTHxHEIGHT, repeatable; default: 512x512")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=1, help="number of pictures to take the median of")
    add_result_options(parser)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    machine = describe_processor(options.threads) | {"repeat": options.repeat}
    print_machine(machine)
    print("\n".join(markdown_table(COLUMNS, ())))
    restorer = Restorer(Subject(options.preset, untrained=True).load().eval(), device="cpu")
    restorer.restore(sample_picture(512, 512))
    rows: list[dict[str, Any]] = []
    for size in options.size or [(512, 512)]:
        rows.append({"preset": options.preset, "threads": options.threads, **measure(restorer, *size, options.repeat)})
        print(markdown_table(cells(rows[-1]), ())[0], flush=True)
    save_results(machine, options, parts=rows)


def measure(restorer: Restorer, width: int, height: int, repeat: int) -> dict[str, Any]:
    """Measure the parts on pictures of one size, in elapsed seconds, of which each is the median over the pictures."""
    picture = sample_picture(width, height)
    rates: list[float] = []
    turns: list[Counter[str]] = []
    for _ in range(repeat):
        rates.append(gemm_gflops())
        turns.append(time_parts(lambda: restorer.restore(picture)))
    seconds = {part: statistics.median(turn[part] for turn in turns) for part in (*PARTS.values(), REST)}
    whole = {"seconds": sum(seconds.values()), "gemm_gflops": statistics.median(rates)}
    whole["copy_gb_per_s"] = copy_gb_per_s(restorer.config.dim, width, height)
    return {"width": width, "height": height, **whole, "parts": seconds}


def copy_gb_per_s(channels: int, width: int, height: int) -> float:
    """Measure the rate of copying a map, into memory that is there already."""
    source = torch.ones(channels, height, width)
    target = torch.ones_like(source)
    seconds: list[float] = []
    for _ in range(9):
        began = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - began)
    return 2 * source.nbytes / statistics.median(seconds) / 1e9


def time_parts(act: Callable[[], object]) -> Counter[str]:
    """Do something with a network, and return the seconds that each part of it takes."""
    taken: Counter[str] = Counter()
    by_stripes = inference.by_stripes

    def timed(function: Callable[..., Tensor], *maps: Tensor, **options: Any) -> Tensor:
        began = time.perf_counter()
        result = by_stripes(function, *maps, **options)
        taken[PARTS[function.__qualname__]] += time.perf_counter() - began
        return result

    inference.by_stripes = timed
    began = time.perf_counter()
    try:
        act()
    finally:
        inference.by_stripes = by_stripes
    taken[REST] = time.perf_counter() - began - taken.total()
    return taken


def cells(row: dict[str, Any]) -> list[str]:
    """Format a row of the table."""
    megapixels = row["width"] * row["height"] / 1e6
    per_megapixel = [f"{seconds / megapixels:.2f}" for seconds in (row["seconds"], *row["parts"].values())]
    return [
        row["preset"],
        f"{row['width']}x{row['height']}",
        *per_megapixel,
        f"{row['gemm_gflops']:.0f}",
        f"{row['copy_gb_per_s']:.1f}",
    ]


if __name__ == "__main__":
    main()
