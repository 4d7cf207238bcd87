"""Compare bfloat16 with float32 on the processor: time by size, and quality by degradation.

    python benchmarks/precision.py --preset tiny --preset small --size 256x256 --size 1024x1024
    python benchmarks/precision.py --photographs cbsd68 --task noise:sigma=25

Time: both precisions restore the same picture in turns, in one process. Weights are random but always the same.
Seconds are processor time, which other programs disturb little with one thread; medians are taken.
Quality: both restore the same degraded photographs with the weights of ``--model``, and the mean PSNR is compared.

The results decide whether ``--precision auto`` may be bfloat16 on processors (``moceir.machine.devices``).
"""

from __future__ import annotations

import moceir  # noqa: F401 - before torch, so that threads wait for each other as in the command

# isort: split
import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from recording import add_result_options, describe_processor, print_machine, save_results

from moceir.cli.options import parse_size
from moceir.evaluation import evaluate, synthetic_set
from moceir.evaluation.profiling import Subject, median_process_seconds, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration import Restorer

PRECISIONS = ("float32", "bfloat16")
TIMES = ("preset", "size", "threads", "float32, s", "bfloat16, s", "of float32")
QUALITIES = ("model", "degradation", "pictures", "float32, dB", "bfloat16, dB", "difference, dB")


def main() -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", action="append", default=[], help="measure the time of this preset; repeatable")
    parser.add_argument("--size", action="append", type=parse_size, help="WIDTHxHEIGHT, repeatable; default: 256x256")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="number of pictures to take the median of")
    parser.add_argument("--photographs", type=Path, help="measure the quality on this folder of clean pictures")
    parser.add_argument(
        "--task", action="append", default=[], help="degradation, for example noise:sigma=25; repeatable"
    )
    parser.add_argument("--limit", type=int, help="number of photographs to use; default: all")
    parser.add_argument("--model", default="tiny", help="weights to measure the quality of")
    add_result_options(parser)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    machine = describe_processor(options.threads)
    print_machine(machine)
    times: list[dict[str, Any]] = []
    for name in options.preset:
        restorer = Restorer(Subject(name, untrained=True).load(), device="cpu")
        for width, height in options.size or [(256, 256)]:
            times.append(compare_times(restorer, name, width, height, options.repeat))
            print(*markdown_table(TIMES, [time_cells(times[-1])]), sep="\n", flush=True)
    qualities: list[dict[str, Any]] = []
    if options.photographs:
        restorer = Restorer.from_pretrained(options.model, device="cpu")
        for task in options.task or ["noise:sigma=25"]:
            qualities.append(compare_quality(restorer, options.model, options.photographs, task, options.limit))
            print(*markdown_table(QUALITIES, [quality_cells(qualities[-1])]), sep="\n", flush=True)
    save_results(machine, options, precision_time=times, precision_quality=qualities)


def compare_times(restorer: Restorer, name: str, width: int, height: int, repeat: int) -> dict[str, Any]:
    """Measure the processor time of a picture in each precision, in turns."""
    picture = sample_picture(width, height)
    calls: list[Callable[[], object]] = [
        partial(restorer.with_options(precision=precision).restore, picture) for precision in PRECISIONS
    ]
    seconds = dict(zip(PRECISIONS, median_process_seconds(calls, repeat), strict=True))
    size = {"width": width, "height": height, "threads": torch.get_num_threads()}
    return {"preset": name, **size, "seconds": seconds}


def compare_quality(restorer: Restorer, model: str, photographs: Path, task: str, limit: int | None) -> dict[str, Any]:
    """Measure the mean PSNR in each precision, over the same degraded photographs."""
    scores = {
        precision: evaluate(
            restorer.with_options(precision=precision), model, synthetic_set(photographs, task), limit=limit
        )
        for precision in PRECISIONS
    }
    psnr_db = {precision: score.mean("psnr_db") for precision, score in scores.items()}
    return {"model": model, "task": task, "pictures": len(scores["float32"].scores), "psnr_db": psnr_db}


def time_cells(row: dict[str, Any]) -> list[str]:
    """Format one comparison of times."""
    single, half = (row["seconds"][precision] for precision in PRECISIONS)
    size = f"{row['width']}x{row['height']}"
    return [row["preset"], size, str(row["threads"]), f"{single:.3f}", f"{half:.3f}", f"{half / single:.2f}"]


def quality_cells(row: dict[str, Any]) -> list[str]:
    """Format one comparison of qualities."""
    single, half = (row["psnr_db"][precision] for precision in PRECISIONS)
    return [row["model"], row["task"], str(row["pictures"]), f"{single:.3f}", f"{half:.3f}", f"{half - single:+.3f}"]


if __name__ == "__main__":
    main()
