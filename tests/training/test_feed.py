"""Batches made on a device, with and without loader processes, are those of the plain loader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import write_photographs

from moceir.recipe import Recipe
from moceir.training.data import Pairs
from moceir.training.team import Team

RECIPE = Recipe.model_validate(
    {
        "steps": 1,
        "stages": [{"share": 1, "patch_px": 16, "batch": 8}],
        "tasks": {"clean": 1, "jpeg": 1, "resize": 1, "rain": 1},
        "optimizer": {"lr": 1e-3, "schedule": "stretches"},
    }
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_keep_order_and_content(photographs: Path, workers: int) -> None:
    pairs = Pairs(RECIPE, photographs, workers=workers)
    pairs.setup("fit")
    stage, cpu = RECIPE.stages[0], torch.device("cpu")
    plain = list(Pairs(RECIPE, photographs, workers=0).batches(stage, 40, 32, Team(), cpu))
    made = list(pairs.batches(stage, 40, 32, Team(), cpu, resident=True))
    assert len(plain) == len(made) == 4
    for theirs, ours in zip(plain, made, strict=True):
        assert torch.equal(ours.task, theirs.task)
        assert (ours.clean - theirs.clean).abs().max() <= 1.01 / 255
        by_processes = (theirs.task == 3) & (workers > 0)
        assert torch.equal(ours.degraded[by_processes], theirs.degraded[by_processes]), "rain is that of the loader"
        same = (ours.clean == theirs.clean).flatten(1).all(1)
        settled = same & (theirs.task != 3)
        assert ((ours.degraded - theirs.degraded)[settled].abs() > 1.01 / 255).float().mean() < 0.02
    assert {int(task) for batch in plain for task in batch.task} == set(range(4))
