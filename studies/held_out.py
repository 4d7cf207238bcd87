"""Compare models on whole pictures that training never saw, as they are and as darker scenes.

    python studies/held_out.py MODEL [MODEL ...] --photographs TRAINING_FOLDER --pictures 8

Choose weights by these numbers: crops do not show what the network does to whole pictures, and test sets are for
reports only. Darker scenes are those of ``augment.dark_chance``; they should stay as dark as they are. Pictures are
degraded with drawn parameters, the same for all models. Prints the mean PSNR of the inputs and of each model, and the
worst PSNR of each model.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import torch

from moceir.data.photographs import spread
from moceir.evaluation import Evaluation, TestSet, evaluate
from moceir.evaluation.profiling import describe_machine
from moceir.evaluation.report import markdown_table
from moceir.evaluation.selection import DARK, SINGLE, darken
from moceir.files import write_json
from moceir.insight.validation import held_out_files
from moceir.machine.allocator import keep_freed_memory
from moceir.restoration import Restorer
from moceir.weights import read_description, resolve


def main() -> None:
    """Measure, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "model", nargs="+", help="bundled names or model folders; the first one says which pictures were held out"
    )
    parser.add_argument("--photographs", type=Path, required=True, help="folder that the models were trained on")
    parser.add_argument("--pictures", type=int, default=8, help="at most, spread evenly over the pictures held out")
    parser.add_argument(
        "--task", action="append", help="repeatable; replaces the usual tasks and leaves out the darker scenes"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--seed", type=int, default=0, help="seed of the degradations")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()

    keep_freed_memory()
    torch.set_num_threads(options.threads)
    restorers = [Restorer.from_pretrained(name, device="cpu") for name in options.model]
    held_out = held_out_files(read_description(resolve(options.model[0])), options.photographs)[1]
    files = spread(held_out, options.pictures)
    rows: list[tuple[str, list[Evaluation]]] = []
    with tempfile.TemporaryDirectory() as folder:
        scenes = [("as it is", files, options.task or SINGLE)]
        if not options.task:
            dark = [darken(path, Path(folder, f"{path.stem}.png"), options.seed) for path in files]
            scenes.append(("dark", dark, DARK))
        for scene, pictures, tasks in scenes:
            for task in tasks:
                test_set = TestSet(task, [(None, path) for path in pictures], task)
                named = zip(restorers, options.model, strict=True)
                rows.append((scene, [evaluate(each, name, test_set, seed=options.seed) for each, name in named]))
    print(f"{len(files)} whole pictures, seed {options.seed}; PSNR in dB: mean (worst)\n")
    header = ("scene", "task", "input", *options.model)
    print(*markdown_table(header, [cells(scene, done) for scene, done in rows]), sep="\n")
    if options.json:
        written = [{"scene": scene, "models": [each.to_json() for each in done]} for scene, done in rows]
        write_json(options.json, {"machine": describe_machine("cpu"), "rows": written})


def cells(scene: str, done: list[Evaluation]) -> list[str]:
    """Format a row of the table: one task, all models."""
    before = done[0].mean("input_psnr_db")
    after = [f"{each.mean('psnr_db'):.2f} ({min(score.psnr_db for score in each.scores):.1f})" for each in done]
    return [scene, done[0].benchmark, "" if math.isnan(before) else f"{before:.2f}", *after]


if __name__ == "__main__":
    main()
