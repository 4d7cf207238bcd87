"""Run ``moceir train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from lightning.pytorch.utilities import rank_zero_only

from moceir.machine.allocator import keep_freed_memory
from moceir.recipe import load_recipe, make_recipe
from moceir.training.options import TrainOptions
from moceir.training.run import train
from moceir.training.state import load_state


def run(source: Path, overrides: Sequence[str], options: TrainOptions) -> None:
    """Train a network and print where its best model is.

    Args:
        source: YAML recipe, or ``options.continue_from``, which holds the recipe of its run.
        overrides: Changes to the recipe, each ``KEY=VALUE``.
        options: Where and on what to train.
    """
    if source == options.continue_from:
        recipe = make_recipe(load_state(source).recipe, overrides, str(source))
    else:
        recipe = load_recipe(source, overrides)
    keep_freed_memory()
    best = train(recipe, options)
    # With several processes, each one runs this command.
    rank_zero_only(typer.echo)(f"the best model is in {best}")
