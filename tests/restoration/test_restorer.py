"""How restorers are made and changed; what they do is tested beside the modules they stand on."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from moceir import MoCEIR, RestoreOptions, Restorer
from moceir.errors import ConfigError, WeightsError


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)


def test_bundled_weights_restore() -> None:
    """As in the README: the bundled network must clearly denoise a drawn picture."""
    y, x = np.mgrid[0:96, 0:96] / 96
    clean = np.stack([0.5 + 0.4 * np.sin(6 * x + 2 * y), 0.5 + 0.4 * np.cos(5 * y), (x + y) / 2], axis=2)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25 / 255, clean.shape), 0, 1).astype(np.float32)
    restored = Restorer.from_pretrained("tiny", device="cpu").restore(noisy)
    assert np.square(restored - clean).mean() < np.square(noisy - clean).mean() / 6


def test_three_ways_to_the_same_restorer(model_folder: Any, image: np.ndarray) -> None:
    from moceir import load

    options = RestoreOptions(model=model_folder, device="cpu", strength=0.5)
    made = (
        Restorer.from_options(options),
        Restorer.from_pretrained(model_folder, device=torch.device("cpu"), strength=0.5),
        Restorer(load(model_folder), device="cpu", strength=0.5),
    )
    assert made[0].options == made[1].options == options
    for other in made[1:]:
        np.testing.assert_array_equal(other.restore(image), made[0].restore(image))
    with pytest.raises(WeightsError, match="no model"):
        Restorer.from_options(made[2].options)


def test_options_of_one_call_and_of_all(nano: MoCEIR, image: np.ndarray) -> None:
    plain = Restorer(nano, device="cpu")
    half = plain.with_options(strength=0.5)
    assert half.model is plain.model
    expected = half.restore(image)
    np.testing.assert_array_equal(plain.restore(image, strength=0.5), expected)
    np.testing.assert_array_equal(plain.restore(image, strength="0.5"), expected)
    assert (plain.restore(image) != expected).any()
    np.testing.assert_array_equal(half.restore(image, strength=0), image)
    cheap = plain.with_options(effort="low").with_experts(np.zeros(3, dtype=np.int64))
    assert cheap.run(image).report.experts == ((0,),) * 3
    assert plain.options == Restorer(nano, device="cpu").options


def test_the_loaded_network_stays_what_it_is(nano: MoCEIR) -> None:
    restorer = Restorer(nano, device="cpu")
    assert restorer.with_options(device="cpu", threads=None).model is nano
    for change in ({"device": "cuda"}, {"model": "tiny"}, {"threads": 1}, {"compiled": True}):
        with pytest.raises(ConfigError, match="belongs to the loaded network"):
            restorer.with_options(**change)


def test_mistakes_are_one_kind_of_error(nano: MoCEIR, image: np.ndarray) -> None:
    restorer = Restorer(nano, device="cpu")
    name: Any = "tiny"
    with pytest.raises(ConfigError, match=r"use Restorer\.from_pretrained"):
        Restorer(name)
    for call in (Restorer.from_pretrained, restorer.with_options):
        with pytest.raises(ConfigError, match="did you mean 'device'"):
            call(devise="cpu")
    for call in (restorer.restore, restorer.run):
        with pytest.raises(ConfigError, match="strength is 2"):
            call(image, strength=2)
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        restorer.with_options(precision="float16")


def test_importing_restoration_needs_no_extra() -> None:
    code = (
        "import sys\n"
        "for name in ('lightning', 'skimage', 'tensorboard', 'torchmetrics', 'PIL'): sys.modules[name] = None\n"
        "import moceir, moceir.cli\n"
        "moceir.Restorer\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
