"""Do the experts count? Train the forms of docs/experts.md, measure them, and write the page's tables and figure.

    python studies/experts.py train nano added 1 --photographs PHOTOGRAPHS -o runs/experts
    python studies/experts.py measure runs/experts/*/ tiny --photographs PHOTOGRAPHS
    python studies/experts.py report

- train: one run, a form with a seed in one of the trials, into a folder of its own (about 25 minutes of one core).
  Called again, it resumes a run that was interrupted. The trials are nano and tiny, which begin with random weights,
  and grown, which begins with the bundled tiny.
- measure: all finished runs among those given, and bundled models, on pictures that their training held out. Writes one
  JSON file for each into studies/results/experts, leaves out what was measured before, and then makes the report.
- report: tables and figure of the page, from these JSON files only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import lightning as L
import torch
from experts_measures import measure
from experts_report import NO_BIAS, write_report

from moceir.config import ModelConfig
from moceir.evaluation.profiling import describe_machine
from moceir.files import write_json
from moceir.insight.signatures import fingerprint
from moceir.machine.allocator import keep_freed_memory
from moceir.models.experts import Expert
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.recipe import Recipe, load_recipe
from moceir.training.run import LAST, TrainOptions, train
from moceir.weights import WEIGHTS_FILE, ModelFile, bundled_models, read_description, resolve, save

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Setting:
    """What all runs of a trial have in common: a recipe, changes to it, and the bundled weights to begin with."""

    recipe: Path
    changes: Sequence[str] = ()
    start: str | None = None


NANO = ROOT / "studies" / "experts-nano.yaml"
TINY = "model=" + json.dumps(preset("tiny").model_dump(mode="json"))
TRIALS: Mapping[str, Setting] = {
    "nano": Setting(NANO),
    "tiny": Setting(NANO, [TINY, "precision=bfloat16"]),
    "grown": Setting(
        ROOT / "studies" / "experts-grown.yaml",
        [
            TINY,
            "steps=600",
            "stages=[{share: 1, patch_px: 128, batch: 8}]",
            "optimizer={lr: 2.0e-4, warmup_share: 0.1}",
            "ema_decay=0.99",
            "epoch_steps=300",
        ],
        start="tiny",
    ),
}
RESULTS = ROOT / "studies" / "results" / "experts"
PAGE = ROOT / "docs" / "experts.md"
FORMS: Mapping[str, Mapping[str, str]] = {
    "published": {"join": "published", "gate": "softmax"},
    "added": {"join": "added", "gate": "softmax"},
    "added_st": {"join": "added", "gate": "straight_through"},
    "values": {"join": "values", "gate": "softmax"},
    "residual": {"join": "published", "gate": "residual"},
    "added_residual": {"join": "added", "gate": "residual"},
}
"""Settings of `ModelConfig` by form."""
LARGE = "_large"
"""Ends the names of forms whose experts start large, see `large_start`."""
LARGE_FACTOR = 16.0
"""Factor for two of the weights of each expert, which then adds about 100 times as much to its input at first."""


def recipe(trial: str, form: str, seed: int) -> Recipe:
    """Return the recipe of a run."""
    shape = FORMS[form.removesuffix(LARGE).removesuffix(NO_BIAS)]
    settings = {**shape, "complexity_bias": str(not form.endswith(NO_BIAS)).lower()}
    own = [f"seed={seed}", *(f"model.{key}={value}" for key, value in settings.items())]
    return load_recipe(TRIALS[trial].recipe, [*TRIALS[trial].changes, *own])


def form_of(description: ModelFile) -> str:
    """Name the form of a trained network."""
    config = description.model
    own = {"join": config.join, "gate": config.gate}
    form = next((name for name, settings in FORMS.items() if settings == own), f"{config.join}_{config.gate}")
    start = description.provenance.get("start")
    ends = ("" if config.complexity_bias else NO_BIAS, LARGE if start and Path(start).name.endswith(LARGE) else "")
    return form + "".join(ends)


def trial_of(description: ModelFile) -> str:
    """Name the trial that a network was trained in.

    Raises:
        SystemExit: If it was trained by another recipe.
    """
    for trial in TRIALS:
        expected = recipe(trial, form_of(description), description.training["seed"])
        if expected.model_dump(mode="json") == description.training:
            return trial
    raise SystemExit(f"a run was trained by the recipe of no trial, but by {json.dumps(description.training)}")


def large_start(settings: Recipe, folder: Path) -> Path:
    """Save the random weights of a run, with experts that add more to their input.

    An expert adds ``expand(attention * SiLU(modulate(shared)))``. With torch's initial weights this is about 0.1 % of
    its input, because each 1x1 convolution shrinks its input and the shared features are small.
    """
    L.seed_everything(settings.seed, verbose=False)
    network = MoCEIR(cast("ModelConfig", settings.model))
    with torch.no_grad():
        for expert in (part for part in network.modules() if isinstance(part, Expert)):
            expert.modulate.weight *= LARGE_FACTOR
            expert.expand.weight *= LARGE_FACTOR
    save(network, folder, ModelFile(model=network.config), dtype=torch.float32)
    return folder


def run_train(arguments: argparse.Namespace) -> None:
    """Train one form with one seed."""
    trial, form, seed = arguments.trial, arguments.form, arguments.seed
    folder, settings = arguments.output / f"{trial}-{form}-{seed}", recipe(trial, form, seed)
    start, resume = TRIALS[trial].start, (folder / LAST).exists()
    if form.endswith(LARGE):
        if start:
            raise SystemExit(f"experts that start large need random weights; the trial {trial} begins with {start}")
        start = str(large_start(settings, folder / f"start{LARGE}"))
    options = TrainOptions(data=arguments.photographs, output=folder, device="cpu", resume=resume, start=start)
    print(train(settings, options))


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
        trial, form = (None, name) if bundled else (trial_of(description), form_of(description))
        target = RESULTS / (f"{name}.json" if bundled else f"{trial}-{form}-{seed}.json")
        weights = fingerprint(folder)[:8]
        if not arguments.again and target.is_file() and json.loads(target.read_text())["weights"] == weights:
            print(f"{name}: measured before, in {target.name}; --again repeats it")
            continue
        began = time.process_time()
        numbers = measure(folder, arguments.photographs, arguments.pictures)
        about = {
            "trial": trial,
            "name": form,
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
    part.add_argument("trial", choices=TRIALS)
    part.add_argument("form", choices=[form + end for form in FORMS for end in ("", NO_BIAS, LARGE)])
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
