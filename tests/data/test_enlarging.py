"""Samples for networks that enlarge: a reduced and degraded patch beside a larger clean one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support import write_photographs, write_picture

from moceir import image_io
from moceir.data.mixtures import MixedPairs, ValidationPairs, pairs_source, photographs_source
from moceir.data.photographs import Photographs
from moceir.data.resident import ResidentPhotographs, make_pairs
from moceir.degradations.reduction import Reduction, reduced
from moceir.errors import DataError
from moceir.recipe import AugmentConfig

PLAIN = AugmentConfig(scale_chance=0)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"))


def mixed(photographs: Path, degradation: str, scale: int, **changes: object) -> MixedPairs:
    source = photographs_source(photographs, degradation)
    settings = {"by": "weight", "patch_px": 8, "first": 0, "count": 12, "seed": 0, "reduction": Reduction(scale)}
    return MixedPairs([source], Photographs(), PLAIN, **(settings | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_plain_task_is_the_reduction(photographs: Path, scale: int) -> None:
    for sample in mixed(photographs, "clean", scale):
        assert sample.clean.shape == (3, 8 * scale, 8 * scale)
        assert sample.degraded.shape == (3, 8, 8)
        torch.testing.assert_close(sample.degraded, reduced(sample.clean, scale), atol=0.51 / 255, rtol=0)


def test_degradations_act_on_the_small_picture(photographs: Path) -> None:
    noisy = torch.stack([s.degraded - reduced(s.clean, 4) for s in mixed(photographs, "noise:sigma=25", 4, count=40)])
    assert 0.05 < float(noisy.std()) < 25 / 255


def test_kernels_are_drawn(photographs: Path) -> None:
    reduction = Reduction(4, {"box": 1, "cubic": 1})
    errors = [
        [float((s.degraded - reduced(s.clean, 4, kernel)).abs().max()) < 0.51 / 255 for kernel in ("box", "cubic")]
        for s in mixed(photographs, "clean", 4, reduction=reduction, count=40)
    ]
    assert all(any(of_sample) for of_sample in errors)
    assert sum(box for box, cubic in errors if not cubic) > 5
    assert sum(cubic for box, cubic in errors if not box) > 5


def test_real_pairs_are_cut_at_the_same_place(tmp_path: Path) -> None:
    small = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    image_io.write(tmp_path / "small" / "a.png", image_io.Picture(small))
    large = np.pad(small.repeat(4, axis=0).repeat(4, axis=1), ((0, 3), (0, 1), (0, 0)))  # a remainder is not used
    image_io.write(tmp_path / "large" / "a.png", image_io.Picture(large))
    source = pairs_source(tmp_path / "small", tmp_path / "large")
    settings = {"by": "weight", "patch_px": 8, "first": 0, "count": 20, "seed": 0, "reduction": Reduction(4)}
    for sample in MixedPairs([source], Photographs(), PLAIN, **settings):  # type: ignore[arg-type]
        assert torch.equal(sample.degraded.repeat_interleave(4, 1).repeat_interleave(4, 2), sample.clean)
    (sample,) = ValidationPairs([source], Photographs(), patch_px=16, most=1, seed=0, scale=4)
    assert torch.equal(sample.degraded.repeat_interleave(4, 1).repeat_interleave(4, 2), sample.clean)


def test_pairs_out_of_proportion_are_named(tmp_path: Path) -> None:
    write_picture(tmp_path / "small" / "a.png", 20, 30)
    write_picture(tmp_path / "large" / "a.png", 40, 61)
    source = pairs_source(tmp_path / "small", tmp_path / "large")
    ValidationPairs([source], Photographs(), patch_px=8, most=1, seed=0, scale=2)[0]
    with pytest.raises(DataError, match="not in proportion 1 to 4"):
        ValidationPairs([source], Photographs(), patch_px=8, most=1, seed=0, scale=4)[0]


def test_validation_is_reduced_and_always_the_same(photographs: Path) -> None:
    source = photographs_source(photographs, "noise")
    one, other = (ValidationPairs([source], Photographs(), patch_px=8, most=3, seed=0, scale=3) for _ in range(2))
    for first, second in zip(one, other, strict=True):
        assert first.clean.shape == (3, 24, 24)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_pairs_made_on_a_device_are_those_made_one_by_one(photographs: Path) -> None:
    pairs = mixed(photographs, "clean", 4)
    paths = [path for source in pairs.sources for path in source.paths]
    resident = ResidentPhotographs(pairs.photographs, paths, torch.device("cpu"))
    plans = [pairs.plan(number) for number in range(12)]
    batch = make_pairs(plans, resident, 8, torch.Generator(), 4)
    for number in range(12):
        torch.testing.assert_close(batch.clean[number], pairs[number].clean, atol=1.01 / 255, rtol=0)
        torch.testing.assert_close(batch.degraded[number], pairs[number].degraded, atol=1.01 / 255, rtol=0)
