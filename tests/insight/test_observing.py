"""Tests of observations, groups and the map of routes against direct computations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import skew
from support import run, write_photographs, write_picture

from moceir.data.degraded import DESCRIPTIONS
from moceir.errors import ConfigError
from moceir.insight import group_of, observe
from moceir.insight.observing import change_statistics
from moceir.insight.survey import principal_map
from moceir.insight.validation import TASKS, held_out_files, single_tasks
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer
from moceir.weights import ModelFile


def picture(dtype: str = "uint8") -> np.ndarray:
    values = np.random.default_rng(0).random((20, 28, 3))
    return (values * np.iinfo(dtype).max).astype(dtype) if dtype.startswith("u") else values.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_observation_is_what_the_network_computes(nano: MoCEIR, dtype: str) -> None:
    image = picture(dtype)
    restorer = Restorer(nano, device="cpu")
    seen = observe(restorer, image)
    np.testing.assert_array_equal(seen.restored, restorer.restore(image))
    assert not nano.frequency_embedding._forward_hooks, "the hook must be removed"
    scale = np.iinfo(dtype).max if dtype.startswith("u") else 1
    batch = torch.from_numpy(image.astype(np.float32) / np.float32(scale)).permute(2, 0, 1)[None]
    embeddings: list[torch.Tensor] = []
    handle = nano.frequency_embedding.register_forward_hook(lambda _m, _i, out: embeddings.append(out))
    with torch.inference_mode():
        decisions = nano.restore_with_routing(batch)[1]
    handle.remove()
    scores = torch.cat([decision.logits[0] for decision in decisions])
    change = (seen.restored.astype(np.float32) - image.astype(np.float32)) / scale
    expected = torch.cat([scores, embeddings[0][0], change_statistics(torch.from_numpy(change).permute(2, 0, 1))])
    torch.testing.assert_close(seen.features, expected, atol=1e-4, rtol=1e-4)


def test_an_enlarging_network_is_observed_at_the_size_of_the_picture() -> None:
    restorer = Restorer(MoCEIR(preset("nano").model_copy(update={"scale": 4})), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    seen = observe(restorer, image)
    assert seen.restored.shape == image.shape
    assert torch.isfinite(seen.features).all()


def test_change_statistics_equal_those_of_numpy() -> None:
    change = np.random.default_rng(1).gamma(2, 0.05, (3, 12, 9)) - 0.1
    found = change_statistics(torch.from_numpy(change)).numpy()
    flat = change.reshape(3, -1)
    steps = [np.diff(change, axis=axis).reshape(3, -1).std(axis=1) for axis in (1, 2)]
    spreads = np.concatenate([flat.std(axis=1), *steps])
    np.testing.assert_allclose(found, np.concatenate([flat.mean(1), np.log(spreads), skew(flat, axis=1)]), rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (4, 4)])
def test_tiny_and_unchanged_pictures_have_finite_statistics(size: tuple[int, int]) -> None:
    assert torch.isfinite(change_statistics(torch.zeros(3, *size))).all()


def test_the_map_shows_the_two_widest_directions() -> None:
    rows = np.random.default_rng(2).normal(size=(30, 6)) * (5, 1, 0.5, 3, 0.1, 0.2)
    places, shares = principal_map(rows.tolist())
    values = np.sort(np.linalg.eigvalsh(np.cov(rows.T, bias=True)))[::-1]
    assert shares == pytest.approx(values[:2] / values.sum())
    np.testing.assert_allclose(np.var(places, axis=0), values[:2])
    assert np.cov(np.array(places).T)[0, 1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [1, 2])
def test_a_map_of_very_few_pictures_or_of_equal_ones(count: int) -> None:
    places, shares = principal_map([[1.0, 2.0, 3.0]] * count)
    assert np.allclose(places, 0)
    assert np.isfinite(shares).all()


def test_groups_are_sub_folders_or_what_was_done(tmp_path: Path) -> None:
    write_picture(tmp_path / "clean" / "a.png")
    assert run("degrade", tmp_path / "clean", "-o", tmp_path / "out", "--with", "noise:sigma=25").exit_code == 0
    assert group_of(tmp_path / "x" / "deep" / "b.png", Path("x/deep/b.png")) == "x/deep"
    assert group_of(tmp_path / "out" / "a.png", Path("a.png")) == "noise:sigma_255=25.0"
    assert group_of(tmp_path / "clean" / "a.png", Path("a.png")) == "clean"
    (tmp_path / "clean2").mkdir()
    (tmp_path / "clean2" / DESCRIPTIONS).write_text("no description\n")
    assert group_of(tmp_path / "clean2" / "a.png", Path("a.png")) == "clean2"


def trained(**changes: object) -> ModelFile:
    recipe = {
        "model": "nano",
        "steps": 1,
        "stages": [{"share": 1, "patch_px": 16, "batch": 1}],
        "optimizer": {"lr": 1e-3},
        "tasks": {"noise:sigma=25": 1.0, "low_haze": 1.0, "rain": 0.0, "haze+rain": 2.0, "blur": 0.5},
        "validation": {"share": 0.4},
    }
    return ModelFile(model=preset("nano"), training=recipe | changes)


def test_tasks_and_pictures_are_those_of_the_training(tmp_path: Path) -> None:
    assert single_tasks(trained()) == ("noise:sigma=25", "blur")
    several = {"jpeg": 1.0, "jpeg:quality=10": 1.0, "blur:kind=motion": 1.0, "noise": 1.0}
    assert single_tasks(trained(tasks=several)) == ("jpeg", "blur:kind=motion", "noise")
    assert single_tasks(ModelFile(model=preset("nano"))) == TASKS
    folder = write_photographs(tmp_path, 5)
    training, validation = held_out_files(trained(), folder)
    assert (len(training), len(validation)) == (3, 2)
    assert not set(training) & set(validation)
    with pytest.raises(ConfigError, match="set no pictures aside"):
        held_out_files(trained(validation={"share": 0}), folder)
