"""Measure the routing of a model: all tables of docs/routing.md, from a model, its photographs and the test sets.

    python studies/routing_study.py MODEL --photographs PHOTOGRAPHS --data TEST_SETS --write docs/routing.md

- signatures: learn the model's signatures, write them beside its weights, and count the confusion of unseen pictures.
- information: how much the route tells about the task, compared with shuffled tasks and random routers; usage by task.
- forced: PSNR of every task with one expert forced in all blocks, on unseen pictures.
- curve: PSNR against cost by effort, and with one expert forced, on the test sets; drawn to images/effort.png beside
  the page.
- cost: counted multiply-accumulates, compared with torch's counter and with measured time.

``--part`` measures only some of them. Uses one thread; takes about a quarter of an hour for `tiny`. ``--write``
replaces the tables in a page, which stand between ``<!-- measured: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from routing_cost import BENCHMARKS, cost_tables, curve_table, draw_curves, measure_curve
from routing_tasks import PATCH_PX, forced_table, information_tables, signature_tables

from moceir.errors import ConfigError
from moceir.evaluation.pages import check_parts, replace_part
from moceir.insight.figures import save_figure
from moceir.insight.learning import Amount, make_signatures
from moceir.insight.signatures import SIGNATURES_FILE, fingerprint
from moceir.insight.validation import held_out_files, single_tasks
from moceir.machine.allocator import keep_freed_memory
from moceir.models.execution import for_inference
from moceir.weights import load, read_description, resolve

FIGURE = Path("images") / "effort.png"


class Study:
    """Measures the parts; each method measures one part and returns its lines of Markdown."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder = resolve(arguments.model)
        self.network = for_inference(load(arguments.model))
        self.description = read_description(self.folder)

    def signatures(self) -> list[str]:
        """Learn signatures, save them, and test them on unseen pictures."""
        amount = Amount(self.arguments.pictures, self.arguments.held_out, PATCH_PX)
        learnt, seen, unseen = make_signatures(self.folder, self.arguments.photographs, amount, "cpu")
        learnt.save(self.folder / SIGNATURES_FILE)
        return signature_tables(self.network.config, learnt, seen, unseen)

    def information(self) -> list[str]:
        """Compare routes with tasks."""
        return information_tables(self.network, self._unseen(), self._tasks(), self.arguments.held_out)

    def forced(self) -> list[str]:
        """Try each expert in all blocks, by task."""
        return forced_table(self.network, self._unseen(), self._tasks(), self.arguments.held_out)

    def curve(self) -> list[str]:
        """Try efforts and forced experts on the test sets, and draw the result."""
        data, limit = self.arguments.data, self.arguments.test_pictures
        curves = {name: measure_curve(self.network, name, data, limit) for name in BENCHMARKS}
        if self.arguments.write:
            save_figure(draw_curves(curves), self.arguments.write.parent / FIGURE)
        return curve_table(curves)

    def cost(self) -> list[str]:
        """Count and time."""
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
"""Options that some parts need."""


def main() -> None:
    """Measure the parts, print their tables, and write them into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="bundled name or model folder")
    parser.add_argument("--photographs", type=Path, help="folder that the model was trained on")
    parser.add_argument("--data", type=Path, help="folder that holds the test sets")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable; all parts by default")
    parser.add_argument("--pictures", type=int, default=100, help="training pictures per task to learn from")
    parser.add_argument("--held-out", type=int, default=100, help="unseen pictures per task at most")
    parser.add_argument("--test-pictures", type=int, default=16, help="pictures per test set, the first by name")
    parser.add_argument("--write", type=Path, help="page in which the tables are replaced")
    arguments = parser.parse_args()
    parts = arguments.part or list(PARTS)
    for option, users in NEEDS.items():
        if getattr(arguments, option) is None and set(users) & set(parts):
            parser.error(f"--{option} is needed for {', '.join(users)}")
    if arguments.write:
        try:
            check_parts(arguments.write, parts)
        except ConfigError as error:
            parser.error(str(error))
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
            replace_part(arguments.write, name, lines)


if __name__ == "__main__":
    main()
