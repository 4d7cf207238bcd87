"""Lost resolution: a picture scaled down and up again, as by a small sensor, a messenger or a web page.

Phones sharpen downscaled pictures, and messengers store them as JPEG; both happen before upscaling.
"""

from collections.abc import Sequence
from typing import Literal, Self

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from moceir.degradations.base import Degradation, chance, choice, log_uniform, uniform
from moceir.degradations.jpeg import Jpeg

PROTOCOL_SCALES = (2.0, 4.0)
"""Standard factors for comparing super-resolution methods."""


class Resize(Degradation):
    """Downscaling, followed by upscaling to the original size."""

    scale: float = pydantic.Field(default=2.0, ge=1, le=16)
    """Downscaling factor of each side."""
    up: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    """Interpolation for upscaling; ``nearest`` leaves blocks."""
    down: Literal["bicubic", "bilinear", "area", "nearest"] = "bicubic"
    """Interpolation for downscaling; all but ``nearest`` avoid aliasing."""
    sharpen: float = pydantic.Field(default=0.0, ge=0, le=5)
    """Strength of sharpening: the small picture's difference from its 3x3 mean is multiplied by it and added."""
    quality: int = pydantic.Field(default=0, ge=0, le=100)
    """JPEG quality of the small picture; 0 for no JPEG."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw, with equal chance, plain bicubic scaling (mostly by 2 or 4) or that of phones and messengers."""
        plain = chance(generator, 0.5)
        scale = (
            choice(generator, PROTOCOL_SCALES)
            if chance(generator, 0.8 if plain else 0.2)
            else log_uniform(generator, 1.2, 4)
        )
        up = "nearest" if chance(generator, 0.1) else choice(generator, ("bilinear", "bicubic"))
        if plain:
            return cls(scale=scale, up=up)
        return cls(
            scale=scale,
            up=up,
            down="nearest" if chance(generator, 0.1) else choice(generator, ("bicubic", "bilinear", "area")),
            sharpen=uniform(generator, 0.2, 1.5) if chance(generator, 0.5) else 0.0,
            quality=int(uniform(generator, 30, 96)) if chance(generator, 0.7) else 0,
        )

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        # One picture at a time, because the small sizes differ.
        return torch.cat([p._resized(image, generator) for p, image in zip(params, images.split(1), strict=True)])

    def _resized(self, image: Tensor, generator: torch.Generator) -> Tensor:
        size = (image.shape[-2], image.shape[-1])
        smaller = [max(1, round(length / self.scale)) for length in size]
        small = _reduced(image, smaller, self.down)
        if self.sharpen > 0:
            detail = small - F.avg_pool2d(small, 3, stride=1, padding=1, count_include_pad=False)
            small = (small + self.sharpen * detail).clamp(0, 1)
        if self.quality > 0:
            small = Jpeg.apply(small, [Jpeg(quality=self.quality)], generator)
        if self.up == "nearest":
            return F.interpolate(small, size, mode="nearest-exact")
        return F.interpolate(small, size, mode=self.up, align_corners=False)


def _reduced(image: Tensor, size: list[int], kernel: str) -> Tensor:
    """Downscale a picture ``(1, 3, H, W)`` to ``size`` with a kernel of ``Resize.down``; the result is in [0, 1]."""
    if kernel == "area":
        return F.interpolate(image, size, mode="area")
    if kernel == "nearest":
        return F.interpolate(image, size, mode="nearest-exact")
    return F.interpolate(image, size, mode=kernel, align_corners=False, antialias=True).clamp(0, 1)
