"""Measure a model's routing: all tables of docs/routing.md, from a model folder, its photographs and the test sets.

    python benchmarks/routing_study.py MODEL --photographs PHOTOGRAPHS --data TEST_SETS --write docs/routing.md

- signatures: learns the model's signatures anew and writes them beside its weights; confusion of unseen pictures.
- information: how much the route tells about the task, beside shuffled tasks and random routers; usage by task.
- forced: PSNR of every task with one expert forced in all blocks, on unseen pictures.
- curve: PSNR against cost by effort, and with one expert forced, on the test sets; drawn to images/effort.png beside
  the page.
- cost: counted multiply-accumulates beside torch's counter and measured time.

``--part`` measures some of them alone. One thread; about a quarter of an hour for `tiny`. Tables in the file given to
``--write`` stand between ``<!-- measured: NAME -->`` and ``<!-- end -->`` and are replaced.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pages import check_places, replace_tables
from routing_cost import BENCHMARKS, cost_tables, curve_table, draw_curves, measure_curve
from routing_tasks import PATCH_PX, forced_table, information_tables, signature_tables

from moceir.insight.figures import save_figure
from moceir.insight.learning import Amount, make_signatures
from moceir.insight.signatures import SIGNATURES_FILE, fingerprint
from moceir.insight.validation import held_out_files, single_tasks
from moceir.machine.allocator import keep_freed_memory
from moceir.weights import load, read_description, resolve

FIGURE = Path("images") / "effort.png"


class Study:
    """What the parts share; each method measures one part and gives its lines."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder = resolve(arguments.model)
        self.network = load(arguments.model)
        self.description = read_description(self.folder)

    def signatures(self) -> list[str]:
        """Learn, save, and measure on unseen pictures."""
        amount = Amount(self.arguments.pictures, self.arguments.held_out, PATCH_PX)
        learnt, seen, unseen = make_signatures(self.folder, self.arguments.photographs, amount, "cpu")
        learnt.save(self.folder / SIGNATURES_FILE)
        return signature_tables(self.network.config, learnt, seen, unseen)

    def information(self) -> list[str]:
        """Routes against tasks."""
        return information_tables(self.network, self._unseen(), self._tasks(), self.arguments.held_out)

    def forced(self) -> list[str]:
        """Each expert everywhere, by task."""
        return forced_table(self.network, self._unseen(), self._tasks(), self.arguments.held_out)

    def curve(self) -> list[str]:
        """Efforts and forced experts on the test sets, and their drawing."""
        data, limit = self.arguments.data, self.arguments.test_pictures
        curves = {name: measure_curve(self.network, name, data, limit) for name in BENCHMARKS}
        if self.arguments.write:
            save_figure(draw_curves(curves), self.arguments.write.parent / FIGURE)
        return curve_table(curves)

    def cost(self) -> list[str]:
        """Counts and times."""
        return cost_tables(self.network)

    def _unseen(self) -> list[Path]:
        return held_out_files(self.description, self.arguments.photographs)[1]

    def _tasks(self) -> tuple[str, ...]:
        return single_tasks(self.description)


PARTS: dict[str, Callable[[Study], list[str]]] = {
    "signatures": Study.signatures,
    "information": Study.information,
    "forced": Study.forced,
    "curve": Study.curve,
    "cost": Study.cost,
}
NEEDS = {"photographs": ("signatures", "information", "forced"), "data": ("curve",)}
"""What some parts must be given."""


def main() -> None:
    """Measure, print, and put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder, or a bundled name")
    parser.add_argument("--photographs", type=Path, help="folder that the model was trained on")
    parser.add_argument("--data", type=Path, help="folder that holds the test sets")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable; all by default")
    parser.add_argument("--pictures", type=int, default=100, help="training pictures per task to learn from")
    parser.add_argument("--held-out", type=int, default=100, help="unseen pictures per task, at most")
    parser.add_argument("--test-pictures", type=int, default=16, help="pictures per test set, the first by name")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    arguments = parser.parse_args()
    parts = arguments.part or list(PARTS)
    for option, users in NEEDS.items():
        if getattr(arguments, option) is None and set(users) & set(parts):
            parser.error(f"--{option} is needed for {', '.join(users)}")
    if arguments.write:
        check_places(arguments.write, parts)
    torch.set_num_threads(1)
    keep_freed_memory()
    study = Study(arguments)
    weights = fingerprint(study.folder)[:8]
    for name in parts:
        began = time.process_time()
        with torch.no_grad():  # in inference mode torch's counter misses linear layers
            lines = PARTS[name](study)
        lines = [f"Weights {weights}, {time.process_time() - began:.0f} s of one core. {lines[0]}", *lines[1:]]
        print(f"\n{name}\n", *lines, sep="\n", flush=True)
        if arguments.write:
            replace_tables(arguments.write, name, lines)


if __name__ == "__main__":
    main()
