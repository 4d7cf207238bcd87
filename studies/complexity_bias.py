"""Does the complexity bias make routes cheaper? Train twice from one seed, with the bias and without it.

    python studies/complexity_bias.py PHOTOGRAPHS -o bias.json --figure docs/images/complexity-bias.png

Trains `nano` twice on the CPU (about two minutes each on two cores), reads the cost of the routes taken on the
validation pictures from the TensorBoard log of each run, and draws the two curves.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from curves import Curve, read_curves
from matplotlib.figure import Figure

from moceir.evaluation.profiling import describe_machine
from moceir.files import write_json
from moceir.insight.figures import GROUP_COLOURS, page_style, save_figure
from moceir.machine.allocator import keep_freed_memory
from moceir.models.presets import preset
from moceir.recipe import Recipe
from moceir.training.run import TrainOptions, train

TASKS = ("noise:sigma=25", "rain", "haze", "blur", "low_light", "jpeg", "clean")
RUNS = {"with the bias": True, "without the bias": False}


def recipe(steps: int, *, bias: bool) -> Recipe:
    """Describe the training; the runs differ only in the bias."""
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
    """Draw the mean route cost against the training steps, one line per run."""
    with page_style():
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for (name, points), colour in zip(curves.items(), GROUP_COLOURS, strict=False):
            axes.plot(*zip(*points, strict=True), color=colour, label=name)
        label = "cost of the routes taken\n(parameters, 1 = all dearest experts)"
        axes.set(ylim=(0, 1), xlabel="training steps", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def main() -> None:
    """Train twice, write the numbers, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder of clean photographs")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--figure", type=Path, required=True, help="PNG or SVG file to write")
    parser.add_argument("--steps", type=int, default=600, help="length of each training")
    arguments = parser.parse_args()
    keep_freed_memory()
    result: dict[str, Any] = {"machine": describe_machine("cpu"), "steps": arguments.steps, "seed": 0}
    curves: dict[str, Curve] = {}
    for name, bias in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            settings = recipe(arguments.steps, bias=bias)
            train(settings, TrainOptions(data=arguments.photographs, output=run, device="cpu"))
            costs = read_curves(run, "val/route_cost")
            curves[name] = costs["mean"]
            result[name] = {"cost": costs, "psnr_db": read_curves(run)}
    write_json(arguments.output, result)
    save_figure(draw(curves), arguments.figure)
    for name, points in curves.items():
        print(
            f"{name}: cost {points[0][1]:.3f} -> {points[-1][1]:.3f}, {result[name]['psnr_db']['mean'][-1][1]:.2f} dB"
        )


if __name__ == "__main__":
    main()
