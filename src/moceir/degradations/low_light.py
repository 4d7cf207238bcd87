"""Low light: too few photons make a picture dark, tinted and noisy.

The picture is converted to linear light by a power (``gamma``; values above 2.2 also crush the shadows), underexposed,
tinted, given sensor noise, and encoded for display with the usual power of 1 / 2.2. Rounding to 8 bits then loses
detail: at an exposure of 1/200, white is level 23 of 255.
"""

from collections.abc import Sequence
from typing import Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations.base import Degradation, chance, log_uniform, normal_like, per_image, uniform

_DISPLAY_GAMMA = 2.2
# A steep curve at shorter exposures, or more photon noise relative to the exposure, would leave nothing visible.
_STEEP_FROM = 0.02
_MOST_SHOT = 0.05


class LowLight(Degradation):
    """Underexposure with sensor noise."""

    exposure: float = pydantic.Field(default=0.12, gt=0, le=1)
    """Fraction of the light of a correct exposure."""
    gamma: float = pydantic.Field(default=2.2, ge=1, le=6)
    """Power that converts the picture to linear light; above 2.2 it darkens the shadows further."""
    cast_red: float = pydantic.Field(default=1.0, ge=0.5, le=1.5)
    """Gain of red relative to green, in linear light."""
    cast_blue: float = pydantic.Field(default=1.0, ge=0.5, le=1.5)
    """Gain of blue relative to green, in linear light."""
    read_sigma: float = pydantic.Field(default=0.001, ge=0, le=0.1)
    """Standard deviation of the signal-independent noise, in linear light, where 1 is white."""
    shot: float = pydantic.Field(default=0.001, ge=0, le=0.1)
    """Strength of the photon noise, whose variance is ``shot * light``, in linear light, where 1 is white."""
    rounded: bool = False
    """Whether to round the result to integer levels of 0..255, as in an 8-bit file."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw exposures log-uniformly from 1/200 to 2/5; for those of LOL see ``docs/degradations.md``."""
        exposure = log_uniform(generator, 0.005, 0.4)
        # The pairs of LOL show a steep curve.
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
        """Replace drawn values; a fixed exposure adapts curve and noise, unless fixed, to keep the picture visible."""
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
