"""Training pairs are a function of seed and number, and look as the recipe says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from moceir import image_io
from moceir.data.photographs import Photographs, split_by_name
from moceir.data.synthesis import TaskMixture, TrainingPairs, ValidationPairs, random_patch, sample_generator, to_8_bit
from moceir.errors import ConfigError, DataError
from moceir.recipe import AugmentConfig

TASKS = {"noise:sigma=25": 2.0, "rain": 1.0, "clean": 1.0}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (70, 50), (20, 90)]
    for number, (height, width) in enumerate(sizes):
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image_io.write(folder / f"{number}.png", image_io.Picture(rgb))
    return Photographs(sorted(folder.glob("*.png")))


def pairs(photographs: Photographs, *, first: int = 0, count: int = 40, seed: int = 0) -> TrainingPairs:
    return TrainingPairs(
        photographs, TaskMixture(TASKS), AugmentConfig(), patch_px=32, first=first, count=count, seed=seed
    )


def test_samples_depend_on_seed_and_number_alone(photographs: Photographs) -> None:
    some = pairs(photographs)
    torch.manual_seed(99)
    assert all(torch.equal(a, b) for a, b in zip(some[7], pairs(photographs)[7], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(some[7], pairs(photographs, first=5)[2], strict=True))
    assert not torch.equal(some[7].clean, some[8].clean)
    assert not torch.equal(some[7].clean, pairs(photographs, seed=1)[7].clean)


def test_loader_processes_change_nothing(photographs: Photographs) -> None:
    batches = [next(iter(DataLoader(pairs(photographs), batch_size=6, num_workers=workers))) for workers in (0, 2)]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_samples_are_8_bit_patches_with_the_weighted_tasks(photographs: Photographs) -> None:
    count = 200
    samples = [pairs(photographs, count=count)[i] for i in range(count)]
    for sample in samples[:20]:
        for image in (sample.degraded, sample.clean):
            assert image.shape == (3, 32, 32)
            assert torch.equal(image, to_8_bit(image))
            assert image.min() >= 0
            assert image.max() <= 1
    shares = torch.bincount(torch.stack([s.task for s in samples]), minlength=3) / count
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.25, 0.25]), atol=0.1, rtol=0)
    for sample in samples:
        assert torch.equal(sample.degraded, sample.clean) == (sample.task == 2)


def test_patches_are_cut_turned_and_flipped_without_change() -> None:
    photo = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(3, 8, 8)
    seen = set()
    for number in range(100):
        augment = AugmentConfig(scale_chance=0)
        patch = random_patch(photo, 8, augment, sample_generator("test", number))
        assert sorted((patch * 255).round().flatten().tolist()) == sorted(photo.flatten().tolist())
        seen.add(tuple(patch.flatten().tolist()))
    assert len(seen) == 8


def test_photographs_smaller_than_the_patch_are_enlarged() -> None:
    photo = torch.full((3, 5, 9), 100, dtype=torch.uint8)
    patch = random_patch(photo, 16, AugmentConfig(), sample_generator("small"))
    torch.testing.assert_close(patch, torch.full((3, 16, 16), 100 / 255))


def test_validation_is_always_the_same_and_covers_every_task(photographs: Photographs) -> None:
    mixture = TaskMixture(TASKS)
    one, other = (ValidationPairs(photographs, mixture, patch_px=32, most=2, seed=0) for _ in range(2))
    assert len(one) == 2 * 3
    assert [int(one[i].task) for i in range(6)] == [0, 0, 1, 1, 2, 2]
    assert all(torch.equal(one[i].degraded, other[i].degraded) for i in range(6))


def test_the_split_is_by_name_and_stable() -> None:
    paths = [Path(f"{n}.png") for n in range(100)]
    training, validation = split_by_name(paths, 0.1)
    assert len(validation) == 10
    assert not set(training) & set(validation)
    assert split_by_name([Path("elsewhere") / p for p in reversed(paths)], 0.1)[1] == [
        Path("elsewhere") / p for p in validation
    ]
    with pytest.raises(DataError, match="too few"):
        split_by_name(paths[:1], 0.1)


def test_the_cache_is_bounded(photographs: Photographs) -> None:
    small = Photographs(photographs.paths, cache_bytes=40 * 60 * 3)
    small.preload()
    assert small[0] is small[0]
    assert small[1] is not small[1]
    assert torch.equal(small[1], photographs[1])


def test_composites_are_tasks_like_others(photographs: Photographs) -> None:
    tasks = {"low_haze_rain": 1.0, "haze+snow": 1.0, "real": 1.0, "clean": 1.0}
    validation = ValidationPairs(photographs, TaskMixture(tasks), patch_px=32, most=1, seed=0)
    low, snowy, real, untouched = (validation[i] for i in range(4))
    assert low.degraded.mean() < low.clean.mean()
    assert snowy.degraded.min() > snowy.clean.min()
    assert not torch.equal(real.degraded, real.clean)
    assert torch.equal(untouched.degraded, untouched.clean)


def test_unknown_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'haze'"):
        TaskMixture({"hazy": 1})
