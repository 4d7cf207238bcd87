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
from PIL import Image, ImageDraw, ImageFont
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from moceir.allocator import keep_freed_memory
from moceir.files import whole_file
from moceir.models.presets import preset
from moceir.recipe import Recipe
from moceir.training.run import TrainOptions, train

TASKS = ("noise:sigma=25", "rain", "haze", "blur", "low_light", "jpeg", "clean")
WIDTH, HEIGHT, MARGIN = 720, 420, 60
COLOURS = {"with the bias": "#0072b2", "without the bias": "#d55e00"}  # told apart by colour-blind readers too


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


def curve(run: Path, tag: str) -> list[tuple[int, float]]:
    """Steps and values of one logged quantity."""
    board = EventAccumulator(str(run / "logs"))
    board.Reload()
    return [(event.step, round(event.value, 4)) for event in board.Scalars(tag)]


def draw(curves: dict[str, list[tuple[int, float]]], target: Path) -> None:
    """Draw mean route cost against steps."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(15)
    last = max(step for points in curves.values() for step, _ in points)

    def at(step: float, value: float) -> tuple[float, float]:
        return MARGIN + step / last * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - value * (HEIGHT - 2 * MARGIN)

    for tenth in range(0, 11, 2):
        pen.line([at(0, tenth / 10), at(last, tenth / 10)], fill="#dddddd")
        pen.text((MARGIN - 34, at(0, tenth / 10)[1] - 9), f"{tenth / 10:.1f}", fill="black", font=font)
    for quarter in range(5):
        step = last * quarter // 4
        pen.text((at(step, 0)[0] - 12, HEIGHT - MARGIN + 8), str(step), fill="black", font=font)
    pen.text((MARGIN, 12), "cost of the routes taken, 1 = all dearest experts (parameters)", fill="black", font=font)
    pen.text((WIDTH // 2 - 60, HEIGHT - 28), "training steps", fill="black", font=font)
    for row, (name, points) in enumerate(curves.items()):
        pen.line([at(step, value) for step, value in points], fill=COLOURS[name], width=3)
        pen.text((WIDTH - MARGIN - 150, MARGIN - 12 + 20 * row), name, fill=COLOURS[name], font=font)
    with whole_file(target) as part:
        picture.save(part)


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
    curves: dict[str, list[tuple[int, float]]] = {}
    for name in COLOURS:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            settings = recipe(arguments.steps, bias=name.startswith("with the"))
            train(settings, TrainOptions(data=arguments.photographs, output=run, device="cpu"))
            tags = {"cost": "val/route_cost", "psnr_db": "val/psnr_db"}
            tags |= {f"cost of {task}": f"val/route_cost/{task}" for task in TASKS}
            result[name] = {label: curve(run, tag) for label, tag in tags.items()}
            curves[name] = result[name]["cost"]
    with whole_file(arguments.output) as part:
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(curves, arguments.figure)
    for name, points in curves.items():
        print(f"{name}: cost {points[0][1]:.3f} -> {points[-1][1]:.3f}, {result[name]['psnr_db'][-1][1]:.2f} dB")


if __name__ == "__main__":
    main()
