"""Noise against the published protocol and against statistics."""

import pytest
import torch

from moceir.degradations import Noise, PoissonGaussian, degrade


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sigma", [0.0, 5.0, 15.0, 25.0])
def test_spread_is_sigma_on_mid_grey(sigma: float) -> None:
    noise = degrade(torch.full((1, 3, 256, 256), 128 / 255), Noise(sigma_255=sigma), seeded(0)) * 255 - 128
    # Truncation takes half a level from the mean and adds the variance of a uniform step.
    assert noise.mean().item() == pytest.approx(-0.5 if sigma else 0, abs=0.2)
    assert noise.std().item() == pytest.approx((sigma**2 + 1 / 12) ** 0.5 if sigma else 0, rel=0.01)


def test_is_the_protocol_bit_by_bit() -> None:
    levels = torch.randint(0, 256, (2, 3, 32, 32), generator=seeded(1))
    noisy = degrade(levels / 255, Noise(sigma_255=50), seeded(2))
    samples = torch.randn(levels.shape, generator=seeded(2))
    expected = (levels + 50 * samples).clamp(0, 255).to(torch.uint8)
    assert torch.equal((noisy * 255).round().to(torch.uint8), expected)
    assert torch.equal(noisy, expected / 255)


def test_no_noise_returns_every_byte_exactly() -> None:
    levels = torch.arange(256).repeat(3).view(1, 3, 16, 16) / 255
    assert torch.equal(degrade(levels, Noise(sigma_255=0), seeded(0)), levels)


@pytest.mark.parametrize("level", [40, 160])
def test_shot_variance_grows_with_the_level(level: int) -> None:
    noisy = degrade(torch.full((1, 3, 256, 256), level / 255), Noise(sigma_255=3, shot=2), seeded(0)) * 255
    assert noisy.var().item() == pytest.approx(2 * level + 9 + 1 / 12, rel=0.03)


def test_drawn_levels_hold_the_protocols_share() -> None:
    source = seeded(0)
    draws = [Noise.draw(source) for _ in range(2000)]
    for sigma in (15.0, 25.0, 50.0):
        assert sum(d.sigma_255 == sigma for d in draws) / len(draws) == pytest.approx(1 / 6, abs=0.03)
    assert max(d.sigma_255 for d in draws) <= 55
    assert sum(d.shot > 0 for d in draws) / len(draws) == pytest.approx(0.1, abs=0.03)


def test_poisson_gaussian_is_that_noise_and_always_photonic() -> None:
    images = torch.rand(1, 3, 32, 32, generator=seeded(1))
    pair = [degrade(images, kind(sigma_255=4, shot=3), seeded(2)) for kind in (Noise, PoissonGaussian)]
    assert torch.equal(*pair)
    source = seeded(0)
    draws = [PoissonGaussian.draw(source) for _ in range(300)]
    assert all(0.3 <= d.shot <= 8 and 0 <= d.sigma_255 <= 20 for d in draws)
