"""Compare stretches that go on from each other with one run of the same length, in a plot of their losses.

    python studies/stretches.py PHOTOGRAPHS -o runs/stretches-study --minutes 10 --parts 3 --set precision=bfloat16

Trains one stretch of ``minutes x parts``, then ``parts`` stretches of ``minutes`` in a row, by the same recipe, and
draws losses over steps. All runs see the same samples at the same step, so their losses share most of the noise, and
the lower plot shows the differences. Where a stretch goes on, no curve may rise as it would after a new warm-up.
Finished runs are not trained again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from moceir.insight.figures import GROUP_COLOURS, INK, page_style, save_figure
from moceir.training.stretch import STATE_FILE

RECIPE = Path(__file__).parents[1] / "recipes" / "stretches.yaml"
WINDOW = 15
"""Logged losses that are averaged for the plot."""


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
    parser.add_argument("--figure", type=Path, help="file to draw into; else stretches.png in the output folder")
    options = parser.parse_args()

    begin = ["--start", options.start] if options.start else ["--set", f"model={options.model}"]
    seconds = 60 * options.minutes
    train(options, "whole", seconds * options.parts, begin)
    names = [f"part-{number + 1}" for number in range(options.parts)]
    for number, name in enumerate(names):
        state = options.output / names[number - 1] / STATE_FILE
        train(options, name, seconds, ["--continue", str(state)] if number else begin)
    report(options.output, names)
    save_figure(draw(options.output, names), options.figure or options.output / "stretches.png")


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
    """Read steps and losses of a run, each loss averaged with its neighbours."""
    board = EventAccumulator(str(folder / "logs"), size_guidance={"scalars": 0})
    board.Reload()
    events = board.Scalars("loss/total")
    window = np.ones(min(WINDOW, len(events)))
    sums = np.convolve([event.value for event in events], window, mode="same")
    return np.array([event.step for event in events]), sums / np.convolve(np.ones(len(events)), window, mode="same")


def differences(output: Path, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Compute by how many percent the loss of a stretch is above that of the whole run, at the steps of both."""
    (whole_steps, whole), (steps, own) = losses(output / "whole"), losses(output / name)
    both = steps <= whole_steps[-1]
    return steps[both], 100 * (own[both] / np.interp(steps[both], whole_steps, whole) - 1)


def report(output: Path, parts: list[str]) -> None:
    """Print the score of each run, and how its loss differs from that of the whole run."""
    for name in ("whole", *parts):
        board = EventAccumulator(str(output / name / "logs"))
        board.Reload()
        score = board.Scalars("val/psnr_db")[-1]
        above = "" if name == "whole" else f", loss {differences(output, name)[1].mean():+.1f} % of the whole run's"
        print(f"{name}: {score.value:.3f} dB after step {score.step}{above}")


def draw(output: Path, parts: list[str]) -> Figure:
    """Draw the losses of all runs, and below their differences from the whole run."""
    with page_style():
        figure = Figure(figsize=(8, 6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        upper.plot(*losses(output / "whole"), label="whole", color=INK, linewidth=3, alpha=0.5)
        for name, colour in zip(parts, GROUP_COLOURS, strict=False):
            upper.plot(*losses(output / name), label=name, color=colour)
            lower.plot(*differences(output, name), color=colour)
        lower.axhline(0, color=INK, linewidth=0.8)
        upper.set(ylabel=f"loss, mean of {WINDOW} logged values")
        lower.set(xlabel="step", ylabel="difference from whole, %")
        upper.legend()
    return figure


if __name__ == "__main__":
    main()
