"""Blur: camera shake, linear motion and defocus, in linear light as in a real camera.

A uniform blur is one convolution. Means of warped copies of the picture model a camera that also rolls or moves towards
its subject, an object that moves on its own, and data sets that average a few video frames (GoPro, Nah et al. 2017).
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal, Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations._fields import convolve, splat
from moceir.degradations._movement import Movement, mean_of_frames
from moceir.degradations.base import (
    Degradation,
    chance,
    choice,
    linear_to_srgb,
    log_uniform,
    normal_like,
    per_image,
    srgb_to_linear,
    uniform,
)

_PATH_STEPS = 200


class Blur(Degradation):
    """Blur by defocus or movement, followed by a little sensor noise."""

    kind: Literal["shake", "motion", "defocus"] = "shake"
    """Hand shake, straight movement, or a lens out of focus."""
    size_px: float = pydantic.Field(default=15.0, ge=1, le=101)
    """Extent of the blur: of the path or line, or the diameter of the disc."""
    angle_deg: float = pydantic.Field(default=0.0, ge=-180, le=180)
    """Direction of a straight movement relative to horizontal; ignored by the other kinds."""
    noise_sigma_255: float = pydantic.Field(default=0.0, ge=0, le=50)
    """Standard deviation of the added noise, in levels of 0..255."""
    roll_deg: float = pydantic.Field(default=0.0, ge=-90, le=90)
    """Rotation of the camera during the exposure, about a random point of the picture."""
    zoom: float = pydantic.Field(default=1.0, ge=0.5, le=2)
    """Scale of the picture at the end of the exposure relative to the start."""
    object_px: float = pydantic.Field(default=0.0, ge=0, le=101)
    """Length of the straight movement of a randomly shaped object in front of the scene; 0 for no object."""
    object_deg: float = pydantic.Field(default=0.0, ge=-180, le=180)
    """Direction of the object's movement relative to horizontal."""
    object_share: float = pydantic.Field(default=0.4, gt=0, le=2)
    """Diameter of the object as a fraction of the shorter side of the picture."""
    frames: int = pydantic.Field(default=0, ge=0, le=100)
    """Number of sharp frames to average; 0 for a continuous exposure."""
    linear: bool = True
    """Whether to average linear light, as a camera does, or display values, as some data sets do."""

    @property
    def varies(self) -> bool:
        """Whether the blur varies over the picture or averages few frames, so that one kernel is not enough."""
        return bool(self.frames or self.roll_deg or self.zoom != 1 or self.object_px)

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw uniform shake, motion or defocus (40 %), or a moving camera or object (60 %)."""
        noise = uniform(generator, 0, 2) if chance(generator, 0.7) else 0.0
        if chance(generator, 0.4):
            kind = "shake" if chance(generator, 0.5) else choice(generator, ("motion", "defocus"))
            size = uniform(generator, 3, {"shake": 31, "motion": 25, "defocus": 13}[kind])
            angle, away = uniform(generator, -90, 90), uniform(generator, -90, 90)
            return cls(kind=kind, size_px=size, angle_deg=angle, object_deg=away, noise_sigma_255=noise)
        with_object = chance(generator, 0.4)
        still = with_object and chance(generator, 0.5)
        return cls(
            kind="shake" if chance(generator, 0.7) else "motion",
            size_px=1.0 if still else uniform(generator, 3, 41),
            angle_deg=uniform(generator, -90, 90),
            noise_sigma_255=noise,
            roll_deg=0.0 if still else uniform(generator, -3, 3),
            zoom=1.0 if still else uniform(generator, 0.96, 1.04),
            object_px=log_uniform(generator, 3, 31) if with_object else 0.0,
            object_deg=uniform(generator, -90, 90),
            object_share=uniform(generator, 0.2, 0.8),
            frames=int(uniform(generator, 7, 16)) if still or chance(generator, 0.6) else 0,
            linear=chance(generator, 0.5),
        )

    def override(self, fixed: dict[str, object]) -> Self:
        """Replace drawn values; a fixed ``defocus`` gets suitable sizes and no movement unless ``fixed`` sets it."""
        if fixed.get("kind") != "defocus" or self.kind == "defocus":
            return super().override(fixed)
        still: dict[str, object] = {"roll_deg": 0.0, "zoom": 1.0, "object_px": 0.0, "frames": 0, "linear": True}
        return super().override({"size_px": 3 + (self.size_px - 1) / 4} | still | fixed)

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        linear = torch.tensor([p.linear for p in params], device=images.device).view(-1, 1, 1, 1)
        light = torch.where(linear, srgb_to_linear(images), images)
        # Defocus blurs every frame.
        even = [i for i, p in enumerate(params) if not p.varies or p.kind == "defocus"]
        if even:
            light[even] = convolve(light[even], blur_kernels([params[i] for i in even], images, generator))
        uneven = [i for i, p in enumerate(params) if p.varies]
        if uneven:
            movements = [params[i].movement(images, generator) for i in uneven]
            light[uneven] = mean_of_frames(light[uneven], movements, generator)
        blurred = torch.where(linear, linear_to_srgb(light), light)
        return blurred + per_image([p.noise_sigma_255 / 255 for p in params], images) * normal_like(images, generator)

    def movement(self, like: Tensor, generator: torch.Generator) -> Movement:
        """Draw the movement of camera and object; ``like`` is any tensor with the target dtype and device."""
        path = shake_path(like, generator) if self.kind == "shake" else _line(self.angle_deg, like)
        reach = 0.0 if self.kind == "defocus" else (self.size_px - 1) / 2
        return Movement(
            camera_px=path * reach,
            object_px=_line(self.object_deg, like) * (self.object_px / 2),
            # A random path is longer than its extent.
            length_px=3 * reach + self.object_px,
            roll_deg=self.roll_deg,
            zoom=self.zoom,
            object_share=self.object_share if self.object_px > 0 else 0.0,
            frames=self.frames,
        )


def blur_kernels(params: Sequence[Blur], like: Tensor, generator: torch.Generator) -> Tensor:
    """Build the blur kernels of a batch.

    Args:
        params: B records.
        like: Any tensor with the target dtype and device.
        generator: Source of the shake paths.

    Returns:
        ``(B, K, K)``, with K odd and large enough for the largest blur. Kernels are centred, nonnegative and sum to 1.
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

    The velocity is a damped random walk with an initial drift. Its integral has the smooth arcs and hooks of real
    shake.

    Args:
        like: Any tensor with the target dtype and device.
        generator: Source of randomness.

    Returns:
        ``(2, _PATH_STEPS)``: y and x relative to the centroid, with the farthest point at distance 1.
    """
    kicks = torch.randn(2, _PATH_STEPS, generator=generator, dtype=like.dtype, device=like.device)
    drift = torch.randn(2, 1, generator=generator, dtype=like.dtype, device=like.device)
    path = (kicks @ _memory(like.dtype, like.device) + 4 * drift).cumsum(1)
    path = path - path.mean(1, keepdim=True)
    return path / torch.hypot(path[0], path[1]).amax().clamp(min=1e-6)


@cache
def _memory(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Build the matrix ``(i, j)`` of the remaining effect of kick i on the velocity at step j >= i, 0.97^(j - i)."""
    steps = torch.arange(_PATH_STEPS, dtype=dtype, device=device)
    return (0.97 ** (steps[None, :] - steps[:, None])).triu()


def _line(angle_deg: float, like: Tensor) -> Tensor:
    """Return a straight path ``(2, _PATH_STEPS)`` from -1 to 1 along the angle, with y pointing down."""
    along = torch.linspace(-1, 1, _PATH_STEPS, dtype=like.dtype, device=like.device)
    angle = math.radians(angle_deg)
    return torch.stack([-math.sin(angle) * along, math.cos(angle) * along])


def _disc(diameter_px: float, radius: int, like: Tensor) -> Tensor:
    """Return a disc ``(2 radius + 1, 2 radius + 1)`` whose edge falls off over one pixel."""
    steps = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    distance = torch.hypot(steps[:, None], steps[None, :])
    return (diameter_px / 2 + 0.5 - distance).clamp(0, 1)
