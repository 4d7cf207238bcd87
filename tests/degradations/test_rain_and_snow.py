"""Falling things: brighter only, in the right direction, as much as asked, also on small crops."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moceir.degradations import Degradation, Rain, Snow, degrade


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def psnr_db(clean: Tensor, degraded: Tensor) -> float:
    return -10 * math.log10((clean - degraded).square().mean().item())


@pytest.mark.parametrize("kind", [Rain, Snow])
def test_only_brightens(kind: type[Degradation]) -> None:
    images = torch.rand(6, 3, 64, 64, generator=seeded(0)) * 0.9
    source = seeded(1)
    degraded = degrade(images, [kind.draw(source) for _ in range(6)], source)
    assert (degraded >= images).all()
    assert (degraded.mean((1, 2, 3)) > images.mean((1, 2, 3))).all()


@pytest.mark.parametrize("make", [lambda s: Rain(strength=s), lambda s: Snow(strength=s)], ids=["rain", "snow"])
def test_stronger_is_further_from_clean(make: Callable[[float], Degradation]) -> None:
    images = torch.rand(2, 3, 96, 96, generator=seeded(0))
    values = [psnr_db(images, degrade(images, make(s), seeded(3))) for s in (0.1, 0.3, 0.6, 1.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 5


@pytest.mark.parametrize("params", [Rain(strength=0), Rain(density=0), Snow(strength=0, veil=0)])
def test_nothing_falls_at_zero(params: Degradation) -> None:
    images = torch.rand(2, 3, 32, 32, generator=seeded(0)) * 0.9
    torch.testing.assert_close(degrade(images, params, seeded(0)), images)


@pytest.mark.parametrize("angle_deg", [-40.0, -15.0, 0.0, 25.0])
def test_rain_falls_at_its_angle(angle_deg: float) -> None:
    # Wide enough for differences over two pixels to be fair in every direction.
    params = Rain(angle_deg=angle_deg, length_px=40, width_px=4, density=0.05, strength=0.8)
    plane = degrade(torch.zeros(1, 3, 200, 200), params, seeded(0))[0, 0]
    # Brightness changes least along a streak: the weak axis of the structure tensor.
    dy, dx = plane[2:, 1:-1] - plane[:-2, 1:-1], plane[1:-1, 2:] - plane[1:-1, :-2]
    tensor = torch.stack([dy, dx]).flatten(1) @ torch.stack([dy, dx]).flatten(1).T
    y, x = torch.linalg.eigh(tensor).eigenvectors[:, 0].tolist()
    assert math.degrees(math.atan(x / y)) == pytest.approx(angle_deg, abs=4)


def test_rain_streaks_are_as_bright_and_wide_as_asked() -> None:
    # Few streaks, so that the brightest pixel is one streak and not a crossing.
    plane = degrade(torch.zeros(1, 3, 300, 300), Rain(density=0.01, strength=0.5, width_px=2), seeded(0))[0, 0]
    assert 0.35 < plane.max() < 0.65
    row_wide = degrade(torch.zeros(1, 3, 300, 300), Rain(density=0.01, strength=0.5, width_px=6), seeded(0))[0, 0]
    assert 0.35 < row_wide.max() < 0.65


def test_rain_is_as_dense_in_a_crop_as_in_a_photograph() -> None:
    params = Rain(length_px=50, density=0.1, strength=0.5)
    large = degrade(torch.zeros(1, 3, 512, 512), params, seeded(0)).mean().item()
    crops = degrade(torch.zeros(64, 3, 64, 64), params, seeded(0))
    assert crops.mean().item() == pytest.approx(large, rel=0.1)
    # Streaks enter from above and leave below: no row of the crops is drier than another.
    rows = crops.mean((0, 1, 3))
    assert rows.min() > 0.7 * rows.mean()


def test_mist_and_far_rain_add_to_it() -> None:
    images = torch.full((1, 3, 96, 96), 0.2)
    plain = degrade(images, Rain(), seeded(0)).mean()
    assert degrade(images, Rain(mist=0.2), seeded(0)).mean() > plain
    assert degrade(images, Rain(far_strength=0.3), seeded(0)).mean() > plain


def test_larger_flakes_are_larger() -> None:
    def roughness(size_px: float) -> float:
        plane = degrade(torch.zeros(1, 3, 128, 128), Snow(size_px=size_px, veil=0), seeded(0))[0, 0]
        return ((plane[1:] - plane[:-1]).abs().mean() / plane.mean()).item()

    assert roughness(12) < 0.6 * roughness(4)


def test_layers_behind_are_finer_and_add_to_it() -> None:
    black = torch.zeros(1, 3, 256, 256)
    covered: list[float] = []
    for layers in (1, 2, 3):
        plane = degrade(black, Rain(layers=layers, spread_deg=5, screen=1), seeded(0))[0, 0]
        covered.append((plane > 0.05).float().mean().item())
    assert covered[0] * 1.5 < covered[1]
    assert covered[1] * 1.2 < covered[2]


def test_the_first_layer_is_that_of_plain_rain() -> None:
    # So that adding layers to a spec keeps the streaks it had.
    images = torch.rand(1, 3, 64, 64, generator=seeded(0)) * 0.5
    plain, layered = (degrade(images, Rain(layers=n, screen=0.3), seeded(1)) for n in (1, 3))
    assert (layered >= plain - 1e-6).all()
    assert (layered > plain + 0.02).any()


@pytest.mark.parametrize(("screen", "expected"), [(0.0, 1.0), (1.0, 0.9)])
def test_streaks_are_added_or_screened(screen: float, expected: float) -> None:
    # Where light of 0.5 falls on 0.8: the sum is clipped, the screen is 1 - 0.2 * 0.5.
    rain = Rain(strength=0.5, density=1, length_px=200, width_px=10, screen=screen)
    plane = degrade(torch.zeros(1, 3, 64, 64), rain, seeded(0))
    laid = degrade(torch.full((1, 3, 64, 64), 0.8), rain, seeded(0))
    nearest = (plane - 0.5).abs().argmin()
    assert laid.flatten()[nearest].item() == pytest.approx(expected, abs=0.01)


def test_drawn_rain_is_light_to_heavy() -> None:
    images, source = torch.rand(80, 3, 96, 96, generator=seeded(0)) * 0.5 + 0.2, seeded(1)
    draws = [Rain.draw(source) for _ in images]
    values = sorted(psnr_db(a, b) for a, b in zip(images, degrade(images, draws, source), strict=True))
    assert 14 < values[4] < 22 < 30 < values[-4]
    assert {p.layers for p in draws} == {1, 2, 3}
    assert all(p.width_px <= p.length_px / 5 for p in draws)
