"""Averages of two models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from average_weights import average

from moceir.errors import ConfigError
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.weights import ModelFile, load, read_description, save


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    names: list[str] = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = MoCEIR(preset("nano"))
        save(network, tmp_path / f"model{seed}", ModelFile(model=network.config), dtype=torch.float32)
        names.append(str(tmp_path / f"model{seed}"))
    return names


def test_each_weight_lies_between_the_two_and_the_start_names_both(models: list[str], tmp_path: Path) -> None:
    average(*models, tmp_path / "out", share=0.25)
    first, second, mixed = (dict(load(name).named_parameters()) for name in (*models, tmp_path / "out"))
    for name, weight in mixed.items():
        expected = 0.75 * first[name].double() + 0.25 * second[name].double()
        torch.testing.assert_close(weight, expected.float(), atol=1e-3, rtol=1e-3)  # stored in half precision
    assert read_description(tmp_path / "out").provenance["start"] == "0.75 of model0 and 0.25 of model1"


def test_only_the_named_parts_are_averaged(models: list[str], tmp_path: Path) -> None:
    average(*models, tmp_path / "out", share=0.5, parts=["decoder.0", "output"])
    first, mixed = (dict(load(name).named_parameters()) for name in (models[0], tmp_path / "out"))
    moved = {name for name, weight in mixed.items() if not torch.allclose(weight, first[name], atol=1e-3, rtol=1e-3)}
    assert moved
    assert {name.split(".blocks")[0] for name in moved} >= {"decoder.0", "output.weight"}
    assert all(name.startswith(("decoder.0.", "output.")) for name in moved)
    assert read_description(tmp_path / "out").provenance["start"].endswith("of model1 in decoder.0, output")


def test_wrong_shares_and_shapes_are_refused(models: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the share is 1.5; give a number from 0"):
        average(*models, tmp_path / "out", share=1.5)
    with pytest.raises(ConfigError, match="have different shapes"):
        average(models[0], "tiny", tmp_path / "out", share=0.5)
    with pytest.raises(ConfigError, match=r"the network has no part 'decoder\.7'"):
        average(*models, tmp_path / "out", share=0.5, parts=["decoder.7"])
    assert not (tmp_path / "out").exists()
