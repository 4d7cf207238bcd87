"""Blur: its kernels, and that it happens in linear light."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from scipy import ndimage

from moceir.degradations import Blur, degrade, parse
from moceir.degradations._fields import convolve, reflect_pad
from moceir.degradations._movement import background_without
from moceir.degradations.base import linear_to_srgb, srgb_to_linear
from moceir.degradations.blur import blur_kernels

Kind = Literal["shake", "motion", "defocus"]
KINDS: tuple[Kind, ...] = ("shake", "motion", "defocus")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_px", [1.0, 2.5, 9.0, 31.0])
def test_kernels_are_centred_and_sum_to_one(kind: Kind, size_px: float) -> None:
    params = [Blur(kind=kind, size_px=size_px, angle_deg=30), Blur(kind=kind, size_px=31)]
    kernels = blur_kernels(params, torch.zeros(()), seeded(0))
    assert kernels.shape[-1] % 2 == 1
    assert (kernels >= 0).all()
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(2))
    steps = torch.arange(kernels.shape[-1]) - kernels.shape[-1] // 2
    for profile in (kernels[0].sum(1), kernels[0].sum(0)):
        assert (profile * steps).sum().abs() < 0.02
        extent = steps[profile > 1e-4]
        assert extent.max() - extent.min() <= size_px + 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_picture_stays(kind: Kind) -> None:
    images = torch.tensor([0.02, 0.5, 0.9]).view(1, 3, 1, 1).expand(2, 3, 17, 23)
    degraded = degrade(images, Blur(kind=kind, size_px=21), seeded(0))
    torch.testing.assert_close(degraded, images, atol=1e-4, rtol=0)


def test_convolution_equals_scipy() -> None:
    images = torch.rand(2, 3, 19, 26, generator=seeded(0), dtype=torch.float64)
    kernels = torch.rand(2, 7, 7, generator=seeded(1), dtype=torch.float64)
    expected = np.stack(
        [
            np.stack([ndimage.convolve(plane.numpy(), kernel.numpy(), mode="mirror") for plane in image])
            for image, kernel in zip(images, kernels, strict=True)
        ]
    )
    torch.testing.assert_close(convolve(images, kernels), torch.from_numpy(expected))


@pytest.mark.parametrize(("size", "pad"), [(1, 3), (2, 5), (3, 9), (10, 4)])
def test_reflection_equals_numpy(size: int, pad: int) -> None:
    images = torch.rand(1, 2, size, size + 1, generator=seeded(0))
    expected = np.pad(images.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="reflect")
    assert torch.equal(reflect_pad(images, pad), torch.from_numpy(expected))


def test_bright_points_spread_as_light_does() -> None:
    # Half black and half white mix to half the light, which is far above half the sRGB value.
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::2] = 1
    blurred = degrade(stripes, Blur(kind="motion", size_px=21, angle_deg=0), seeded(0))
    assert blurred[..., 20:44].mean().item() == pytest.approx(0.735, abs=0.02)


def test_motion_leaves_edges_along_it() -> None:
    edge = torch.zeros(1, 3, 48, 48)
    edge[..., 24:, :] = 0.6
    along = degrade(edge, Blur(kind="motion", size_px=15, angle_deg=0), seeded(0))
    across = degrade(edge, Blur(kind="motion", size_px=15, angle_deg=90), seeded(0))
    torch.testing.assert_close(along, edge, atol=2e-3, rtol=0)
    assert (across - edge).abs().max() > 0.2


def test_noise_on_top_has_its_sigma() -> None:
    grey = torch.full((1, 3, 128, 128), 0.5)
    assert (degrade(grey, Blur(noise_sigma_255=3), seeded(0)) * 255).std().item() == pytest.approx(3, rel=0.03)


def test_srgb_round_trips_and_meets_known_values() -> None:
    values = torch.linspace(0, 1, 256)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-5, rtol=0)
    assert srgb_to_linear(torch.tensor(0.5)).item() == pytest.approx(0.21404, abs=1e-4)


def dots(height: int = 65, width: int = 65) -> torch.Tensor:
    """Single bright pixels, 16 apart, on black."""
    image = torch.zeros(1, 3, height, width)
    image[..., 16:-8:16, 16:-8:16] = 1
    return image


def test_frames_at_rest_change_nothing() -> None:
    images = torch.rand(2, 3, 24, 31, generator=seeded(0))
    for linear in (True, False):
        params = Blur(kind="motion", size_px=1, frames=9, linear=linear)
        torch.testing.assert_close(degrade(images, params, seeded(0)), images, atol=1e-4, rtol=0)


def test_frames_are_copies_in_a_row() -> None:
    # Three frames, 6 px apart: a dot becomes three with a third of the value each.
    params = Blur(kind="motion", size_px=13, angle_deg=0, frames=3, linear=False)
    made = degrade(dots(), params, seeded(0))[0, 0]
    row = made[32, 32 - 8 : 32 + 8]
    expected = torch.zeros(16)
    expected[[2, 8, 14]] = 1 / 3
    torch.testing.assert_close(row, expected, atol=0.02, rtol=0)


def test_light_and_display_values_average_differently() -> None:
    # One of two frames is white: half the light is 0.735 in display values.
    params = {"kind": "motion", "size_px": 9, "angle_deg": 0, "frames": 2}
    peaks = [degrade(dots(), Blur(**params, linear=x), seeded(0))[0, 0, 32, 28].item() for x in (True, False)]
    assert peaks == pytest.approx([0.735, 0.5], abs=0.01)


def test_a_continuous_movement_is_its_kernel() -> None:
    # A roll too small to see turns the same blur over to the frames.
    coarse = torch.rand(1, 3, 12, 12, generator=seeded(0))
    images = torch.nn.functional.interpolate(coarse, size=(72, 72), mode="bicubic", align_corners=False).clamp(0, 1)
    for params in (Blur(kind="motion", size_px=11, angle_deg=30), Blur(kind="shake", size_px=13)):
        kernel = degrade(images, params, seeded(0))
        frames = degrade(images, params.override({"roll_deg": 1e-6}), seeded(0))
        assert (kernel - images).abs().max() > 0.1
        difference = (frames - kernel)[..., 8:-8, 8:-8].abs()
        assert difference.mean() < 0.01
        assert difference.max() < 0.08


@pytest.mark.parametrize(("roll_deg", "zoom"), [(12.0, 1.0), (0.0, 1.2)])
def test_roll_and_zoom_blur_more_away_from_their_centre(roll_deg: float, zoom: float) -> None:
    params = Blur(kind="motion", size_px=1, roll_deg=roll_deg, zoom=zoom, linear=False)
    made = degrade(dots(129, 129), params, seeded(3))[0, 0]
    peaks = torch.nn.functional.max_pool2d(made[None, None, 8:-8, 8:-8], 16)[0, 0]
    assert peaks.max() > 2.5 * peaks.min()
    # A roll smears around the centre, a zoom towards it; both keep the light.
    assert made.sum().item() == pytest.approx(dots(129, 129)[0, 0].sum().item(), rel=0.1)


def test_roll_turns_by_its_angle() -> None:
    # Two frames of a bar: half the roll to either side.
    bar = torch.zeros(1, 3, 128, 128)
    bar[..., 62:66, :] = 1
    params = Blur(kind="motion", size_px=1, roll_deg=20, frames=2, linear=False)
    made = degrade(bar, params, seeded(0))[0, 0]
    left, right = (np.flatnonzero(made[:, column].numpy() > 0.2) for column in (10, 118))
    slopes = [(right.max() - left.min()) / 108, (right.min() - left.max()) / 108]
    assert slopes == pytest.approx([math.tan(math.radians(10)), -math.tan(math.radians(10))], abs=0.08)


def test_frames_equal_scipy() -> None:
    height, width, turns = 40, 64, (-0.5, 0.0, 0.5)
    coarse = torch.rand(1, 3, 10, 16, generator=seeded(0), dtype=torch.float64)
    images = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    params = Blur(kind="motion", size_px=13, angle_deg=30, roll_deg=40, zoom=1.3, frames=3, linear=False)
    # The first draw is the centre of the turn, here in the pixels of scipy: rows and columns from 0.
    size = np.array([height, width])
    centre = (torch.rand(1, 2, generator=seeded(5), dtype=torch.float64)[0].numpy() - 0.5) * size + (size - 1) / 2
    frames: list[np.ndarray] = []
    for turn in turns:
        angle, scale = math.radians(40) * turn, 1.3**-turn
        # A turn to the left as it is seen, with rows pointing down.
        matrix = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shift = 12 * turn * np.array([-math.sin(math.radians(30)), math.cos(math.radians(30))])
        offset = centre - matrix @ (centre + shift)
        warped = [
            ndimage.affine_transform(plane, matrix, offset, order=1, mode="reflect") for plane in images[0].numpy()
        ]
        frames.append(np.stack(warped))
    made = degrade(images, params, seeded(5))[0].numpy()
    assert np.abs(made - images[0].numpy()).max() > 0.1
    # The middle of 200 steps is a tenth of a pixel away at most.
    np.testing.assert_allclose(made, np.mean(frames, axis=0), atol=0.01)


def test_behind_an_object_lies_what_is_around_it() -> None:
    images, shapes = torch.full((1, 3, 96, 96), 0.2), torch.zeros(1, 1, 96, 96)
    shapes[..., 30:60, 30:60] = 1
    filled = background_without(images + 0.7 * shapes, shapes)
    rim = filled[..., 31:34, 31:59]
    torch.testing.assert_close(rim, torch.full_like(rim, 0.2))
    torch.testing.assert_close(filled[..., :30, :], images[..., :30, :])


def test_an_object_moves_before_a_still_scene() -> None:
    images = torch.rand(1, 3, 128, 128, generator=seeded(0))
    params = Blur(kind="motion", size_px=1, object_px=12, object_share=0.4, frames=9)
    changed = (degrade(images, params, seeded(1)) - images).abs().mean(1)[0] > 0.02
    share = changed.float().mean().item()
    assert 0.05 < share < 0.5
    assert not changed[:2].any()


def test_a_batch_of_movements_gives_each_picture_what_it_gets_alone() -> None:
    # With straight movements about no centre, nothing is random.
    images = torch.rand(3, 3, 40, 52, generator=seeded(0))
    params = [
        Blur(kind="motion", size_px=9, angle_deg=20, frames=7),
        Blur(kind="motion", size_px=5, angle_deg=-60, linear=False),
        Blur(kind="motion", size_px=15, frames=12, linear=False),
    ]
    alone = torch.cat([degrade(image[None], p, seeded(0)) for image, p in zip(images, params, strict=True)])
    torch.testing.assert_close(degrade(images, params, seeded(0)), alone, atol=1e-5, rtol=0)


def test_a_given_defocus_stands_still() -> None:
    spec, source = parse("blur:kind=defocus"), seeded(0)
    for _ in range(200):
        drawn = spec.draw(source)
        assert isinstance(drawn, Blur)
        assert not drawn.varies
        assert 3 <= drawn.size_px <= 13
    moved = parse("blur:kind=defocus,frames=9,size_px=20").draw(source)
    assert isinstance(moved, Blur)
    assert (moved.frames, moved.size_px) == (9, 20)


def test_draws_hold_all_that_is_said_of_them() -> None:
    source = seeded(0)
    draws = [Blur.draw(source) for _ in range(1000)]
    varied = [p for p in draws if p.varies]
    assert len(varied) / 1000 == pytest.approx(0.6, abs=0.05)
    assert {p.frames for p in varied} == {0, *range(7, 16)}
    assert any(p.object_px and p.size_px == 1 for p in varied)
    assert any(p.object_px and p.size_px > 1 for p in varied)
    assert all(p.linear for p in draws if not p.varies)
    assert 0.4 < sum(p.linear for p in varied) / len(varied) < 0.6
    assert max(p.size_px for p in draws) <= 41
