"""Measure a model folder for its card: benchmarks, every synthetic task, clean input, and the experts used.

    python benchmarks/model_card.py MODEL --data TEST_SETS --photographs TRAINING_FOLDER

Prints a Markdown table and writes the numbers into the folder's ``config.json`` under ``results``. The synthetic tasks
use whole pictures of the validation split, which training never saw; the benchmarks are only reported.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import Counter
from pathlib import Path

import torch

from moceir.allocator import keep_freed_memory
from moceir.data.mixtures import Source, ValidationPairs
from moceir.data.photographs import Photographs, picture_files, split_by_name
from moceir.degradations import CDD11, parse
from moceir.evaluation import TestSet, benchmark_set, evaluate
from moceir.recipe import Recipe
from moceir.restoration import Restorer
from moceir.weights import CONFIG_FILE, read_description

BENCHMARKS = ("cbsd68-s15", "cbsd68-s25", "cbsd68-s50", "rain100l")
SINGLE = ("noise:sigma=25", "rain", "haze", "blur", "low_light", "jpeg", "snow", "clean")
TASKS = (*SINGLE, *(name for name in CDD11 if "_" in name))


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the test sets")
    parser.add_argument("--photographs", type=Path, required=True, help="folder that the model was trained on")
    parser.add_argument("--limit", type=int, default=16, help="pictures per synthetic task")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    keep_freed_memory()
    restorer = Restorer.from_pretrained(arguments.model)
    description = read_description(arguments.model)
    # The share that the model's own recipe set aside: any other would measure on pictures it was trained on.
    share = Recipe.model_validate(description.training).validation.share
    held_out = split_by_name(picture_files(arguments.photographs), share)[1]
    sets = [benchmark_set(name, arguments.data) for name in BENCHMARKS]
    sets += [TestSet(task, [(None, path) for path in held_out[: arguments.limit]], task) for task in TASKS]

    results: dict[str, object] = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "protocol": "published",
        "seed": arguments.seed,
    }
    print("| test set | pictures | input PSNR | PSNR, dB | input SSIM | SSIM |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for test_set in sets:
        done = evaluate(restorer, arguments.model.name, test_set, seed=arguments.seed)
        row = {key: done.to_json()[key] for key in ("images", "input_psnr_db", "psnr_db", "input_ssim", "ssim")}
        results[test_set.name] = row
        print(f"| {test_set.name} | {' | '.join(cell(key, value) for key, value in row.items())} |", flush=True)
    results["experts"] = expert_usage(restorer, held_out, arguments.limit, arguments.seed)
    print(json.dumps(results["experts"], indent=1))

    measured = description.model_copy(update={"results": results})
    (arguments.model / CONFIG_FILE).write_text(measured.to_text(), encoding="utf-8")


def cell(key: str, value: float | None) -> str:
    """One table cell; PSNR is null where input and clean picture are equal."""
    if value is None:
        return "equal"
    digits = {"images": 0, "input_ssim": 4, "ssim": 4}.get(key, 2)
    return f"{value:.{digits}f}"


def expert_usage(restorer: Restorer, held_out: list[Path], limit: int, seed: int) -> dict[str, list[list[int]]]:
    """How often each expert (columns) was chosen in each decoder block (rows, deep first), by task."""
    usage: dict[str, list[list[int]]] = {}
    config = restorer.model.config
    for task in SINGLE:
        source = Source(task, [(None, path) for path in held_out], parse(task))
        pairs = ValidationPairs([source], Photographs(), patch_px=128, most=limit, seed=seed)
        batch = torch.stack([pairs[i].degraded for i in range(len(pairs))])
        with torch.inference_mode():
            decisions = restorer.model.restore_with_routing(batch.to(restorer.device))[1]
        counts = [Counter(decision.experts.flatten().tolist()) for decision in decisions]
        usage[task] = [[count[e] for e in range(config.experts)] for count in counts]
    return usage


if __name__ == "__main__":
    main()
