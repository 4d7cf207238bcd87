"""Low light: dark, noisy, tinted, and still a picture."""

import math

import pytest
import torch

from moceir.degradations import LowLight, degrade, parse


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_darker_and_still_in_order() -> None:
    ramp = torch.linspace(0, 1, 64).expand(60, 3, 64, 64)
    source = seeded(0)
    degraded = degrade(ramp, [LowLight.draw(source) for _ in range(60)], source)
    assert (degraded.mean((1, 2, 3)) < 0.85 * 0.5).all()
    # Eight steps of brightness can still be told apart in the brighter half, however dark it is.
    steps = degraded.mean((1, 2)).view(60, 16, 4).mean(2).diff(dim=1)[:, 7:]
    assert (steps > 0.25 / 255).all()


def test_drawn_exposures_reach_from_a_moonlit_room_to_a_cloudy_day() -> None:
    source = seeded(0)
    draws = [LowLight.draw(source) for _ in range(2000)]
    exposures = torch.tensor([p.exposure for p in draws]).log()
    # Uniform in the logarithm: a tenth of them in each tenth of the way from 1/200 to 2/5.
    low, high = math.log(0.005), math.log(0.4)
    counts = torch.histc((exposures - low) / (high - low), 10, 0, 1)
    assert counts.sum() == 2000
    assert (counts > 150).all()
    assert min(p.gamma for p in draws) < 1.6
    assert max(p.gamma for p in draws if p.exposure < 0.02) <= 3
    assert max(p.gamma for p in draws) > 4
    assert all(p.rounded for p in draws)


@pytest.mark.parametrize("exposure", [0.005, 0.03, 0.4])
def test_a_given_exposure_leaves_something_to_see(exposure: float) -> None:
    spec, source = parse(f"low_light:exposure={exposure}"), seeded(0)
    for _ in range(200):
        drawn = spec.draw(source)
        assert isinstance(drawn, LowLight)
        white = degrade(torch.ones(1, 3, 16, 16), drawn, source) ** 2.2
        assert white.mean() > 3 * (drawn.shot * exposure + drawn.read_sigma**2) ** 0.5
    exact = parse(f"low_light:exposure={exposure},read_sigma=0.1,shot=0.1,gamma=4").draw(source)
    assert exact == LowLight(**exact.model_dump() | {"read_sigma": 0.1, "shot": 0.1, "gamma": 4.0})


def test_rounding_leaves_few_levels() -> None:
    ramp = torch.linspace(0, 1, 256).expand(1, 3, 8, 256)
    params = LowLight(exposure=0.005, read_sigma=0, shot=0, rounded=True)
    levels = degrade(ramp, params, seeded(0)) * 255
    # By hand: white is 255 * 0.005^(1 / 2.2) = 22.9.
    assert levels.unique().tolist() == pytest.approx(list(range(24)), abs=1e-4)
    smooth = degrade(ramp, params.override({"rounded": False}), seeded(0)) * 255
    assert (levels - smooth).abs().max() <= 0.501
    assert len(smooth.unique()) > 200


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
