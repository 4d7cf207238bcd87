"""Draw how trainings went: the validation PSNR of every task against the training steps, one line per run.

    python studies/curves.py runs/first runs/second -o curves.png

Reads the TensorBoard logs in the run folders.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from moceir.errors import DataError
from moceir.insight.figures import GROUP_COLOURS, page_style, save_figure

COLUMNS = 4
PSNR = "val/psnr_db"

Curve = list[tuple[int, float]]
"""Steps and values."""


def read_curves(run: Path, prefix: str = PSNR) -> dict[str, Curve]:
    """Read the logged quantities below a prefix, by the rest of their names; the prefix itself is called ``mean``.

    Raises:
        DataError: If the run logged no such quantity.
    """
    board = EventAccumulator(str(run / "logs"))
    if (run / "logs").is_dir():
        board.Reload()
    tags = [tag for tag in board.Tags()["scalars"] if tag == prefix or tag.startswith(f"{prefix}/")]
    if not tags:
        raise DataError(f"{run} holds no log of {prefix}; give a run folder of moceir train that has validated")
    named = {tag.removeprefix(prefix).removeprefix("/") or "mean": tag for tag in tags}
    return {name: [(event.step, event.value) for event in board.Scalars(tag)] for name, tag in named.items()}


def draw(runs: dict[str, dict[str, Curve]], label: str) -> Figure:
    """Draw one small plot per quantity, each with the curves of all runs."""
    names = list(dict.fromkeys(name for curves in runs.values() for name in curves))
    rows = -(-len(names) // COLUMNS)
    with page_style():
        figure = Figure(figsize=(3.2 * COLUMNS, 2.2 * rows), layout="constrained")
        axes: list[Any] = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
        for name, panel in zip(names, axes, strict=False):
            for (run, curves), colour in zip(runs.items(), GROUP_COLOURS, strict=False):
                if name in curves:
                    panel.plot(*zip(*curves[name], strict=True), color=colour, marker=".", label=run)
            panel.set_title(name)
            panel.grid(alpha=0.3)
        for panel in axes[len(names) :]:
            panel.axis("off")
        figure.supxlabel("training steps")
        figure.supylabel(label)
        if len(runs) > 1:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper right", ncols=len(runs))
    return figure


def main() -> None:
    """Read the logs, draw the curves, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help=f"run folders, at most {len(GROUP_COLOURS)}")
    parser.add_argument("-o", "--output", type=Path, required=True, help="PNG or SVG file to write")
    arguments = parser.parse_args()
    if len(arguments.runs) > len(GROUP_COLOURS):
        parser.error(f"give {len(GROUP_COLOURS)} runs at most, got {len(arguments.runs)}")
    curves = {run.name: read_curves(run) for run in arguments.runs}
    save_figure(draw(curves, "validation PSNR, dB"), arguments.output)


if __name__ == "__main__":
    main()
