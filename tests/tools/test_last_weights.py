"""The weights at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from last_weights import save_last

from moceir.errors import WeightsError
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.training.run import LAST, RECIPE_FILE
from moceir.weights import load, read_description


def test_the_last_checkpoint_becomes_a_model_with_the_recipe_of_the_run(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = MoCEIR(preset("nano"))
    run = tmp_path / "run"
    (run / LAST).parent.mkdir(parents=True)
    torch.save({"state_dict": {f"network.{k}": v for k, v in network.state_dict().items()}}, run / LAST)
    stages = [{"share": 1, "patch_px": 64, "batch": 2}]
    recipe = {"model": "nano", "steps": 7, "tasks": {"noise": 1}, "stages": stages, "optimizer": {"lr": 1e-3}}
    (run / RECIPE_FILE).write_text(yaml.safe_dump(recipe), encoding="utf-8")
    save_last(run, tmp_path / "out")
    saved = load(str(tmp_path / "out")).state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(saved[name], value, atol=1e-3, rtol=1e-3)  # stored in half precision
    assert read_description(tmp_path / "out").training["steps"] == 7


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no checkpoints.last\.ckpt; give the folder of a run"):
        save_last(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
