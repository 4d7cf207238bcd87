"""Measure a model for its card, and write the measured parts of the card.

    python tools/model_card.py MODEL --data TEST_SETS --photographs TRAINING_FOLDER --limit 8

- weights: parameters, cost, and a summary of the last training.
- tasks: every synthetic degradation and composite on whole pictures of the validation split, which training never saw.
- failures: a list of what fails, taken from those scores.
- experts: which experts worked on those pictures.
- time: processor time per megapixel.
- sheets: for each task the example photographs with the smallest and the median gain.
- benchmarks: the test sets by the published protocol, beside the published rows. They are for reports only. For
  networks that enlarge, CBSD68 reduced by their scale, by the protocol of super-resolution.

Each part goes between ``<!-- measured: NAME -->`` and ``<!-- end -->`` in the ``README.md`` of the model folder; people
write the rest of the card. The numbers also go into ``config.json`` under ``results``. ``--part`` measures only some
parts. Uses one thread; takes under 20 minutes for `tiny`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyvips
import torch
from card_text import (
    CLEAN,
    benchmark_lines,
    enlargement_lines,
    expert_lines,
    failure_lines,
    median_gain,
    smallest_gain,
    task_lines,
    weights_lines,
)
from PIL import Image

from moceir import image_io
from moceir.data.photographs import spread
from moceir.degradations import CDD11, DEGRADATIONS
from moceir.errors import ConfigError
from moceir.evaluation import Evaluation, TestSet, benchmark_set, evaluate
from moceir.evaluation.pages import check_parts, replace_part
from moceir.evaluation.profiling import describe_machine, median_process_seconds, sample_picture
from moceir.evaluation.report import markdown_table
from moceir.evaluation.scoring import ON_Y
from moceir.evaluation.sheet import Choice, picture_sheet
from moceir.files import whole_file
from moceir.insight.signatures import fingerprint
from moceir.insight.validation import held_out_files
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration import Restorer
from moceir.restoration.reports import ExpertUsage
from moceir.weights import CONFIG_FILE, read_description

ROOT = Path(__file__).parents[1]
BENCHMARKS = ("cbsd68-s15", "cbsd68-s25", "cbsd68-s50", "rain100l")
SINGLE = ("noise:sigma=25", *(name for name in DEGRADATIONS if name != "noise"))
COMPOSITE = tuple(name for name in CDD11 if name not in DEGRADATIONS and CDD11[name] not in DEGRADATIONS)
TIMED_SIZES, TIMED_ROUNDS = ((256, 256), (768, 512)), 7
WINDOW_PX = (200, 150)
"""Size of the middle part of a picture that a sheet shows; scaled-down pictures would hide noise and artefacts."""
CHOICES: dict[str, tuple[Choice, str]] = {
    "failures": (smallest_gain, "the smallest gain"),
    "typical": (median_gain, "the median gain"),
}
GROUPS = {"single": SINGLE, "composites": COMPOSITE}


class Card:
    """Measures the parts; each method measures one part and returns its lines of Markdown."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder: Path = arguments.model
        self.description = read_description(self.folder)
        self.restorer = Restorer.from_pretrained(self.folder, device="cpu")
        self.results: dict[str, Any] = {}

    def weights(self) -> list[str]:
        """Describe the weights; nothing is measured."""
        return weights_lines(self.description, sum(p.numel() for p in self.restorer.model.parameters()))

    def tasks(self) -> list[str]:
        """Score synthetic tasks on the validation split."""
        self.results |= {name: summary(result) for name, result in self.synthetic.items()}
        lead = (
            f"{len(self.synthetic[CLEAN].scores)} whole pictures of the validation split, spread evenly over it, the "
            f"same for each row; drawn parameters, seed {self.arguments.seed}."
        )
        return [lead, "", *task_lines(self.synthetic, self.description)]

    def failures(self) -> list[str]:
        """Describe the failures among them in words."""
        return failure_lines(self.synthetic, self.description)

    def experts(self) -> list[str]:
        """Count the experts that worked on them."""
        routes = {name: [score.experts for score in result.scores] for name, result in self.synthetic.items()}
        config = self.restorer.model.config
        usage = ExpertUsage.of_routes(routes, config.experts)
        self.results["experts"] = dict(usage.counts)
        return expert_lines(self.synthetic, usage, config)

    def time(self) -> list[str]:
        """Measure the processor time of one thread."""
        pictures = [sample_picture(*size) for size in TIMED_SIZES]
        with torch.inference_mode():
            seconds = median_process_seconds(
                [partial(self.restorer.restore, picture) for picture in pictures], TIMED_ROUNDS
            )
        machine = describe_machine("cpu")
        self.results["machine"] = machine
        rows: list[list[str]] = []
        for (width, height), value in zip(TIMED_SIZES, seconds, strict=True):
            per_megapixel = value / (width * height / 1e6)
            self.results[f"seconds_per_megapixel_{width}x{height}"] = per_megapixel
            rows.append([f"{width}x{height}", f"{value:.2f}", f"{per_megapixel:.2f}"])
        lead = (
            f"Processor time on {machine['cpu']}, threads: {machine['threads']}, torch {machine['torch']}, "
            f"{machine['precision']}, medians. Alone on the machine that is the time that passes; other work adds."
        )
        return [
            lead,
            "",
            *markdown_table(("size", "seconds", "seconds per megapixel"), rows),
            "",
            "No GPU was there for this table.",
        ]

    def sheets(self) -> list[str]:
        """Draw two choices of pictures, each on one sheet of single degradations and one of composites."""
        files = [path for path, _ in image_io.find([self.arguments.show])]
        width, height = WINDOW_PX
        lines = [
            f"The {len(files)} pictures of `examples/clean`, on which no weights were trained (the terms of the "
            "validation pictures do not allow to show them here), degraded with drawn parameters, seed "
            f"{self.arguments.seed}. The rule above each sheet chooses the pictures (clean ones, which cannot gain, by "
            f"their PSNR). Shown is the middle {width}x{height} pixels at full size, in 256 colours; scores are of the "
            "whole picture. File names are those of the example pairs; what was done here stands before them.",
        ]
        for group, tasks in GROUPS.items():
            evaluated = [(test_set, self._evaluate(test_set)) for test_set in synthetic_sets(tasks, files)]
            for name, (choose, rule) in CHOICES.items():
                path = self.arguments.images / f"{self.folder.name}-{name}-{group}.png"
                save_sheet(picture_sheet(self.restorer, evaluated, choose, WINDOW_PX), path)
                link = Path(os.path.relpath(path.resolve(), self.folder.resolve())).as_posix()
                lines += ["", f"{group.capitalize()}, of each the picture with {rule}:", ""]
                lines.append(f"![{group}: degraded, restored and clean, the picture with {rule}]({link})")
        return lines

    def benchmarks(self) -> list[str]:
        """Score the whole published test sets."""
        scale = self.restorer.upscale
        names = BENCHMARKS if scale == 1 else (f"cbsd68-x{scale}",)
        done = [self._evaluate(benchmark_set(name, self.arguments.data)) for name in names]
        self.results |= {result.benchmark: summary(result) for result in done}
        if scale > 1:
            return enlargement_lines(done, scale)
        return [f"Published protocol, whole sets, seed {self.arguments.seed}.", "", *benchmark_lines(done)]

    @cached_property
    def synthetic(self) -> dict[str, Evaluation]:
        """The scores of all tasks on the validation split."""
        held_out = held_out_files(self.description, self.arguments.photographs)[1]
        sets = synthetic_sets((*SINGLE, *COMPOSITE), spread(held_out, self.arguments.limit))
        return {test_set.name: self._evaluate(test_set) for test_set in sets}

    def _evaluate(self, test_set: TestSet) -> Evaluation:
        return evaluate(self.restorer, self.folder.name, test_set, seed=self.arguments.seed)


PARTS: dict[str, Callable[[Card], list[str]]] = {
    "weights": Card.weights,
    "tasks": Card.tasks,
    "failures": Card.failures,
    "experts": Card.experts,
    "time": Card.time,
    "sheets": Card.sheets,
    "benchmarks": Card.benchmarks,
}
NEEDS = {"photographs": ("tasks", "failures", "experts"), "data": ("benchmarks",)}
"""Options that some parts need."""


def synthetic_sets(tasks: Iterable[str], files: Sequence[Path]) -> list[TestSet]:
    """Make a test set of the same clean pictures for each task."""
    return [TestSet(task, [(None, path) for path in files], task) for task in tasks]


def summary(result: Evaluation) -> dict[str, Any]:
    """Select the numbers of a test set for ``config.json``."""
    content = result.to_json()
    measures = ("images", "input_psnr_db", "psnr_db", "input_ssim", "ssim", *ON_Y)
    return {key: content[key] for key in measures if key in content}


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write a PNG with 256 colours chosen for this sheet: a third of the size, 35 dB from the full colours."""
    with whole_file(path) as part:
        pyvips.Image.new_from_array(sheet).pngsave(str(part), palette=True, Q=100, dither=0.5, effort=10)


def main() -> None:
    """Measure and print the parts, and write each one into the card at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder that holds a README.md")
    parser.add_argument("--data", type=Path, help="folder that holds the test sets")
    parser.add_argument("--photographs", type=Path, help="folder that the model was trained on")
    parser.add_argument("--limit", type=int, default=8, help="pictures per synthetic task")
    parser.add_argument("--show", type=Path, default=ROOT / "examples" / "clean", help="pictures for the sheets")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images", help="folder for the sheets")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable; all parts by default")
    parser.add_argument("--seed", type=int, default=0, help="seed of the degradations")
    arguments = parser.parse_args()
    if arguments.limit < 1:
        parser.error(f"--limit is {arguments.limit}; give a number of pictures from 1")
    parts = arguments.part or list(PARTS)
    for option, users in NEEDS.items():
        if getattr(arguments, option) is None and set(users) & set(parts):
            parser.error(f"--{option} is needed for {', '.join(users)}")
    page: Path = arguments.model / "README.md"
    try:
        check_parts(page, parts)
    except ConfigError as error:
        parser.error(str(error))
    torch.set_num_threads(1)
    keep_freed_memory()
    card = Card(arguments)
    weights = fingerprint(card.folder)[:8]
    for name in parts:
        began = time.process_time()
        first, *others = PARTS[name](card)
        lead = [f"Weights {weights}.", "", first] if first.startswith(("-", "|")) else [f"Weights {weights}. {first}"]
        lines = [*lead, *others]
        print(f"\n{name}, {time.process_time() - began:.0f} s of one core\n", *lines, sep="\n", flush=True)
        replace_part(page, name, lines)
        write_results(card)


def write_results(card: Card) -> None:
    """Write the numbers beside the weights; keep earlier numbers of the same weights for the other parts."""
    measured = {"weights": fingerprint(card.folder), "protocol": "published", "seed": card.arguments.seed}
    description = read_description(card.folder)
    kept = description.results if description.results.get("weights") == measured["weights"] else {}
    updated = description.model_copy(update={"results": kept | measured | card.results})
    with whole_file(card.folder / CONFIG_FILE) as part:
        part.write_text(updated.to_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
