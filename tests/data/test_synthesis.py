"""Patches are cut out of pictures without change, and small pictures are enlarged."""

from __future__ import annotations

import pytest
import torch

from moceir.data.synthesis import centre_crop, cut, random_crop, sample_generator, to_8_bit
from moceir.recipe import AugmentConfig


def test_patches_are_cut_turned_and_flipped_without_change() -> None:
    photo = torch.arange(3 * 8 * 8, dtype=torch.uint8).view(3, 8, 8)
    seen = set()
    for number in range(100):
        patch = cut(photo, random_crop(8, 8, 8, None, sample_generator("test", number)), 8)
        assert sorted((patch * 255).round().flatten().tolist()) == sorted(photo.flatten().tolist())
        seen.add(tuple(patch.flatten().tolist()))
    assert len(seen) == 8


def test_patches_lie_everywhere_and_inside() -> None:
    crops = [random_crop(12, 9, 8, None, sample_generator("place", number)) for number in range(300)]
    assert {crop.side for crop in crops} == {8}
    assert {(crop.top, crop.left) for crop in crops} == {(top, left) for top in range(5) for left in range(2)}


def test_only_augmentation_scales() -> None:
    augment = AugmentConfig(smallest_scale=0.5, scale_chance=0.5)
    sides = [random_crop(100, 100, 16, augment, sample_generator("scale", n)).side for n in range(200)]
    assert 16 <= min(sides) < 18
    assert 30 < max(sides) <= 32
    assert 70 < sides.count(16) < 140


def test_photographs_smaller_than_the_patch_are_enlarged() -> None:
    photo = torch.full((3, 5, 9), 100, dtype=torch.uint8)
    patch = cut(photo, random_crop(5, 9, 16, AugmentConfig(), sample_generator("small")), 16)
    torch.testing.assert_close(patch, torch.full((3, 16, 16), 100 / 255))


@pytest.mark.parametrize(("height", "width", "expected"), [(10, 20, (1, 6, 8)), (5, 20, (0, 7, 5)), (8, 8, (0, 0, 8))])
def test_the_centre_is_in_the_middle(height: int, width: int, expected: tuple[int, int, int]) -> None:
    assert centre_crop(height, width, 8) == (*expected, 0)


def test_8_bits_are_the_nearest_levels() -> None:
    levels = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.0])
    torch.testing.assert_close(to_8_bit(levels) * 255, torch.tensor([0.0, 0.0, 1.0, 254.0, 255.0]))
