"""Low light: too few photons, so dark, off in colour and noisy at once.

The picture is taken to linear light by a power (the drawn `gamma`: above 2.2 it also crushes the shadows), exposed too
short, tinted, given sensor noise where noise arises, and encoded again for display by the usual power of 1 / 2.2. What
the file then rounds to whole levels is lost: at 1/200 white is level 23 of 255.
"""

from collections.abc import Sequence
from typing import Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations.base import Degradation, chance, log_uniform, normal_like, per_image, uniform

_DISPLAY_GAMMA = 2.2
# A steep curve with a shorter exposure, or more photon noise than this share of it, would leave nothing visible.
_STEEP_FROM = 0.02
_MOST_SHOT = 0.05


class LowLight(Degradation):
    """An underexposed picture with the noise of its sensor."""

    exposure: float = pydantic.Field(default=0.12, gt=0, le=1)
    """Share of the light that a good exposure would have had."""
    gamma: float = pydantic.Field(default=2.2, ge=1, le=6)
    """Power that takes the picture to linear light; above 2.2 shadows get darker than the exposure alone makes them."""
    cast_red: float = pydantic.Field(default=1.0, ge=0.5, le=1.5)
    """Gain of red relative to green, in linear light."""
    cast_blue: float = pydantic.Field(default=1.0, ge=0.5, le=1.5)
    """Gain of blue relative to green, in linear light."""
    read_sigma: float = pydantic.Field(default=0.001, ge=0, le=0.1)
    """Standard deviation of the noise that is there without light; linear light, 1 is white."""
    shot: float = pydantic.Field(default=0.001, ge=0, le=0.1)
    """Photon noise has the variance `shot * light`; linear light, 1 is white."""
    rounded: bool = False
    """Round the result to whole levels of 0..255, as a file of 8 bits does."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Exposures of 1/200 to 2/5, dark ones as often as moderate ones; see `docs/degradations.md` for LOL's."""
        exposure = log_uniform(generator, 0.005, 0.4)
        # The pairs of LOL have a steep curve.
        steep = exposure > _STEEP_FROM and chance(generator, 0.5)
        return cls(
            exposure=exposure,
            gamma=uniform(generator, 3.0, 4.6) if steep else uniform(generator, 1.5, 3.0),
            cast_red=uniform(generator, 0.7, 1.4),
            cast_blue=uniform(generator, 0.7, 1.3),
            read_sigma=min(0.003, exposure * log_uniform(generator, 0.0003, 0.05)),
            shot=log_uniform(generator, 0.00001, min(0.002, _MOST_SHOT * exposure)),
            rounded=True,
        )

    def override(self, fixed: dict[str, object]) -> Self:
        """Replace drawn values; a given exposure takes curve and noise, unless given too, to what it leaves visible."""
        if "exposure" not in fixed:
            return super().override(fixed)
        exposure = super().override(fixed).exposure
        fitted: dict[str, object] = {
            "read_sigma": min(0.003, self.read_sigma * exposure / self.exposure),
            "shot": min(self.shot, _MOST_SHOT * exposure),
        }
        if exposure <= _STEEP_FROM:
            fitted["gamma"] = min(self.gamma, 3.0)
        return super().override(fitted | fixed)

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        gamma = per_image([p.gamma for p in params], images)
        gains = [(p.exposure * p.cast_red, p.exposure, p.exposure * p.cast_blue) for p in params]
        gain = torch.tensor(gains, dtype=images.dtype, device=images.device)[:, :, None, None]
        light = gain * images.clamp(min=0) ** gamma
        read = per_image([p.read_sigma for p in params], images)
        shot = per_image([p.shot for p in params], images)
        noisy = light + (shot * light + read**2).sqrt() * normal_like(images, generator)
        shown = noisy.clamp(0, 1) ** (1 / _DISPLAY_GAMMA)
        rounded = torch.tensor([p.rounded for p in params], device=images.device).view(-1, 1, 1, 1)
        return torch.where(rounded, (shown * 255).round() / 255, shown)
