"""Measure inference, compared with the plain network and with a matrix product on the same processor.

    python benchmarks/inference.py --preset tiny --preset small --size 256x256 --threads 1 --threads 2 --json out.json
    python benchmarks/inference.py --preset tiny --size 1024x1024 --size 4000x3000 --alone --plot time.png

Two networks are compared, each in its own process: the package as ``moceir restore`` runs it
(``moceir.models.execution`` and its allocator), and the plain network of ``moceir.models.network`` with NCHW tensors
and the default allocator. The processes take turns, picture by picture. Before each picture they compute a
large matrix product (GEMM), which gives the rate of the machine to compare the network with. Weights are random but
equal for both, and so are the experts that they choose. The plain network needs 2 GiB per megapixel and more;
``--alone`` leaves it out. ``--clock processor`` counts processor time, which other programs disturb less; use it with
one thread.
"""

from __future__ import annotations

import moceir  # noqa: F401 - before torch, so that threads wait for each other as in the command

# isort: split
import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from recording import add_result_options, describe_processor, gemm_gflops, print_machine, save_results
from torch import Tensor

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import Subject, peak_growth_bytes, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.files import whole_file
from moceir.insight.figures import GROUP_COLOURS
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration import Restorer

NETWORKS = ("package", "plain")
CLOCKS = {"elapsed": time.perf_counter, "processor": time.process_time}
COLUMNS = (
    *("preset", "size", "threads", "network", "seconds", "best", "in the kernel"),
    *("peak MiB", "GFLOP/s", "of GEMM", "speed-up"),
)

_restore: Callable[[Tensor], Any]
"""Function that a measuring process measures. That of the package also returns routing reports."""


def main() -> None:
    """Measure each combination of the options, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", action="append", help="repeatable; default: tiny")
    parser.add_argument("--size", action="append", type=parse_size, help="WIDTHxHEIGHT, repeatable; default: 256x256")
    parser.add_argument("--threads", action="append", type=int, help="repeatable; default: chosen by torch")
    parser.add_argument("--repeat", type=int, default=5, help="number of pictures to take the median of")
    parser.add_argument("--alone", action="store_true", help="leave out the plain network")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="elapsed", help="time to measure; default: elapsed")
    parser.add_argument("--plot", type=Path, help="draw time and memory by megapixels to this file (.png, .svg)")
    add_result_options(parser)
    options = parser.parse_args()

    threads = options.threads or [torch.get_num_threads()]
    machine = describe_processor(max(threads)) | {"repeat": options.repeat, "clock": options.clock}
    rows: list[dict[str, Any]] = []
    print_machine(machine)
    print("\n".join(markdown_table(COLUMNS, ())))
    for name in options.preset or ["tiny"]:
        for width, height in options.size or [(256, 256)]:
            for count in threads:
                networks = NETWORKS[:1] if options.alone else NETWORKS
                new = measure(name, width, height, count, options.repeat, networks, options.clock)
                rows += new
                for row in new:
                    print(markdown_table(cells(row), ())[0], flush=True)
    save_results(machine, options, inference=rows)
    if options.plot:
        with whole_file(options.plot) as part, rc_context({"font.size": 9}):
            draw(rows).savefig(part, dpi=110, format=options.plot.suffix[1:])


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Draw time and peak memory by megapixels, with one line per preset, network and number of threads."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        lines.setdefault(f"{row['preset']}, {row['network']}, {threads}", []).append(row)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for (name, line), colour, mark in zip(lines.items(), cycle(GROUP_COLOURS), cycle("os^Dv<>")):
        megapixels = [row["width"] * row["height"] / 1e6 for row in line]
        for panel, key in zip(panels, ("seconds", "peak_memory_mib"), strict=True):
            panel.plot(megapixels, [row[key] for row in line], color=colour, marker=mark, label=name)
    for panel, label in zip(panels, ("seconds a picture", "peak memory, MiB"), strict=True):
        panel.set(xscale="log", yscale="log", xlabel="megapixels", ylabel=label)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def cells(row: dict[str, Any]) -> list[str]:
    """Format one row of the table."""
    memory = "unknown" if row["peak_memory_mib"] is None else f"{row['peak_memory_mib']:.0f}"
    return [
        row["preset"],
        f"{row['width']}x{row['height']}",
        str(row["threads"]),
        row["network"],
        f"{row['seconds']:.3f}",
        f"{row['seconds_best']:.3f}",
        f"{row['kernel_share']:.1%}",
        memory,
        f"{row['gflops']:.1f}",
        f"{row['share_of_gemm']:.0%}",
        f"{row['speed_up']:.2f}",
    ]


def measure(
    name: str,
    width: int,
    height: int,
    threads: int,
    repeat: int,
    networks: tuple[str, ...] = NETWORKS,
    clock: str = "elapsed",
) -> list[dict[str, Any]]:
    """Measure the networks on one picture, in turns.

    Args:
        name: Name of a preset.
        width: Width of the picture in pixels, at least 1.
        height: Height of the picture in pixels, at least 1.
        threads: Number of threads of each process.
        repeat: Number of pictures per network, at least 1.
        networks: Networks to measure, the package first.
        clock: One of `CLOCKS`.

    Returns:
        One row per network. ``gflops`` is the rate at the median time on the route that is taken, where each
        multiply-accumulate of convolutions and matrix products counts as two operations. ``share_of_gemm`` is the
        ratio to the median rate of a 2048x2048 matrix product in the same process. ``kernel_share`` is the share of the
        processor time that the system spends on a picture. ``speed_up`` is relative to the median time of the last
        network.
    """
    context = multiprocessing.get_context("spawn")
    pools = {
        network: ProcessPoolExecutor(1, context, initializer=prepare, initargs=(network, name, threads))
        for network in networks
    }
    try:
        wait([pool.submit(int) for pool in pools.values()])  # start all processes before measuring
        firsts = {network: pool.submit(first_picture, width, height).result() for network, pool in pools.items()}
        turns: dict[str, list[tuple[float, float, float]]] = {network: [] for network in networks}
        for _ in range(repeat):
            for network, pool in pools.items():
                turns[network].append(pool.submit(take_turn, width, height, clock).result())
    finally:
        for pool in pools.values():
            pool.shutdown()
    medians = {network: statistics.median(seconds for seconds, *_ in done) for network, done in turns.items()}
    gmacs = firsts[NETWORKS[0]][1]
    rows: list[dict[str, Any]] = []
    for network, done in turns.items():
        gemm = statistics.median(rate for _, rate, _ in done)
        gflops = 2 * gmacs / medians[network]
        rows.append(
            {
                "preset": name,
                "width": width,
                "height": height,
                "threads": threads,
                "network": network,
                "seconds": medians[network],
                "seconds_best": min(seconds for seconds, *_ in done),
                "kernel_share": statistics.median(share for *_, share in done),
                "peak_memory_mib": firsts[network][0],
                "gmacs": gmacs,
                "gflops": gflops,
                "gemm_gflops": gemm,
                "share_of_gemm": gflops / gemm,
                "speed_up": medians[networks[-1]] / medians[network],
            }
        )
    return rows


def prepare(network: str, name: str, threads: int) -> None:
    """Build a network and warm it up. Runs in a measuring process."""
    global _restore
    torch.set_num_threads(threads)
    model = Subject(name, untrained=True).load().eval()
    if network == "package":
        _restore = partial(Restorer(model, device="cpu").restore, return_routing=True)
    else:
        _restore = torch.inference_mode()(model)
    _restore(sample_picture(8, 8))
    if network == "package":
        keep_freed_memory()  # after loading, so that memory which loading freed is not reused without being counted


def first_picture(width: int, height: int) -> tuple[float | None, float]:
    """Measure the memory of the first picture. Runs in a measuring process.

    Returns:
        Peak memory above that of the loaded network in MiB, or None where it cannot be measured; and 10^9 MACs, or 0
        for the plain network, which does not report its experts.
    """
    picture = sample_picture(width, height)
    restored: list[Any] = []
    peak = peak_growth_bytes(lambda: restored.append(_restore(picture)))
    gmacs = 0.0 if isinstance(restored[0], Tensor) else restored[0][1][0].gmacs
    return None if peak is None else peak / 2**20, gmacs


def take_turn(width: int, height: int, clock: str) -> tuple[float, float, float]:
    """Measure a picture. Runs in a measuring process.

    Returns:
        Its seconds; the GFLOP/s of a matrix product before it; and the share of the processor time that the system
        spends on it, most of it for page faults.
    """
    picture = sample_picture(width, height)
    now = CLOCKS[clock]
    rate = gemm_gflops(now)
    before, began = os.times(), now()
    _restore(picture)
    seconds, after = now() - began, os.times()
    user, system = after.user - before.user, after.system - before.system
    return seconds, rate, system / max(user + system, 1e-9)


if __name__ == "__main__":
    main()
