"""Blur: its kernels, and that it happens in linear light."""

from typing import Literal

import numpy as np
import pytest
import torch
from scipy import ndimage

from moceir.degradations import Blur, degrade
from moceir.degradations._fields import convolve, reflect_pad
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
