"""Reduction like MATLAB's imresize, against Pillow, a literal loop, and known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from moceir.degradations.reduction import KERNELS, Reduction, reduced, resample
from moceir.errors import ConfigError

PILLOW = {
    "cubic": Image.Resampling.BICUBIC,
    "triangle": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "lanczos3": Image.Resampling.LANCZOS,
}


def signal(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random(shape)


def cubic(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def imresize_line(line: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """One row, pixel by pixel, in the one-based numbers of MATLAB's documentation."""
    count, out = len(line), math.ceil(len(line) * scale)
    width = 4 / scale if scale < 1 else 4
    result = np.zeros(out)
    for place in range(1, out + 1):
        centre = place / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(centre - width / 2)
        total = 0.0
        for index in range(left, left + math.ceil(width) + 2):
            weight = scale * cubic(scale * (centre - index)) if scale < 1 else cubic(centre - index)
            mirrored = [*range(count), *range(count - 1, -1, -1)][(index - 1) % (2 * count)]
            result[place - 1] += weight * line[mirrored]
            total += weight
        result[place - 1] /= total
    return result


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pillow_agrees_inside(kernel: str, scale: int) -> None:
    picture = signal(16 * scale, 20 * scale).astype(np.float32)
    small = Image.fromarray(picture).resize((20, 16), PILLOW[kernel])  # it leaves out what is beyond the border
    ours = resample(torch.from_numpy(picture), 1 / scale, kernel).numpy()
    assert ours.shape == (16, 20)
    np.testing.assert_allclose(ours[3:-3, 3:-3], np.asarray(small)[3:-3, 3:-3], atol=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(length=st.integers(1, 30), scale=st.sampled_from([1 / 4, 1 / 3, 1 / 2, 0.7, 2, 3, 4]))
def test_a_literal_loop_agrees_up_to_the_border(length: int, scale: float) -> None:
    line = signal(length, seed=length)
    ours = resample(torch.from_numpy(line)[None], scale)[0]
    np.testing.assert_allclose(ours[: math.ceil(length * scale)], imresize_line(line, scale), atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_flat_pictures_stay_flat_and_small_ones_work(kernel: str) -> None:
    for height, width in ((4, 4), (12, 8)):
        flat = torch.full((1, 3, height, width), 0.3)
        torch.testing.assert_close(reduced(flat, 4, kernel), torch.full((1, 3, height // 4, width // 4), 0.3))


def test_the_range_is_kept_and_a_factor_of_one_changes_nothing() -> None:
    edge = torch.zeros(3, 16, 16)
    edge[..., 8:] = 1
    assert resample(edge, 1 / 2).max() > 1
    assert reduced(edge, 2).max() == 1
    assert reduced(edge, 1) is edge


def test_kernels_are_drawn_by_weight_and_checked() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [Reduction(4, {"cubic": 3, "box": 1}).draw(generator) for _ in range(400)]
    assert 0.2 < drawn.count("box") / 400 < 0.3
    state = generator.get_state()
    assert Reduction(1, {"box": 1, "cubic": 1}).draw(generator) == "box"
    assert torch.equal(generator.get_state(), state), "samples of networks that only restore stay as they are"
    with pytest.raises(ConfigError, match="did you mean 'cubic'"):
        Reduction(2, {"cubik": 1})
