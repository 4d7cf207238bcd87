"""Compare stretches that go on from each other with one run of the same length, in a plot of their losses.

    python studies/stretches.py PHOTOGRAPHS -o runs/stretches-study --minutes 2 --parts 3 --processes 2

Trains one stretch of ``minutes x parts``, then ``parts`` stretches of ``minutes`` in a row, by the same recipe, and
draws losses over steps. With continuation working, the curves lie on each other within noise up to the decays, and the
final scores differ by as much as two seeds would. Finished runs are not trained again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from moceir.files import whole_file
from moceir.training.stretch import STATE_FILE

RECIPE = Path(__file__).parents[1] / "recipes" / "stretches.yaml"
WINDOW = 15
"""Logged losses that are averaged for the plot; each is the mean of up to 50 steps."""


def main() -> None:
    """Train what is missing, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True, help="folder of the runs and of stretches.png")
    parser.add_argument("--minutes", type=float, default=1.0, help="length of a short stretch")
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--start", default=None, help="model to begin with; else random weights")
    parser.add_argument("--model", default="nano", help="preset to train, if --start is not given")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()

    begin = ["--start", options.start] if options.start else ["--set", f"model={options.model}"]
    seconds = 60 * options.minutes
    train(options, "whole", seconds * options.parts, begin)
    names = [f"part-{number + 1}" for number in range(options.parts)]
    for number, name in enumerate(names):
        state = options.output / names[number - 1] / STATE_FILE
        train(options, name, seconds, ["--continue", str(state)] if number else begin)
    draw(options.output, names)


def train(options: argparse.Namespace, name: str, seconds: float, begin: list[str]) -> None:
    """Train a stretch, unless its model is there."""
    folder = options.output / name
    if (folder / "best").exists():
        return
    command = [sys.executable, "-m", "moceir", "train", str(RECIPE), "--data", str(options.photographs)]
    command += ["-o", str(folder), "--max-time", f"{seconds:.0f}s", "--processes", str(options.processes), *begin]
    command += [word for change in options.set for word in ("--set", change)]
    subprocess.run(command, check=True)  # noqa: S603 - the words above


def losses(folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read steps and losses of a run."""
    board = EventAccumulator(str(folder / "logs"), size_guidance={"scalars": 0})
    board.Reload()
    events = board.Scalars("loss/total")
    return np.array([e.step for e in events]), np.array([e.value for e in events])


def draw(output: Path, parts: list[str]) -> None:
    """Draw the losses of all runs and print their scores."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of how to draw

    figure, axes = plt.subplots(figsize=(8, 4.5))
    for name in ("whole", *parts):
        steps, values = losses(output / name)
        window = max(1, min(WINDOW, len(values) // 4))
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        style = {"color": "black", "linewidth": 2.5, "alpha": 0.4} if name == "whole" else {}
        axes.plot(steps[window - 1 :], smooth, label=name, **style)
        board = EventAccumulator(str(output / name / "logs"))
        board.Reload()
        score = board.Scalars("val/psnr_db")[-1]
        print(f"{name}: {score.value:.3f} dB after step {score.step}, loss of the last tenth {_last(values):.4f}")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend()
    figure.tight_layout()
    with whole_file(output / "stretches.png") as part:
        figure.savefig(part, dpi=120)


def _last(values: NDArray[Any]) -> float:
    return float(values[-max(1, len(values) // 10) :].mean())


if __name__ == "__main__":
    main()
