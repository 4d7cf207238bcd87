"""The whole of network, losses, optimiser and schedule learns: four pictures by heart."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from layouts import drawn_picture
from torch.utils.data import DataLoader

from moceir.data.metrics import psnr_db
from moceir.data.synthesis import Sample, sample_generator
from moceir.degradations import degrade
from moceir.models.presets import preset
from moceir.recipe import Recipe
from moceir.training.module import RestorationModule
from moceir.training.schedule import ScheduleCallback

TASKS = ("noise:sigma=15", "haze", "rain", "low_light")
STEPS = 180


@pytest.mark.slow
def test_a_run_overfits_four_pictures() -> None:
    recipe = Recipe.model_validate(
        {
            "model": "nano",
            "steps": STEPS,
            "stages": [{"share": 1, "patch_px": 32, "batch": 4}],
            "tasks": dict.fromkeys(TASKS, 1),
            "optimizer": {"lr": 3e-3, "warmup_share": 0.1},
        }
    )
    clean = torch.stack([torch.from_numpy(drawn_picture(n, (32, 32))).permute(2, 0, 1) / 255 for n in range(4)])
    degraded = torch.cat(
        [degrade(clean[n : n + 1], task, sample_generator("overfit", n)) for n, task in enumerate(TASKS)]
    )
    L.seed_everything(0, verbose=False)
    module = RestorationModule(recipe, preset("nano"), TASKS)
    pairs = [Sample(degraded[n], clean[n], torch.tensor(n)) for n in range(4)]
    schedule = ScheduleCallback(recipe.optimizer, STEPS, max_seconds=None)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        callbacks=[schedule],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(pairs * STEPS, batch_size=4), DataLoader(pairs))
    network = module.network.eval()
    with torch.no_grad():
        scores = psnr_db(network(degraded).clamp(0, 1), clean)
    assert psnr_db(degraded, clean).max() < 35
    assert scores.min() > 40, scores
