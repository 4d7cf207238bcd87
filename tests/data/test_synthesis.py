"""Patches are cut out of pictures without change, and small pictures are enlarged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moceir.data.synthesis import (
    FULL_LIGHT,
    Light,
    centre_crop,
    cut,
    dimmed,
    random_crop,
    random_light,
    sample_generator,
    to_8_bit,
    to_pixels,
)
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


def test_some_patches_are_dimmed() -> None:
    augment = AugmentConfig(darkest=0.1, dark_chance=0.5)
    lights = [random_light(augment, sample_generator("light", n)) for n in range(400)]
    assert all(light.grey <= light.brightest <= 1 for light in lights)
    assert sum(light.grey < light.brightest for light in lights) > 100
    shares = [light.grey for light in lights]
    assert 150 < shares.count(1.0) < 250
    assert 0.1 <= min(shares) < 0.12
    # As often below the geometric middle as above it.
    assert 70 < sum(share < 0.1**0.5 for share in shares) < 130
    generator = sample_generator("none")
    assert random_light(AugmentConfig(), generator) == FULL_LIGHT
    assert torch.equal(torch.rand(3, generator=generator), torch.rand(3, generator=sample_generator("none")))


def test_dimming_takes_less_light_from_the_brightest() -> None:
    # Shares of the light of white as sRGB: a fifth 0.4845, a tenth 0.3492, a half 0.7354 (IEC 61966-2-1).
    patch = torch.tensor([0.0, 0.4845, 1.0]).expand(3, 1, 3)
    assert dimmed(patch, FULL_LIGHT) is patch
    for light, expected in (
        (Light(0.5, 1.0), [0.0, 0.3492, 1.0]),
        (Light(0.5, 0.5), [0.0, 0.3492, 0.7354]),
    ):
        torch.testing.assert_close(dimmed(patch, light)[0, 0], torch.tensor(expected), atol=2e-4, rtol=0)
    # The same below a brightest of half of the light of white: a fifth of that falls from a tenth to a twentieth.
    darker = torch.tensor([0.3492, 0.7354]).expand(3, 1, 2)
    torch.testing.assert_close(dimmed(darker, Light(0.5, 1))[0, 0], torch.tensor([0.2478, 0.7354]), atol=2e-4, rtol=0)
    assert torch.equal(dimmed(torch.zeros(3, 2, 2), Light(0.1, 1)), torch.zeros(3, 2, 2))


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


def test_pixels_are_channels_last_and_rounded() -> None:
    image = torch.tensor([[[0.0, 0.4]], [[0.6, 1.4]], [[254.6, 255.0]]]) / 255
    pixels = to_pixels(image)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[[0, 1, 255], [0, 1, 255]]]
