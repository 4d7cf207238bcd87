"""Measure exported ONNX files beside torch: bytes, seconds, and the difference of the results.

    python benchmarks/interop.py --model tiny --size 256x256 --size 512x512 --json out.json

Uses one thread. Seconds are processor time, the median of some rounds in which all take turns. ``package`` is what
``moceir restore`` runs, ``plain`` the network of ``moceir.models.network``, and the others are files in onnxruntime.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import describe_machine, median_process_seconds, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.export import to_onnx
from moceir.files import write_json
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration import Restorer
from moceir.weights import load

FILES = {"onnx": {}, "onnx --half": {"half": True}, "onnx --batch": {"batch": True}}
COLUMNS = ("size", "way", "MB", "seconds", "of package", "largest difference")


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
        ways, sizes_mb = prepare(options.model, Path(folder))
        for width, height in options.size or [(256, 256)]:
            for row in measure(ways, sizes_mb, width, height, options.repeat):
                results["rows"].append(row)
                print(markdown_table(cells(row), ())[0], flush=True)
    if options.json:
        write_json(options.json, results)


def prepare(model: str, folder: Path) -> tuple[dict[str, Callable[[Tensor], Any]], dict[str, float]]:
    """Return the ways to restore a batch, by name, and the sizes of the files in MB."""
    network = load(model)
    ways: dict[str, Callable[[Tensor], Any]] = {"package": Restorer(load(model), "cpu").restore, "plain": network}
    sizes_mb: dict[str, float] = {}
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    for name, arguments in FILES.items():
        exported = to_onnx(network, folder / "model.onnx", **arguments)
        sizes_mb[name] = exported.size_bytes / 1e6
        session = onnxruntime.InferenceSession(exported.path.read_bytes(), settings, providers=["CPUExecutionProvider"])
        ways[name] = lambda images, session=session: session.run(None, {"image": images.numpy()})[0]
    return ways, sizes_mb


@torch.inference_mode()
def measure(
    ways: dict[str, Callable[[Tensor], Any]], sizes_mb: dict[str, float], width: int, height: int, repeat: int
) -> list[dict[str, Any]]:
    """Measure all ways on a picture; differences are from the plain network."""
    picture = sample_picture(width, height)
    expected = ways["plain"](picture).numpy()
    calls = [lambda way=way: way(picture) for way in ways.values()]
    seconds = dict(zip(ways, median_process_seconds(calls, repeat), strict=True))
    return [
        {
            "way": name,
            "width": width,
            "height": height,
            "mb": sizes_mb.get(name),
            "seconds": seconds[name],
            "of_package": seconds[name] / seconds["package"],
            "difference": float(np.abs(np.asarray(way(picture)) - expected).max()),
        }
        for name, way in ways.items()
    ]


def cells(row: dict[str, Any]) -> list[str]:
    """Format a row of the table."""
    megabytes = "" if row["mb"] is None else f"{row['mb']:.1f}"
    numbers = [f"{row['seconds']:.2f}", f"{row['of_package']:.1f}", f"{row['difference']:.1e}"]
    return [f"{row['width']}x{row['height']}", row["way"], megabytes, *numbers]


if __name__ == "__main__":
    main()
