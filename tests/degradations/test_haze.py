"""Haze against its formula."""

import math

import pytest
import torch

from moceir.degradations import Haze, degrade, parse


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("beta", "airlight", "depth"), [(1.0, 0.8, 0.5), (1.8, 1.0, 1.0), (0.6, 0.7, 0.0)])
def test_formula_at_constant_depth(beta: float, airlight: float, depth: float) -> None:
    images = torch.rand(2, 3, 20, 30, generator=seeded(0))
    params = Haze(beta=beta, airlight=airlight, depth_offset=depth, depth_span=0)
    t = math.exp(-beta * depth)
    torch.testing.assert_close(degrade(images, params, seeded(1)), images * t + airlight * (1 - t))


def test_warm_haze_is_redder() -> None:
    red, green, blue = degrade(torch.zeros(1, 3, 8, 8), Haze(warmth=0.05), seeded(0))[0].mean((1, 2)).tolist()
    assert red > green > blue


@pytest.mark.parametrize(("tilt_deg", "axis"), [(0.0, 0), (90.0, 1)])
def test_ramp_recedes_in_its_direction(tilt_deg: float, axis: int) -> None:
    # On black the haze is all there is to see: thicker where it is farther.
    plane = degrade(torch.zeros(1, 3, 40, 40), Haze(ramp=1, tilt_deg=tilt_deg), seeded(0))[0, 0]
    profile = plane.mean(1 - axis)
    steps = profile.diff() if axis else -profile.diff()
    assert (steps > -1e-4).all()
    assert abs(profile[-1] - profile[0]) > 0.3


def test_depth_stays_in_its_span() -> None:
    params = Haze(beta=1, airlight=1, depth_offset=0.2, depth_span=0.5)
    plane = degrade(torch.rand(4, 3, 64, 64, generator=seeded(2)) * 0, params, seeded(0))
    depth = -torch.log(1 - plane)
    assert depth.min() >= 0.2 - 1e-4
    assert depth.max() <= 0.7 + 1e-4


def test_haze_changes_where_objects_end() -> None:
    images = torch.zeros(1, 3, 64, 64)
    images[..., 32:] = 0.5
    params = Haze(beta=1, airlight=1, depth_offset=0, depth_span=1, ramp=0)
    jumps: list[float] = []
    for seed in range(6):
        transmission = (1 - degrade(images, params, seeded(seed))) / (1 - images)
        steps = torch.log(transmission)[0, 0].diff(dim=1).abs().mean(0)
        jumps.append((steps[31] / steps.median()).item())
    assert sum(jumps) / len(jumps) > 2


def test_a_given_depth_is_followed_exactly() -> None:
    images = torch.rand(2, 3, 20, 30, generator=seeded(0))
    depth = torch.rand(2, 1, 20, 30, generator=seeded(1))
    params = [Haze(beta=0.7, airlight=0.9, depth_offset=0.4), Haze(beta=1.5, airlight=0.75, ramp=0)]
    hazy = degrade(images, params, seeded(2), depth)
    for i, p in enumerate(params):
        t = torch.exp(-p.beta * depth[i])
        torch.testing.assert_close(hazy[i], images[i] * t + p.airlight * (1 - t))


def test_depth_reaches_haze_inside_composites_and_mixed_batches() -> None:
    images = torch.rand(3, 3, 16, 16, generator=seeded(0))
    depth = torch.rand(3, 1, 16, 16, generator=seeded(1))
    depth[2] = 0
    kinds = [parse("jpeg:quality=90"), parse("haze:beta=1,airlight=1,warmth=0"), parse("clean+haze:beta=3")]
    degraded = degrade(images, kinds, seeded(2), depth)
    assert torch.equal(degraded[0], degrade(images[:1], kinds[0], seeded(3))[0])
    t = torch.exp(-depth[1])
    torch.testing.assert_close(degraded[1], images[1] * t + (1 - t))
    assert torch.equal(degraded[2], images[2])


@pytest.mark.parametrize("shape", [(1, 1, 8, 9), (2, 1, 8, 8), (1, 3, 8, 8), (8, 8)])
def test_a_depth_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        degrade(torch.rand(1, 3, 8, 8), "low_haze", seeded(0), torch.rand(shape))


def test_structure_gives_parts_of_equal_colour_equal_depth() -> None:
    images = torch.full((1, 3, 96, 96), 0.2)
    images[..., 20:40, 10:30] = 0.7
    images[..., 60:80, 60:80] = 0.7
    params = Haze(beta=1, airlight=1, warmth=0, depth_offset=0, depth_span=1, structure=1)
    hazy = degrade(images, params, seeded(0))
    depth = -torch.log((1 - hazy) / (1 - images)).mean(1)[0]
    first, second, around = depth[28:32, 18:22], depth[68:72, 68:72], depth[45:55, 5:15]
    assert (first.mean() - second.mean()).abs() < 0.05
    assert (first.mean() - around.mean()).abs() > 0.3
    # And nothing of a ramp: the ground is equally far everywhere away from the parts.
    assert (depth[:8].mean() - depth[-8:].mean()).abs() < 0.05


def test_bright_parts_are_mostly_far() -> None:
    images = torch.full((1, 3, 64, 64), 0.2)
    images[..., :32, :] = 0.8
    params = Haze(beta=1, airlight=1, warmth=0, depth_offset=0, depth_span=1, structure=1)
    farther = 0
    for seed in range(40):
        depth = -torch.log((1 - degrade(images, params, seeded(seed))) / (1 - images))[0, 0]
        farther += int(depth[:24].mean() > depth[-24:].mean())
    assert 30 <= farther < 40
