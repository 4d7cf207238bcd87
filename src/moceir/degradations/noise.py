"""Sensor noise: Gaussian as in denoising benchmarks, optionally with a photon (shot) part.

Convention:
    The Gaussian part follows the published protocol exactly: ``clean * 255 + sigma * N(0, 1)``, clipped to 0..255 and
    *truncated* to integers, as in a conversion to unsigned bytes. Rounding instead would shift the mean by 0.5.
"""

from collections.abc import Sequence
from typing import Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations.base import Degradation, chance, choice, log_uniform, normal_like, per_image, uniform

PROTOCOL_SIGMAS_255 = (15.0, 25.0, 50.0)
"""Standard noise levels for comparing denoisers (Zhang et al. 2017, DnCNN)."""


class Noise(Degradation):
    """Gaussian or Poisson-Gaussian noise; the result has integer 8-bit levels."""

    sigma_255: float = pydantic.Field(
        default=25.0, ge=0, le=255, validation_alias=pydantic.AliasChoices("sigma_255", "sigma")
    )
    """Standard deviation of the Gaussian part, in levels of 0..255; short form ``sigma``."""
    shot: float = pydantic.Field(default=0.0, ge=0, le=100)
    """Levels per photon: the photon part has the variance ``shot * level``. 0 for none."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw the protocol's 15, 25 or 50 (half); else Poisson-Gaussian (one in five) or a sigma uniform in 0..55."""
        if chance(generator, 0.5):
            return cls(sigma_255=choice(generator, PROTOCOL_SIGMAS_255))
        if chance(generator, 0.2):
            return cls(**_draw_sensor(generator))
        return cls(sigma_255=uniform(generator, 0, 55))

    def override(self, fixed: dict[str, object]) -> Self:
        """Replace drawn values; a fixed sigma removes the photon part unless ``shot`` is fixed, too."""
        return super().override({"shot": 0.0} | fixed if "sigma_255" in fixed else fixed)

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        levels = images * 255
        # Level k stored as float(k) / 255 may become k - 1e-5, which truncation would turn into k - 1.
        whole = levels.round()
        levels = torch.where((levels - whole).abs() < 1e-3, whole, levels)
        photonic = [i for i, p in enumerate(params) if p.shot > 0]
        if photonic:
            gain = per_image([params[i].shot for i in photonic], images)
            levels[photonic] = gain * torch.poisson(levels[photonic].clamp(min=0) / gain, generator=generator)
        sigma = per_image([p.sigma_255 for p in params], images)
        noisy = levels + sigma * normal_like(images, generator)
        return noisy.clamp(0, 255).floor() / 255


class PoissonGaussian(Noise):
    """Sensor noise that always has both parts: photon (Poisson) and read-out (Gaussian) noise (Foi et al. 2008)."""

    shot: float = pydantic.Field(default=2.0, ge=0, le=100)
    """Levels per photon: the photon part has the variance ``shot * level``. 0 for none."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw a good sensor in daylight to a poor one in the dark: 6 to 38 levels at mid-grey, mostly 10 to 30."""
        return cls(**_draw_sensor(generator))

    def override(self, fixed: dict[str, object]) -> Self:
        """Replace drawn values; unlike for ``noise``, a fixed sigma keeps the drawn photon part."""
        return super().override({"shot": self.shot} | fixed)


def _draw_sensor(generator: torch.Generator) -> dict[str, float]:
    """Draw the two parameters of Poisson-Gaussian noise."""
    return {"sigma_255": uniform(generator, 0, 20), "shot": log_uniform(generator, 0.3, 8)}
