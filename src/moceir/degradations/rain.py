"""Rain: bright streaks in one or more layers, added to the picture or blended in screen mode.

A streak is a drop smeared by its fall during the exposure. Each streak is drawn as a line of points with soft ends, and
one blur gives all of them their width. Unlike sparse noise blurred with one kernel, this allows each streak its own
length, brightness and slight tilt.
"""

import math
from collections.abc import Sequence
from typing import Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations._fields import gaussian_blur, lift, splat
from moceir.degradations.base import Degradation, chance, choice, log_uniform, per_image, uniform

# Smallest and largest length of a single streak relative to `length_px`.
_SHORTEST, _LONGEST = 0.5, 1.5
_TILT_RAD = math.radians(2.0)
# Splatting to four neighbours already blurs, with this standard deviation (a triangle of width 2).
_SPLAT_SIGMA_PX = math.sqrt(1 / 6)
_MIST_LEVEL = 0.8
# Factors for length and width, density and strength of the streaks from one layer to the next one behind it.
_SMALLER, _DENSER, _FAINTER = 0.6, 1.4, 0.7


class Rain(Degradation):
    """Rain streaks in layers at several distances, and a veil of mist; never darkens a pixel."""

    angle_deg: float = pydantic.Field(default=10.0, ge=-90, le=90)
    """Direction of fall relative to vertical; positive is towards the lower right."""
    length_px: float = pydantic.Field(default=30.0, ge=1, le=200)
    """Typical length of a streak in pixels."""
    width_px: float = pydantic.Field(default=1.2, ge=0.3, le=10)
    """Width of a streak in pixels at half its brightness."""
    density: float = pydantic.Field(default=0.08, ge=0, le=1)
    """Fraction of the picture that the streaks would cover without overlap."""
    strength: float = pydantic.Field(default=0.6, ge=0, le=1)
    """Brightness of the brightest streaks, where 1 is white on black."""
    screen: float = pydantic.Field(default=0.5, ge=0, le=1)
    """Blend mode: 0 adds and clips; 1 is screen mode, where a white streak hides the scene behind it."""
    far_strength: float = pydantic.Field(default=0.0, ge=0, le=1)
    """Brightness of a second layer of finer, shorter and denser streaks; 0 for none."""
    mist: float = pydantic.Field(default=0.0, ge=0, le=1)
    """Opacity of a grey veil that brightens dark regions; 0 for none."""
    layers: int = pydantic.Field(default=1, ge=1, le=5)
    """Number of layers of streaks; each further layer is finer, shorter, denser and fainter."""
    spread_deg: float = pydantic.Field(default=0.0, ge=0, le=45)
    """Step between the directions of the layers, which deviate from ``angle_deg`` to alternating sides."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw light to heavy rain, half of it in two or three layers; the input PSNR is mostly from 17 to 35 dB."""
        angle = torch.randn((), generator=generator, device=generator.device).item() * 18
        layers, length = choice(generator, (1, 1, 2, 3)), log_uniform(generator, 10, 90)
        return cls(
            angle_deg=min(max(angle, -60.0), 60.0),
            length_px=length,
            # Wider streaks would look like flakes.
            width_px=log_uniform(generator, 0.7, min(4, length / 6)),
            # Every layer adds to the total density.
            density=log_uniform(generator, 0.025, 0.25) / layers**0.5,
            strength=uniform(generator, 0.15, 1),
            screen=uniform(generator, 0, 1),
            mist=uniform(generator, 0.02, 0.2) if chance(generator, 0.2) else 0.0,
            layers=layers,
            spread_deg=uniform(generator, 0, 8) if layers > 1 else 0.0,
        )

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        height, width = images.shape[-2:]
        # One picture at a time, because the number of streaks differs.
        layers = torch.stack([p._streaks(height, width, images, generator) for p in params])[:, None]
        screen = per_image([p.screen for p in params], images)
        veiled = lift(images, per_image([p.mist for p in params], images), _MIST_LEVEL)
        return veiled + layers * (1 - screen * veiled)

    def _streaks(self, height: int, width: int, like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw all layers of one picture, ``(H, W)`` in [0, 1]."""
        size = (height, width)
        near = draw_streaks(size, self.angle_deg, self.length_px, self.width_px, self.density, like, generator)
        light = self.strength * near
        if self.far_strength > 0:
            length, breadth = 0.4 * self.length_px, max(0.3, 0.5 * self.width_px)
            far = draw_streaks(size, self.angle_deg, length, breadth, min(1.0, 2 * self.density), like, generator)
            light = light + self.far_strength * far
        for layer in range(1, self.layers):
            angle = self.angle_deg + self.spread_deg * math.ceil(layer / 2) * (1 if layer % 2 else -1)
            smaller, density = _SMALLER**layer, min(1.0, self.density * _DENSER**layer)
            length, breadth = max(1.0, smaller * self.length_px), max(0.3, smaller * self.width_px)
            streaks = draw_streaks(size, angle, length, breadth, density, like, generator)
            light = light + self.strength * _FAINTER**layer * streaks
        return light.clamp(max=1)


def draw_streaks(
    size: tuple[int, int],
    angle_deg: float,
    length_px: float,
    width_px: float,
    density: float,
    like: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draw a plane of parallel streaks, the brightest of which reach about 1.

    Args:
        size: Height and width of the plane in pixels.
        angle_deg: Direction relative to vertical.
        length_px: Typical length of a streak in pixels.
        width_px: Width at half the brightness in pixels.
        density: Fraction of the plane that the streaks would cover without overlap.
        like: Any tensor with the target dtype and device.
        generator: Source of randomness.

    Returns:
        Brightness ``(H, W)``, at least 0; it exceeds 1 only where streaks cross.
    """
    sigma = width_px / (2 * math.sqrt(2 * math.log(2)))
    blur = math.sqrt(max(sigma**2 - _SPLAT_SIGMA_PX**2, 0.2**2))
    border = math.ceil(3 * blur) + 1
    height, width = size[0] + 2 * border, size[1] + 2 * border

    # Centres may lie outside by half the longest streak, so that small crops get as many per area as large ones.
    angle = math.radians(angle_deg)
    reach_y = _LONGEST * length_px / 2 * abs(math.cos(angle))
    reach_x = _LONGEST * length_px / 2 * (abs(math.sin(angle)) + _TILT_RAD)
    area = (height + 2 * reach_y) * (width + 2 * reach_x)
    count = math.ceil(density * area / (length_px * width_px)) if density > 0 else 0

    draws = torch.rand(5, count, 1, generator=generator, dtype=like.dtype, device=like.device)
    y = draws[0] * (height + 2 * reach_y) - reach_y
    x = draws[1] * (width + 2 * reach_x) - reach_x
    length = length_px * (_SHORTEST + (_LONGEST - _SHORTEST) * draws[2])
    # Many faint streaks and few bright ones, as for drops at all distances.
    brightness = 0.2 + 0.8 * draws[3] ** 1.5
    tilt = angle + _TILT_RAD * (2 * draws[4] - 1)

    points = math.ceil(_LONGEST * length_px) + 1
    along = torch.linspace(-1, 1, points, dtype=like.dtype, device=like.device)
    half = length / 2
    # Weight per pixel of length times the step between points, so that the peak of a line of this width is 1.
    weight = (brightness * length * (sigma * math.sqrt(2 * math.pi) / points)) * (1 - along**4)
    plane = splat(y + along * (half * torch.cos(tilt)), x + along * (half * torch.sin(tilt)), weight, height, width)
    return gaussian_blur(plane, blur)[border : border + size[0], border : border + size[1]]
