"""Measure how much of the time for many small files the network takes, and whether memory stays constant.

    python benchmarks/files.py --files 500

The script makes files of all formats, depths and channels, by default with sides of 48 to 160 pixels, on the disk of
--folder. It restores them with `moceir restore` in this process and prints

- the share of the time that the network takes, as the command reports it and as measured here. The time runs from
  reading the first file to writing the last one. Imports and loading are listed separately as "before and after".
- the time that the network takes for the same pictures one after the other, without files ("network alone"). In the
  command, reading and writing overlap with the network, but they also use the processor.
- the resident memory after each tenth of the files.
- the rate of a large matrix product (GEMM) afterwards, which shows how fast the machine is.
"""

from __future__ import annotations

import moceir  # noqa: F401 - before torch, so that threads wait for each other as in the command

# isort: split
import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import add_result_options, describe_processor, gemm_gflops, print_machine, save_results

from moceir import image_io
from moceir.cli import app
from moceir.cli.run import jobs
from moceir.evaluation.report import markdown_table
from moceir.machine.allocator import keep_freed_memory
from moceir.models.network import MoCEIR
from moceir.restoration import Restorer

SUFFIXES = (".jpg", ".png", ".webp", ".tif")
SIDES = (48, 160)
COLUMNS = (
    "files",
    "sides",
    "seconds",
    "in the network",
    "share",
    "network alone",
    "before and after",
    "resident MB by tenths",
    "GEMM, GFLOP/s",
)


def make_files(folder: Path, count: int, sides: Sequence[int] = SIDES) -> None:
    """Write smooth pictures with noise, in mixed formats, depths and channels.

    Args:
        folder: Where to write them.
        count: How many.
        sides: Least and most pixels of a side.
    """
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width = rng.integers(sides[0], sides[1] + 1, 2)
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        waves = np.stack([np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y) for _ in range(3)], axis=2)
        levels = (0.5 + 0.4 * waves + rng.normal(0, 0.08, waves.shape)).clip(0, 1)
        kind = np.uint16 if number % 5 == 0 else np.uint8
        rgb = (levels * np.iinfo(kind).max).round().astype(kind)
        grey, alpha = number % 7 == 0, rgb[..., 0] if number % 6 == 0 else None
        rgb = rgb[..., :1].repeat(3, axis=2) if grey else rgb
        metadata = {"icc-profile-data": image_io.SRGB_PROFILE} if number % 3 == 0 and not grey else {}
        picture = image_io.Picture(rgb, alpha, grey, metadata)
        image_io.write(folder / f"sub{number % 9}" / f"{number:05}{SUFFIXES[number % 4]}", picture)


def resident_mb() -> float:
    """Measure the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(folder: Path, count: int, model: str) -> dict[str, Any]:
    """Run ``moceir restore`` and measure the time of the command, the time of the network inside it, and the memory."""
    network_seconds: list[float] = []
    memory: list[float] = []
    spans: list[float] = []

    def timed(network: MoCEIR, *arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return plain(network, *arguments, **options)
        finally:
            network_seconds.append(time.perf_counter() - began)
            if len(network_seconds) % max(count // 10, 1) == 0:
                memory.append(resident_mb())

    def spanned(*arguments: Any) -> Iterator[Any]:
        began = time.perf_counter()
        yield from overlapped(*arguments)
        spans.append(time.perf_counter() - began)

    plain, overlapped = MoCEIR.restore_with_routing, jobs.overlapped
    MoCEIR.restore_with_routing, jobs.overlapped = timed, spanned
    start = time.perf_counter()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            app(["restore", str(folder / "in"), "-o", str(folder / "out"), "--model", model, "--device", "cpu"])
    finally:
        MoCEIR.restore_with_routing, jobs.overlapped = plain, overlapped
    whole = time.perf_counter() - start
    return {
        "files": len(network_seconds),
        "seconds": spans[0],
        "before_and_after": whole - spans[0],
        "network_seconds": sum(network_seconds),
        "share": sum(network_seconds) / spans[0],
        "resident_mb": memory,
        "summary": printed.getvalue().splitlines()[-1],
    }


def network_alone(folder: Path, model: str) -> float:
    """Measure the seconds that the network takes for the same pictures, without reading and writing files."""
    restorer = Restorer.from_pretrained(model, device="cpu")
    pictures = [image_io.to_network(image_io.read(path)) for path, _ in image_io.find([folder / "in"])]
    return sum(restorer.run(pixels).network_seconds for pixels in pictures)


def main() -> None:
    """Make the files, measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500, help="number of files")
    parser.add_argument("--sides", type=int, nargs=2, default=SIDES, metavar=("MIN", "MAX"), help="in pixels")
    parser.add_argument("--model", default="tiny", help="name of a bundled model or model folder")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--folder", type=Path, help="make the files here; default: the system's temporary folder")
    add_result_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        make_files(Path(name) / "in", options.files, options.sides)
        result = measure(Path(name), options.files, options.model)
        result["network_alone"] = network_alone(Path(name), options.model)
    gemm = statistics.median(gemm_gflops() for _ in range(3))
    result |= {"gemm_gflops": gemm, "model": options.model, "sides": list(options.sides)}
    summary = result.pop("summary")
    machine = describe_processor()
    print_machine(machine)
    seconds = [f"{result[key]:.1f}" for key in ("seconds", "network_seconds", "network_alone", "before_and_after")]
    memory = " ".join(f"{mb:.0f}" for mb in result["resident_mb"])
    row = [
        str(result["files"]),
        "-".join(map(str, options.sides)),
        *seconds[:2],
        f"{result['share']:.1%}",
        *seconds[2:],
        memory,
    ]
    row.append(f"{result['gemm_gflops']:.0f}")
    print(*markdown_table(COLUMNS, [row]), summary, sep="\n")
    save_results(machine, options, files=[result])


if __name__ == "__main__":
    main()
