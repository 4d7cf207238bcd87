"""Find out whether fewer bits pay: exported files with int8 or half-precision arithmetic, beside float32.

    python studies/quantisation.py tiny --photographs PHOTOGRAPHS --json studies/results/quantisation.json

Static int8 is calibrated on training photographs, degraded by the same tasks. PSNR is that of central crops of pictures
that training held out. Seconds are processor time for a picture with one thread, the median of some rounds in which all
take turns. Megabytes are those of the file.

int8 needs one graph without branches, so these files have all experts at work on a picture (``moceir export --batch``);
``onnx --batch`` is the same in float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from moceir.data.metrics import picture_psnr_db
from moceir.evaluation.profiling import describe_machine, median_process_seconds, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.evaluation.selection import SINGLE
from moceir.export.cache import export_model
from moceir.export.openvino_candidate import compile_model
from moceir.files import write_json
from moceir.insight.validation import degraded_centres, held_out_files
from moceir.onnx_files import INPUT, Images, session
from moceir.weights import read_description, resolve

Run = Callable[[Images], Images]
CALIBRATION_PX = 128
FLOAT = ("onnx", "onnx --batch", "openvino")
"""Ways without fewer bits, the first of which the others are compared with."""


def main() -> None:
    """Export, quantise, measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a bundled name or a model folder")
    parser.add_argument("--photographs", type=Path, required=True, help="folder that the model was trained on")
    parser.add_argument("--pictures", type=int, default=8, help="per task, spread evenly over the pictures held out")
    parser.add_argument("--calibration", type=int, default=4, help="training pictures per task to calibrate on")
    parser.add_argument("--patch", type=int, default=256, help="side of the crops to score, in pixels")
    parser.add_argument("--side", type=int, default=512, help="side of the picture to time, in pixels")
    parser.add_argument("--repeat", type=int, default=3, help="rounds that the median is taken of")
    parser.add_argument("--seed", type=int, default=0, help="seed of the degradations")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()

    torch.set_num_threads(1)
    training, held_out = held_out_files(read_description(resolve(options.model)), options.photographs)
    calibration = crops(training, options.calibration, CALIBRATION_PX, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        ways = dict(prepare(options.model, [degraded for _, degraded, _ in calibration], Path(folder)))
        pairs = crops(held_out, options.pictures, options.patch, options.seed)
        scores = {way: score(run, pairs) for way, (run, _) in ways.items()}
        picture = sample_picture(options.side, options.side).numpy()
        calls = [lambda run=run: run(picture) for run, _ in ways.values()]
        seconds = dict(zip(ways, median_process_seconds(calls, options.repeat), strict=True))
    rows = [
        {"way": way, "mb": size / 1e6, "seconds": seconds[way], "psnr_db": scores[way]}
        for way, (_, size) in ways.items()
    ]
    print(f"{options.pictures} held-out pictures per task, crops of {options.patch}; PSNR in dB\n")
    print(*markdown_table(("way", "MB", "seconds", *SINGLE), [cells(row) for row in rows]), sep="\n")
    if options.json:
        asked = {key: value for key, value in vars(options).items() if isinstance(value, int | str)}
        programs = {name: version(name) for name in ("onnxruntime", "openvino")}
        write_json(options.json, {"machine": describe_machine("cpu", 1) | programs, **asked, "rows": rows})


def crops(files: Sequence[Path], most: int, patch_px: int, seed: int) -> list[tuple[str, Images, Images]]:
    """Degrade crops by each task; return the tasks with degraded and clean images ``(1, 3, H, W)``."""
    pairs = degraded_centres(files, SINGLE, most=most, patch_px=patch_px, seed=seed)
    return [(task, pair.degraded[None].numpy(), pair.clean[None].numpy()) for task, pair in pairs]


def prepare(model: str, calibration: Sequence[Images], folder: Path) -> Iterator[tuple[str, tuple[Run, int]]]:
    """Make every file; yield the way, what runs it, and its size in bytes."""
    plain, batch, half = (folder / f"{name}.onnx" for name in ("plain", "batch", "half"))
    export_model(model, plain, "onnx")
    export_model(model, batch, "onnx", batch=True)
    export_model(model, half, "onnx", half=True)
    yield "onnx", in_onnxruntime(plain)
    yield "onnx --half", in_onnxruntime(half)
    yield "onnx --batch", in_onnxruntime(batch)
    for name, kinds in (("Conv", ["Conv"]), ("Conv and MatMul", ["Conv", "MatMul"])):
        target = folder / f"static {name}.onnx"
        quantize_static(
            batch,
            target,
            Calibration(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        yield f"int8 static, {name}", in_onnxruntime(target)
    target = folder / "dynamic.onnx"
    quantize_dynamic(batch, target, op_types_to_quantize=["Conv", "MatMul"], weight_type=QuantType.QInt8)
    yield "int8 dynamic", in_onnxruntime(target)
    for precision, way in (("f32", "openvino"), ("bf16", "openvino in bfloat16")):
        yield way, in_openvino(plain, precision)


class Calibration(CalibrationDataReader):
    """Degraded crops, one after the other."""

    def __init__(self, images: Sequence[Images]) -> None:
        self._left = iter(images)

    def get_next(self) -> dict[str, Images] | None:
        """Return the next input, or None at the end."""
        image = next(self._left, None)
        return None if image is None else {INPUT: image}


def in_onnxruntime(path: Path) -> tuple[Run, int]:
    """Return what runs a file, and its size in bytes."""
    loaded: onnxruntime.InferenceSession = session(path, 1)
    return lambda images: loaded.run(None, {INPUT: images})[0], path.stat().st_size


def in_openvino(path: Path, precision: str) -> tuple[Run, int]:
    """Return what runs a file in OpenVINO with a precision of the arithmetic, and its size in bytes."""
    compiled = compile_model(path, 1, precision)
    return lambda images: compiled({INPUT: images})[0], path.stat().st_size


def score(run: Run, pairs: Sequence[tuple[str, Images, Images]]) -> dict[str, float]:
    """Return the mean PSNR of each task in dB."""
    by_task: dict[str, list[float]] = defaultdict(list)
    for task, degraded, clean in pairs:
        by_task[task].append(picture_psnr_db(run(degraded).clip(0, 1), clean))
    return {task: float(np.mean(values)) for task, values in by_task.items()}


def cells(row: dict[str, Any]) -> list[str]:
    """Format a row of the table."""
    return [row["way"], f"{row['mb']:.1f}", f"{row['seconds']:.2f}", *(f"{db:.2f}" for db in row["psnr_db"].values())]


if __name__ == "__main__":
    main()
