"""Do the experts count? Train the forms of docs/experts.md, measure them, and write the page's tables and figure.

    python studies/experts.py train added 1 --photographs PHOTOGRAPHS -o runs/experts
    python studies/experts.py measure runs/experts/*/ tiny --photographs PHOTOGRAPHS
    python studies/experts.py report

- train: one run of the trial, a form with a seed, into a folder of its own (about 25 minutes of one core). Called again,
  it resumes a run that was interrupted.
- measure: all finished runs among those given, and bundled models, on pictures that their training held out. Writes one
  JSON file for each into studies/results/experts, leaves out what was measured before, and then makes the report.
- report: tables and figure of the page, from these JSON files only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from experts_measures import measure
from experts_report import write_report

from moceir.config import ModelConfig
from moceir.evaluation.profiling import describe_machine
from moceir.files import write_json
from moceir.insight.signatures import fingerprint
from moceir.machine.allocator import keep_freed_memory
from moceir.recipe import Recipe, load_recipe
from moceir.training.run import TrainOptions, train
from moceir.weights import WEIGHTS_FILE, bundled_models, read_description, resolve

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "studies" / "experts-nano.yaml"
RESULTS = ROOT / "studies" / "results" / "experts"
PAGE = ROOT / "docs" / "experts.md"
FORMS: Mapping[str, Mapping[str, str]] = {
    "published": {"join": "published", "gate": "softmax"},
    "added": {"join": "added", "gate": "softmax"},
    "added_st": {"join": "added", "gate": "straight_through"},
    "values": {"join": "values", "gate": "softmax"},
}
"""Settings of `ModelConfig` by form."""
NO_BIAS = "_unbiased"
"""Ends the names of forms that are trained without the complexity bias."""


def recipe(form: str, seed: int) -> Recipe:
    """Return the recipe of a run."""
    settings = {**FORMS[form.removesuffix(NO_BIAS)], "complexity_bias": str(not form.endswith(NO_BIAS)).lower()}
    return load_recipe(RECIPE, [f"seed={seed}", *(f"model.{key}={value}" for key, value in settings.items())])


def form_of(config: ModelConfig) -> str:
    """Name the form of a network."""
    own = {"join": config.join, "gate": config.gate}
    form = next((name for name, settings in FORMS.items() if settings == own), f"{config.join}_{config.gate}")
    return form if config.complexity_bias else form + NO_BIAS


def run_train(arguments: argparse.Namespace) -> None:
    """Train one form with one seed."""
    folder = arguments.output / f"{arguments.form}-{arguments.seed}"
    options = TrainOptions(data=arguments.photographs, output=folder, device="cpu", resume=folder.exists())
    print(train(recipe(arguments.form, arguments.seed), options))


def run_measure(arguments: argparse.Namespace) -> None:
    """Measure what is new, then make the report."""
    for name in arguments.models:
        bundled = name in bundled_models()
        folder = resolve(name) if bundled else Path(name) / "best"
        if not (folder / WEIGHTS_FILE).is_file():
            print(f"{name}: not finished")
            continue
        description = read_description(folder)
        seed = None if bundled else description.training["seed"]
        target = RESULTS / (f"{name}.json" if bundled else f"{form_of(description.model)}-{seed}.json")
        weights = fingerprint(folder)[:8]
        if not arguments.again and target.is_file() and json.loads(target.read_text())["weights"] == weights:
            print(f"{name}: measured before, in {target.name}; --again repeats it")
            continue
        began = time.process_time()
        numbers = measure(folder, arguments.photographs, arguments.pictures)
        about = {
            "name": name if bundled else form_of(description.model),
            "seed": seed,
            "weights": weights,
            "steps": description.provenance.get("steps"),
            "training_seconds": description.provenance.get("seconds"),
            "pictures_per_task": arguments.pictures,
            "measuring_seconds": round(time.process_time() - began),
        }
        write_json(target, about | numbers | {"machine": describe_machine("cpu")})
        print(f"{name}: {about['measuring_seconds']} s, {target.name}", flush=True)
    run_report(arguments)


def run_report(_arguments: argparse.Namespace) -> None:
    """Write tables and figure from the results."""
    write_report(RESULTS, PAGE)


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("train", help="one run of the trial")
    part.add_argument("form", choices=[*FORMS, *(form + NO_BIAS for form in FORMS)])
    part.add_argument("seed", type=int)
    part.add_argument("--photographs", type=Path, required=True, help="folder of clean photographs")
    part.add_argument("-o", "--output", type=Path, required=True, help="folder for the run folders")
    part.set_defaults(run=run_train)
    part = parts.add_parser("measure", help="finished runs and bundled models; then the report")
    part.add_argument("models", nargs="+", help="run folders, or names of bundled models")
    part.add_argument("--photographs", type=Path, required=True, help="folder that the models were trained on")
    part.add_argument("--pictures", type=int, default=24, help="held-out pictures per task at most")
    part.add_argument("--again", action="store_true", help="repeat what was measured before")
    part.set_defaults(run=run_measure)
    part = parts.add_parser("report", help="tables and figure from the results")
    part.set_defaults(run=run_report)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
