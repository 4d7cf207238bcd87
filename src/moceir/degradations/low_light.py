"""Low light: too few photons, so dark, off in colour and noisy at once.

The picture is taken to linear light by a power (the drawn `gamma`: above 2.2 it also crushes the shadows), exposed too
short, tinted, given sensor noise where noise arises, and encoded again for display by the usual power of 1 / 2.2.
"""

from collections.abc import Sequence
from typing import Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations.base import Degradation, log_uniform, normal_like, per_image, uniform

_DISPLAY_GAMMA = 2.2


class LowLight(Degradation):
    """An underexposed picture with the noise of its sensor."""

    exposure: float = pydantic.Field(default=0.12, gt=0, le=1)
    """Share of the light that a good exposure would have had."""
    gamma: float = pydantic.Field(default=2.2, ge=1, le=4)
    """Power that takes the picture to linear light; above 2.2 shadows get darker than the exposure alone makes them."""
    cast_red: float = pydantic.Field(default=1.0, ge=0.5, le=1.5)
    """Gain of red relative to green, in linear light."""
    cast_blue: float = pydantic.Field(default=1.0, ge=0.5, le=1.5)
    """Gain of blue relative to green, in linear light."""
    read_sigma: float = pydantic.Field(default=0.001, ge=0, le=0.1)
    """Standard deviation of the noise that is there without light; linear light, 1 is white."""
    shot: float = pydantic.Field(default=0.001, ge=0, le=0.1)
    """Photon noise has the variance `shot * light`; linear light, 1 is white."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Exposures of 1/20 to 2/5, dark ones as often as moderate ones."""
        exposure = log_uniform(generator, 0.05, 0.4)
        return cls(
            exposure=exposure,
            # Crushed shadows on top of the shortest exposures would leave nothing in them to restore.
            gamma=uniform(generator, 1.8, 2.4 + 1.5 * exposure),
            cast_red=uniform(generator, 0.8, 1.2),
            cast_blue=uniform(generator, 0.8, 1.2),
            read_sigma=log_uniform(generator, 0.0002, 0.003),
            shot=log_uniform(generator, 0.00005, 0.002),
        )

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        gamma = per_image([p.gamma for p in params], images)
        gains = [(p.exposure * p.cast_red, p.exposure, p.exposure * p.cast_blue) for p in params]
        gain = torch.tensor(gains, dtype=images.dtype, device=images.device)[:, :, None, None]
        light = gain * images.clamp(min=0) ** gamma
        read = per_image([p.read_sigma for p in params], images)
        shot = per_image([p.shot for p in params], images)
        noisy = light + (shot * light + read**2).sqrt() * normal_like(images, generator)
        return noisy.clamp(0, 1) ** (1 / _DISPLAY_GAMMA)
