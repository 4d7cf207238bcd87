"""Measure exported files beside torch: bytes, seconds, memory, and the difference of the results.

    python benchmarks/interop.py --model tiny --size 256x256 --size 512x512 --json out.json

Uses one thread. Seconds are processor time, the median of some rounds in which all take turns with a large matrix
product (GEMM), whose rate shows how fast the machine is. The peak is of one
picture above the loaded model, each in a fresh process, where loading is timed as well. ``package`` is what
``moceir restore`` runs, ``plain`` the network of ``moceir.models.network``, and the others are exported files in
their own program (``moceir restore --backend onnx`` runs the first). Differences are from the plain network.
"""

from __future__ import annotations

import moceir  # noqa: F401 - before torch, so that threads wait for each other as in the command

# isort: split
import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recording import add_result_options, describe_processor, gemm_gflops, print_machine, save_results
from torch import Tensor

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import median_process_seconds, peak_growth_bytes, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.export.cache import export_model
from moceir.export.openvino_candidate import compile_model
from moceir.machine.allocator import keep_freed_memory
from moceir.onnx_files import open_file
from moceir.restoration import Restorer
from moceir.weights import load

FILES: dict[str, dict[str, bool]] = {"onnx": {}, "onnx --half": {"half": True}, "onnx --batch": {"batch": True}}
FILES |= {way.replace("onnx", "openvino"): arguments for way, arguments in FILES.items()}
WAYS = ("package", "plain", *FILES)
COLUMNS = ("size", "way", "MB", "seconds", "of package", "peak MiB", "load s", "largest difference", "GEMM, GFLOP/s")


def main() -> None:
    """Export, measure each size, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a model, as for moceir restore")
    parser.add_argument("--size", action="append", type=parse_size, help="WIDTHxHEIGHT, repeatable; 256x256 by default")
    parser.add_argument("--way", action="append", choices=WAYS[1:], help="repeatable; all by default")
    parser.add_argument("--files", type=Path, help="folder to keep the exported files in, and to use those of before")
    parser.add_argument("--repeat", type=int, default=3, help="rounds that the median is taken of")
    add_result_options(parser)
    options = parser.parse_args()

    torch.set_num_threads(1)
    keep_freed_memory()
    programs = {name: version(name) for name in ("onnxruntime", "openvino")}
    machine = describe_processor(1) | programs | {"repeat": options.repeat}
    rows: list[dict[str, Any]] = []
    print_machine(machine)
    ways = ["package", *(options.way or WAYS[1:])]
    print(*markdown_table(COLUMNS, ()), sep="\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.files or Path(temporary)
        sizes_mb = {way: export(options.model, way, folder) / 1e6 for way in ways if way in FILES}
        for width, height in options.size or [(256, 256)]:
            for row in measure(ways, options.model, folder, width, height, options.repeat):
                rows.append({"model": options.model, **row, "mb": sizes_mb.get(row["way"])})
                print(markdown_table(cells(rows[-1]), ())[0], flush=True)
    save_results(machine, options, interop=rows)


def file_of(way: str, folder: Path) -> Path:
    """Return the place of an exported file."""
    return folder / f"{way}{'.xml' if way.startswith('openvino') else '.onnx'}"


def export(model: str, way: str, folder: Path) -> int:
    """Export a model, unless the file is there; return its size in bytes, with that of OpenVINO's weights."""
    path = file_of(way, folder)
    if not path.exists():
        export_model(model, path, way.partition(" ")[0], **FILES[way])
    return sum(file.stat().st_size for file in (path, path.with_suffix(".bin")) if file.exists())


def prepare(way: str, model: str, folder: Path) -> Callable[[Tensor], Any]:
    """Load a model or the file that was exported from it; return what restores a batch."""
    if way == "package":
        return Restorer.from_pretrained(model, device="cpu").restore
    if way == "plain":
        return load(model)
    path = file_of(way, folder)
    if way.startswith("openvino"):
        compiled = compile_model(path, threads=1)
        return lambda images: compiled(images.numpy())[0]
    runtime = open_file(path, threads=1)
    return lambda images: runtime.run(images.numpy())


@torch.inference_mode()
def measure(ways: list[str], model: str, folder: Path, width: int, height: int, repeat: int) -> list[dict[str, Any]]:
    """Measure some ways, of which the first is ``package``, on a picture."""
    picture = sample_picture(width, height)
    expected = load(model)(picture).numpy()
    running = [prepare(way, model, folder) for way in ways]
    differences: dict[str, float] = {}

    def restore(name: str, way: Callable[[Tensor], Any]) -> None:
        differences[name] = float(np.abs(np.asarray(way(picture)) - expected).max())

    rates: list[float] = []
    calls = [partial(restore, *each) for each in zip(ways, running, strict=True)]
    *seconds, _ = median_process_seconds([*calls, lambda: rates.append(gemm_gflops(time.process_time))], repeat)
    rows: list[dict[str, Any]] = []
    for name, taken in zip(ways, seconds, strict=True):
        peak_mib, load_seconds = fresh_peak_mib(name, model, folder, width, height)
        row = {"way": name, "width": width, "height": height, "seconds": taken, "of_package": taken / seconds[0]}
        row |= {"peak_mib": peak_mib, "load_seconds": load_seconds, "difference": differences[name]}
        rows.append(row | {"gemm_gflops": statistics.median(rates)})
    return rows


def fresh_peak_mib(*subject: Any) -> tuple[float, float]:
    """Measure in a new process, which holds no memory of earlier pictures."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_peak_mib, *subject).result()


@torch.inference_mode()
def _peak_mib(way: str, model: str, folder: Path, width: int, height: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    keep_freed_memory()
    began = time.process_time()
    restore = prepare(way, model, folder)
    load_seconds = time.process_time() - began
    restore(sample_picture(16, 16))
    peak_bytes = peak_growth_bytes(partial(restore, sample_picture(width, height)))
    return (peak_bytes or 0) / 2**20, load_seconds


def cells(row: dict[str, Any]) -> list[str]:
    """Format a row of the table."""
    megabytes = "" if row["mb"] is None else f"{row['mb']:.1f}"
    numbers = [
        f"{row['seconds']:.2f}",
        f"{row['of_package']:.1f}",
        f"{row['peak_mib']:.0f}",
        f"{row['load_seconds']:.1f}",
        f"{row['difference']:.1e}",
        f"{row['gemm_gflops']:.0f}",
    ]
    return [f"{row['width']}x{row['height']}", row["way"], megabytes, *numbers]


if __name__ == "__main__":
    main()
