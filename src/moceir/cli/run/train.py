"""Run ``moceir train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from lightning.pytorch.utilities import rank_zero_only

from moceir.machine.allocator import keep_freed_memory
from moceir.recipe import load_recipe
from moceir.training.run import TrainOptions, train


def run(recipe: Path, overrides: Sequence[str], **options: Any) -> None:
    """Train a network and print where its best model is.

    Args:
        recipe: YAML file.
        overrides: Changes to the recipe, each ``KEY=VALUE``.
        options: The fields of ``TrainOptions``.
    """
    keep_freed_memory()
    best = train(load_recipe(recipe, overrides), TrainOptions(**options))
    # With several processes, each one runs this command.
    rank_zero_only(typer.echo)(f"the best model is in {best}")
