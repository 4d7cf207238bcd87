"""Lost resolution: a picture scaled down and up again, as by a small sensor, a messenger or a web page."""

from collections.abc import Sequence
from typing import Literal, Self

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from moceir.degradations.base import Degradation, chance, choice, log_uniform

PROTOCOL_SCALES = (2.0, 4.0)
"""The factors at which super-resolution is compared."""


class Resize(Degradation):
    """Antialiased bicubic reduction, then enlargement to the size that the picture had."""

    scale: float = pydantic.Field(default=2.0, ge=1, le=16)
    """Pixels of the picture per pixel of the small one, along each side."""
    up: Literal["nearest", "bilinear", "bicubic"] = "bicubic"
    """How the small picture is enlarged; `nearest` leaves blocks."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Half at the protocol's 2 and 4, the rest between 1.2 and 4; one in ten enlarged to visible blocks."""
        scale = choice(generator, PROTOCOL_SCALES) if chance(generator, 0.5) else log_uniform(generator, 1.2, 4)
        return cls(scale=scale, up="nearest" if chance(generator, 0.1) else choice(generator, ("bilinear", "bicubic")))

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        del generator
        # One picture at a time: each has its own small size.
        return torch.cat([p._resized(image) for p, image in zip(params, images.split(1), strict=True)])

    def _resized(self, image: Tensor) -> Tensor:
        size = (image.shape[-2], image.shape[-1])
        smaller = [max(1, round(length / self.scale)) for length in size]
        small = F.interpolate(image, smaller, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        if self.up == "nearest":
            return F.interpolate(small, size, mode="nearest-exact")
        return F.interpolate(small, size, mode=self.up, align_corners=False)
