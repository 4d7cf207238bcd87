"""Blur: camera shake, linear motion and defocus, computed in linear light as a lens and a shutter do."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal, Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations._fields import convolve, splat
from moceir.degradations.base import (
    Degradation,
    chance,
    choice,
    linear_to_srgb,
    normal_like,
    per_image,
    srgb_to_linear,
    uniform,
)

_PATH_STEPS = 200


class Blur(Degradation):
    """One blur kernel per picture, then a trace of sensor noise."""

    kind: Literal["shake", "motion", "defocus"] = "shake"
    """A wandering hand, a straight movement, or a lens out of focus."""
    size_px: float = pydantic.Field(default=15.0, ge=1, le=101)
    """Extent of the blur: of the path, of the line, or the diameter of the disc."""
    angle_deg: float = pydantic.Field(default=0.0, ge=-180, le=180)
    """Direction of a straight movement, from horizontal; the other kinds ignore it."""
    noise_sigma_255: float = pydantic.Field(default=0.0, ge=0, le=50)
    """Standard deviation of the noise on top, in levels of 0..255."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Half camera shake; the largest kernels are 31 pixels for shake, 25 for motion and 13 for defocus."""
        kind = "shake" if chance(generator, 0.5) else choice(generator, ("motion", "defocus"))
        largest = {"shake": 31, "motion": 25, "defocus": 13}[kind]
        return cls(
            kind=kind,
            size_px=uniform(generator, 3, largest),
            angle_deg=uniform(generator, -90, 90),
            noise_sigma_255=uniform(generator, 0, 2) if chance(generator, 0.7) else 0.0,
        )

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        kernels = blur_kernels(params, images, generator)
        blurred = linear_to_srgb(convolve(srgb_to_linear(images), kernels))
        return blurred + per_image([p.noise_sigma_255 / 255 for p in params], images) * normal_like(images, generator)


def blur_kernels(params: Sequence[Blur], like: Tensor, generator: torch.Generator) -> Tensor:
    """Build the kernels of a batch.

    Args:
        params: B records.
        like: Any tensor with the wanted dtype and device.
        generator: Source of the shake paths.

    Returns:
        `(B, K, K)`, K odd and large enough for the largest, each centred, at least 0 and summing to 1.
    """
    radius = math.ceil(max(p.size_px for p in params) / 2) + 1
    kernels: list[Tensor] = []
    for p in params:
        if p.kind == "defocus":
            kernel = _disc(p.size_px, radius, like)
        else:
            path = shake_path(like, generator) if p.kind == "shake" else _line(p.angle_deg, like)
            y, x = radius + path * (p.size_px - 1) / 2
            kernel = splat(y[None], x[None], torch.ones_like(y)[None], 2 * radius + 1, 2 * radius + 1)
        kernels.append(kernel / kernel.sum())
    return torch.stack(kernels)


def shake_path(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the path of a hand-held camera during the exposure.

    The velocity is a random walk that is damped (a hand is pulled back) and starts with a drift of its own; integrated
    twice it gives the smooth arcs and hooks of real shake.

    Args:
        like: Any tensor with the wanted dtype and device.
        generator: Source of the randomness.

    Returns:
        `(2, _PATH_STEPS)`: y and x relative to the centroid, the farthest point at distance 1.
    """
    kicks = torch.randn(2, _PATH_STEPS, generator=generator, dtype=like.dtype, device=like.device)
    drift = torch.randn(2, 1, generator=generator, dtype=like.dtype, device=like.device)
    path = (kicks @ _memory(like.dtype, like.device) + 4 * drift).cumsum(1)
    path = path - path.mean(1, keepdim=True)
    return path / torch.hypot(path[0], path[1]).amax().clamp(min=1e-6)


@cache
def _memory(dtype: torch.dtype, device: torch.device) -> Tensor:
    """How much of the kick of step i is left in the velocity of step j >= i: 0.97^(j - i), `(i, j)`."""
    steps = torch.arange(_PATH_STEPS, dtype=dtype, device=device)
    return (0.97 ** (steps[None, :] - steps[:, None])).triu()


def _line(angle_deg: float, like: Tensor) -> Tensor:
    """Straight path `(2, _PATH_STEPS)` from -1 to 1 along the angle, y pointing down."""
    along = torch.linspace(-1, 1, _PATH_STEPS, dtype=like.dtype, device=like.device)
    angle = math.radians(angle_deg)
    return torch.stack([-math.sin(angle) * along, math.cos(angle) * along])


def _disc(diameter_px: float, radius: int, like: Tensor) -> Tensor:
    """Disc `(2 radius + 1, 2 radius + 1)` whose rim falls off over one pixel."""
    steps = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    distance = torch.hypot(steps[:, None], steps[None, :])
    return (diameter_px / 2 + 0.5 - distance).clamp(0, 1)
