"""Low light: dark, noisy, tinted, and still a picture."""

import pytest
import torch

from moceir.degradations import LowLight, degrade


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_darker_and_still_in_order() -> None:
    ramp = torch.linspace(0, 1, 64).expand(20, 3, 64, 64)
    source = seeded(0)
    degraded = degrade(ramp, [LowLight.draw(source) for _ in range(20)], source)
    assert (degraded.mean((1, 2, 3)) < 0.75 * 0.5).all()
    columns = degraded.mean((1, 2))
    # Sixteen steps of brightness can still be told apart, each by more than an 8-bit level.
    steps = columns.view(20, 16, 4).mean(2).diff(dim=1)
    assert (steps[:, 3:] > 1 / 255).all()


def test_formula_without_noise() -> None:
    images = torch.rand(1, 3, 8, 8, generator=seeded(0))
    params = LowLight(exposure=0.1, gamma=2.5, cast_red=1.2, cast_blue=0.8, read_sigma=0, shot=0)
    gains = torch.tensor([0.12, 0.1, 0.08]).view(1, 3, 1, 1)
    torch.testing.assert_close(degrade(images, params, seeded(0)), (gains * images**2.5) ** (1 / 2.2))


def test_noise_is_that_of_a_sensor() -> None:
    params = LowLight(exposure=0.5, gamma=2.2, read_sigma=0.002, shot=0.0005)
    degraded = degrade(torch.ones(1, 3, 256, 256), params, seeded(0))
    light = degraded**2.2
    assert light.mean().item() == pytest.approx(0.5, rel=0.01)
    assert light.var().item() == pytest.approx(0.0005 * 0.5 + 0.002**2, rel=0.03)
