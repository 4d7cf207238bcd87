"""Measure exported ONNX files beside torch: bytes, seconds, and the difference of the results.

    python benchmarks/interop.py --model tiny --size 256x256 --size 512x512 --json out.json

Uses one thread. Seconds are processor time, the median of some rounds in which all take turns. The peak is of one
picture above the loaded model, each in a fresh process. ``package`` is what ``moceir restore`` runs, ``plain`` the
network of ``moceir.models.network``, and the others are files in onnxruntime.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import describe_machine, median_process_seconds, peak_growth_bytes, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.export import to_onnx
from moceir.files import write_json
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration import Restorer
from moceir.weights import load

FILES = {"onnx": {}, "onnx --half": {"half": True}, "onnx --batch": {"batch": True}}
WAYS = ("package", "plain", *FILES)
COLUMNS = ("size", "way", "MB", "seconds", "of package", "peak MiB", "largest difference")


def main() -> None:
    """Export, measure each size, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a model, as for moceir restore")
    parser.add_argument("--size", action="append", type=parse_size, help="WIDTHxHEIGHT, repeatable; 256x256 by default")
    parser.add_argument("--repeat", type=int, default=3, help="rounds that the median is taken of")
    parser.add_argument("--json", type=Path, help="write the results there")
    options = parser.parse_args()

    torch.set_num_threads(1)
    keep_freed_memory()
    results: dict[str, Any] = describe_machine("cpu", 1) | {"onnxruntime": onnxruntime.__version__, "rows": []}
    print(", ".join(f"{key} {value}" for key, value in results.items() if value), end="\n\n")
    print(*markdown_table(COLUMNS, ()), sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        network = load(options.model)
        sizes_mb = {
            name: to_onnx(network, Path(folder) / f"{name}.onnx", **arguments).size_bytes / 1e6
            for name, arguments in FILES.items()
        }
        for width, height in options.size or [(256, 256)]:
            for row in measure(options.model, Path(folder), width, height, options.repeat):
                results["rows"].append(row | {"mb": sizes_mb.get(row["way"])})
                print(markdown_table(cells(results["rows"][-1]), ())[0], flush=True)
    if options.json:
        write_json(options.json, results)


def prepare(way: str, model: str, folder: Path) -> Callable[[Tensor], Any]:
    """Load a model or the file that was exported from it; return what restores a batch."""
    if way == "package":
        return Restorer.from_pretrained(model, device="cpu").restore
    if way == "plain":
        return load(model)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / f"{way}.onnx", settings, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"image": images.numpy()})[0]


@torch.inference_mode()
def measure(model: str, folder: Path, width: int, height: int, repeat: int) -> list[dict[str, Any]]:
    """Measure all ways on a picture; differences are from the plain network."""
    picture = sample_picture(width, height)
    ways = [prepare(way, model, folder) for way in WAYS]
    seconds = median_process_seconds([lambda way=way: way(picture) for way in ways], repeat)
    expected = ways[1](picture).numpy()
    return [
        {
            "way": name,
            "width": width,
            "height": height,
            "seconds": taken,
            "of_package": taken / seconds[0],
            "peak_mib": fresh_peak_mib(name, model, folder, width, height),
            "difference": float(np.abs(np.asarray(way(picture)) - expected).max()),
        }
        for name, way, taken in zip(WAYS, ways, seconds, strict=True)
    ]


def fresh_peak_mib(*subject: Any) -> float:
    """Measure in a new process, which holds no memory of earlier pictures."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_peak_mib, *subject).result()


@torch.inference_mode()
def _peak_mib(way: str, model: str, folder: Path, width: int, height: int) -> float:
    torch.set_num_threads(1)
    keep_freed_memory()
    restore = prepare(way, model, folder)
    restore(sample_picture(16, 16))
    peak_bytes = peak_growth_bytes(partial(restore, sample_picture(width, height)))
    return (peak_bytes or 0) / 2**20


def cells(row: dict[str, Any]) -> list[str]:
    """Format a row of the table."""
    megabytes = "" if row["mb"] is None else f"{row['mb']:.1f}"
    numbers = [
        f"{row['seconds']:.2f}",
        f"{row['of_package']:.1f}",
        f"{row['peak_mib']:.0f}",
        f"{row['difference']:.1e}",
    ]
    return [f"{row['width']}x{row['height']}", row["way"], megabytes, *numbers]


if __name__ == "__main__":
    main()
