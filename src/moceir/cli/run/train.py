"""Run ``moceir train``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import typer
from lightning.pytorch.utilities import rank_zero_only

from moceir.data.fetching import local_data
from moceir.machine.allocator import keep_freed_memory
from moceir.recipe import load_recipe, make_recipe
from moceir.training.options import TrainOptions
from moceir.training.run import train
from moceir.training.state import load_state


def run(source: Path, overrides: Sequence[str], data: str, options: TrainOptions) -> None:
    """Train a network and print where its best model is.

    Args:
        source: YAML recipe, or ``options.continue_from``, which holds the recipe of its run.
        overrides: Changes to the recipe, each ``KEY=VALUE``.
        data: Folder or pack to train on, or the URL of a pack, which is fetched.
        options: Everything else about the machine.
    """
    if source == options.continue_from:
        recipe = make_recipe(load_state(source).recipe, overrides, str(source))
    else:
        recipe = load_recipe(source, overrides)
    keep_freed_memory()
    best = train(recipe, dataclasses.replace(options, data=local_data(data)))
    # With several processes, each one runs this command.
    rank_zero_only(typer.echo)(f"the best model is in {best}")
