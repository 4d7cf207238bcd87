"""What several degradations share, against direct implementations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.degradations import Jpeg, degrade
from moceir.degradations._fields import splat, window_means


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    points=st.lists(st.tuples(*[st.floats(-4, 13, width=32)] * 2, st.floats(0, 2, width=32)), max_size=12),
)
def test_points_are_shared_by_their_four_neighbours(
    height: int, width: int, points: list[tuple[float, float, float]]
) -> None:
    expected = np.zeros((height, width))
    for y, x, weight in points:
        for row in range(height):
            for column in range(width):
                expected[row, column] += weight * max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column))
    ys, xs, weights = torch.tensor(points, dtype=torch.float64).view(-1, 1, 3).unbind(-1)
    plane = splat(ys, xs, weights, height, width)
    assert (plane >= 0).all()
    torch.testing.assert_close(plane, torch.from_numpy(expected), atol=1e-9, rtol=0)


def test_many_points_are_splatted_in_parts() -> None:
    draws = torch.rand(2, 20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5
    plane = splat(*draws, torch.ones(20_000, 2, dtype=torch.float64), 6, 6)
    assert plane.sum().item() == pytest.approx(40_000)


@pytest.mark.parametrize(("size", "radius"), [(1, 1), (7, 2), (12, 20)])
def test_window_means_are_of_what_lies_inside(size: int, radius: int) -> None:
    signal = torch.rand(size, generator=torch.Generator().manual_seed(0))
    expected = [signal[max(0, i - radius) : i + radius + 1].mean() for i in range(size)]
    torch.testing.assert_close(window_means(size, radius, signal) @ signal, torch.stack(expected))


def test_one_kind_for_all_gives_new_pictures() -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for degradation in ("clean", Jpeg(quality=90)):
        degraded = degrade(images, degradation, torch.Generator().manual_seed(0))
        assert degraded.data_ptr() != images.data_ptr()
        assert not math.isnan(degraded.sum().item())
