"""Does the complexity bias make routes cheaper? Two trainings from one seed, with the bias and without it.

    python benchmarks/complexity_bias.py PHOTOGRAPHS -o bias.json --figure docs/images/complexity-bias.png

Trains `nano` twice on the CPU (about two minutes each on two cores), reads the cost of the routes taken on the
validation pictures from each run's TensorBoard log, and draws the two curves.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import torch
from curves import Curve, read_curves
from matplotlib.figure import Figure

from moceir.files import whole_file
from moceir.insight.figures import GROUP_COLOURS
from moceir.machine.allocator import keep_freed_memory
from moceir.models.presets import preset
from moceir.recipe import Recipe
from moceir.training.run import TrainOptions, train

TASKS = ("noise:sigma=25", "rain", "haze", "blur", "low_light", "jpeg", "clean")
RUNS = ("with the bias", "without the bias")


def recipe(steps: int, *, bias: bool) -> Recipe:
    """The same run but for the bias."""
    model = preset("nano").model_dump() | {"complexity_bias": bias}
    return Recipe.model_validate(
        {
            "model": model,
            "steps": steps,
            "stages": [{"share": 1, "patch_px": 32, "batch": 16}],
            "tasks": dict.fromkeys(TASKS, 1),
            "optimizer": {"lr": 1e-3},
            "validation": {"share": 0.05, "patch_px": 64, "most": 8},
            "epoch_steps": max(1, steps // 15),
        }
    )


def draw(curves: dict[str, Curve]) -> Figure:
    """Mean route cost against steps."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, points), colour in zip(curves.items(), GROUP_COLOURS, strict=False):
        axes.plot(*zip(*points, strict=True), color=colour, label=name)
    axes.set(
        ylim=(0, 1), xlabel="training steps", ylabel="cost of the routes taken\n(parameters, 1 = all dearest experts)"
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main() -> None:
    """Train twice, write the numbers, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of clean photographs")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--figure", type=Path, required=True, help="PNG file to write")
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args()
    keep_freed_memory()
    result: dict[str, Any] = {
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "steps": arguments.steps,
        "seed": 0,
    }
    curves: dict[str, Curve] = {}
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            settings = recipe(arguments.steps, bias=name.startswith("with the"))
            train(settings, TrainOptions(data=arguments.photographs, output=run, device="cpu"))
            costs = read_curves(run, "val/route_cost")
            curves[name] = costs["mean"]
            result[name] = {"cost": costs, "psnr_db": read_curves(run)}
    with whole_file(arguments.output) as part:
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    with whole_file(arguments.figure) as part:
        draw(curves).savefig(part, dpi=100, format="png")
    for name, points in curves.items():
        print(
            f"{name}: cost {points[0][1]:.3f} -> {points[-1][1]:.3f}, {result[name]['psnr_db']['mean'][-1][1]:.2f} dB"
        )


if __name__ == "__main__":
    main()
