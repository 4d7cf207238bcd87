"""Pairs made on a device are those that the loader makes, as far as nothing random is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support import write_photographs

from moceir.data.mixtures import MixedPairs, Source, pairs_source, photographs_source
from moceir.data.photographs import Photographs
from moceir.data.resident import ResidentPhotographs, make_pairs, resize_matrices
from moceir.data.synthesis import cut
from moceir.recipe import AugmentConfig

CPU = torch.device("cpu")
AUGMENT = AugmentConfig(smallest_scale=0.4, scale_chance=0.7, dark_chance=0.5)
LEVEL = 1 / 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"))


def mixture(sources: list[Source], count: int = 24) -> MixedPairs:
    return MixedPairs(sources, Photographs(), AUGMENT, by="weight", patch_px=16, first=100, count=count, seed=3)


def resident(pairs: MixedPairs) -> ResidentPhotographs:
    paths = [path for source in pairs.sources for path in source.paths]
    return ResidentPhotographs(pairs.photographs, paths, CPU)


@pytest.mark.parametrize(("side", "patch_px"), [(16, 16), (40, 16), (23, 16), (10, 16), (128, 128), (400, 128)])
def test_scaling_is_that_of_torch(side: int, patch_px: int) -> None:
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(image, (patch_px, patch_px), mode="bilinear", antialias=True)
    padded = F.pad(image, (0, 5, 0, 5), value=7.0)
    matrix = resize_matrices(torch.tensor([side]), side + 5, patch_px)
    torch.testing.assert_close(matrix @ padded @ matrix.mT, expected, rtol=0, atol=2e-6)
    if side == patch_px:
        assert torch.equal(matrix @ padded @ matrix.mT, image)


def test_squares_are_those_of_the_loader(folder: Path) -> None:
    pairs = mixture([photographs_source(folder, "clean")], count=100)
    plans = [pairs.plan(i) for i in range(len(pairs))]
    assert {plan.crop.turn for plan in plans} == set(range(8))
    assert len({plan.crop.side for plan in plans}) > 10
    ours = resident(pairs).cut([plan.files[1] for plan in plans], [plan.crop for plan in plans], 16)
    theirs = torch.stack([cut(pairs.photographs[plan.files[1]], plan.crop, 16) for plan in plans])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)


def test_pairs_are_those_of_the_loader(folder: Path) -> None:
    tasks = ("clean", "jpeg", "resize", "blur:kind=defocus,noise_sigma_255=0", "jpeg+resize")
    sources = [photographs_source(folder, task) for task in tasks]
    pairs = mixture([*sources, pairs_source(folder, folder, label="real")], count=60)
    plans = [pairs.plan(i) for i in range(len(pairs))]
    ours = make_pairs(plans, resident(pairs), 16, torch.Generator())
    for number, theirs in enumerate(pairs):
        assert ours.task[number] == theirs.task
        clean, degraded = ours.clean[number], ours.degraded[number]
        assert (clean - theirs.clean).abs().max() <= 1.01 * LEVEL, "rounding to 8 bits may fall either way"
        if torch.equal(clean, theirs.clean):
            assert ((degraded - theirs.degraded).abs() > 1.01 * LEVEL).float().mean() < 0.02, plans[number]
    assert set(ours.task.tolist()) == set(range(6))
    assert torch.equal(ours.degraded, (ours.degraded * 255).round() / 255)


def test_random_fields_come_from_the_generator(folder: Path) -> None:
    tasks = ("noise:sigma=25", "rain", "snow", "haze", "low_light", "poisson_gaussian", "real")
    pairs = mixture([photographs_source(folder, task) for task in tasks], count=64)
    plans = [pairs.plan(i) for i in range(len(pairs))]
    photographs = resident(pairs)
    first, again, other = (
        make_pairs(plans, photographs, 16, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.degraded, again.degraded)
    assert torch.equal(first.clean, other.clean)
    differs = (first.degraded != other.degraded).flatten(1).any(1)
    noisy = first.task == 0
    assert differs[noisy].all()
    sigma = (first.degraded - first.clean)[noisy][(first.clean[noisy] > 0.4) & (first.clean[noisy] < 0.6)].std() * 255
    assert sigma == pytest.approx(25, rel=0.1)
