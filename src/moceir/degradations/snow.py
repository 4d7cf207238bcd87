"""Snow: flakes of several sizes at several distances, the near ones smeared by their fall, and a thin veil.

A flake is a small cluster of points joined by the blur of its layer, which makes it a ragged clump instead of a perfect
disc. Flakes hide the scene behind them, so they are blended over the picture instead of added.
"""

import math
from collections.abc import Sequence
from typing import Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations._fields import gaussian_blur, lift, splat
from moceir.degradations.base import Degradation, log_uniform, per_image, uniform

# Layers from far to near: size and smear relative to the parameters, fraction of the covered area, opacity.
_LAYERS = ((0.35, 0.3, 0.4, 0.6), (0.6, 0.6, 0.35, 0.8), (1.0, 1.0, 0.25, 1.0))
_POINTS = 24
_FLAKE_LEVEL = 0.97
_VEIL_LEVEL = 0.85


class Snow(Degradation):
    """Falling snow in three layers."""

    size_px: float = pydantic.Field(default=5.0, ge=0.5, le=100)
    """Diameter of the nearest flakes in pixels; the farthest ones have about a third of it."""
    density: float = pydantic.Field(default=0.06, ge=0, le=1)
    """Fraction of the picture that the flakes would cover without overlap."""
    strength: float = pydantic.Field(default=0.8, ge=0, le=1)
    """Opacity of the nearest flakes."""
    angle_deg: float = pydantic.Field(default=0.0, ge=-90, le=90)
    """Direction of fall relative to vertical; positive is towards the lower right."""
    smear: float = pydantic.Field(default=0.8, ge=0, le=20)
    """Distance of fall during the exposure, in diameters."""
    veil: float = pydantic.Field(default=0.05, ge=0, le=1)
    """Opacity of the veil of distant snow, which brightens dark regions."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw light to heavy snowfall."""
        return cls(
            size_px=log_uniform(generator, 2.5, 10),
            density=log_uniform(generator, 0.02, 0.15),
            strength=uniform(generator, 0.5, 1.0),
            angle_deg=uniform(generator, -45, 45),
            smear=log_uniform(generator, 0.2, 3),
            veil=uniform(generator, 0.0, 0.2),
        )

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        height, width = images.shape[-2:]
        cover = torch.stack([p._cover(height, width, images, generator) for p in params])[:, None]
        veiled = lift(images, per_image([p.veil for p in params], images), _VEIL_LEVEL)
        return veiled + cover * (_FLAKE_LEVEL - veiled).clamp(min=0)

    def _cover(self, height: int, width: int, like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the opacity of all flakes of one picture, ``(H, W)`` in [0, 1]."""
        clear = like.new_ones(height, width)
        for *layer, opacity in _LAYERS:
            clear = clear * (1 - self.strength * opacity * self._layer(layer, clear, generator))
        return 1 - clear

    def _layer(self, layer: list[float], like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the opacity ``(H, W)`` in [0, 1] of one layer, given as relative size, smear and density."""
        height, width = like.shape
        size = max(1.0, layer[0] * self.size_px)
        fall, density = layer[1] * self.smear * size, layer[2] * self.density
        blur = 0.2 * size
        margin = math.ceil(size + fall / 2 + 3 * blur)
        tall, wide = height + 2 * margin, width + 2 * margin
        count = math.ceil(density * tall * wide / size**2) if density > 0 else 0

        # Per flake: position, size, smear. Per point: position in the clump and along the fall.
        flakes = torch.rand(4, count, 1, generator=generator, dtype=like.dtype, device=like.device)
        points = torch.randn(2, count, _POINTS, generator=generator, dtype=like.dtype, device=like.device)
        along = torch.linspace(-0.5, 0.5, _POINTS, dtype=like.dtype, device=like.device) * fall * (0.5 + flakes[3])
        radius = size * (0.15 + 0.15 * flakes[2])
        angle = math.radians(self.angle_deg)
        y = flakes[0] * tall + radius * points[0] + along * math.cos(angle)
        x = flakes[1] * wide + radius * points[1] + along * math.sin(angle)

        # The mass of a flake depends only on its area, so a smeared flake is longer and fainter. The saturation below
        # gives clumps a solid centre and a soft edge.
        mass = 48 * radius**2 / _POINTS
        plane = gaussian_blur(splat(y, x, mass.expand_as(y), tall, wide), blur)
        return 1 - torch.exp(-plane[margin : margin + height, margin : margin + width])
