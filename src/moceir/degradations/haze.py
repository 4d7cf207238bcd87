"""Haze by the atmospheric scattering model: ``I = J t + A (1 - t)`` with ``t = exp(-beta d)`` (Narasimhan, Nayar 2002).

If the depth ``d`` of a scene is known, it is used as given. Otherwise it is a random smooth field: a ramp (the ground
recedes towards the horizon) plus low-frequency noise. A guided filter aligns it with the edges of the picture, so that
the haze changes at object boundaries. ``structure`` gives regions of similar colour a common depth, so that objects
appear in front of one another.
"""

import math
from collections.abc import Sequence
from typing import Self

import pydantic
import torch
from torch import Tensor

from moceir.degradations._fields import guided_filter, luma, smooth_noise, stretch
from moceir.degradations.base import Degradation, chance, log_uniform, per_image, uniform


class Haze(Degradation):
    """Haze of uniform density over a random or given depth map; a given map overrides the fields about depth."""

    beta: float = pydantic.Field(default=1.2, ge=0, le=10)
    """Scattering coefficient: at depth 1 the fraction ``exp(-beta)`` of the scene's light remains."""
    airlight: float = pydantic.Field(default=0.85, ge=0, le=1)
    """Brightness A of the haze."""
    warmth: float = pydantic.Field(default=0.0, ge=-0.2, le=0.2)
    """Tint of the haze: added to red and subtracted from blue."""
    depth_offset: float = pydantic.Field(default=0.1, ge=0, le=2)
    """Depth of the nearest point, where 1 is the far end of a typical scene."""
    depth_span: float = pydantic.Field(default=0.9, ge=0, le=2)
    """Depth difference between the farthest and nearest points; 0 for uniform haze."""
    ramp: float = pydantic.Field(default=0.7, ge=0, le=1)
    """Weight of the ramp in the depth map; the rest is low-frequency noise."""
    tilt_deg: float = pydantic.Field(default=0.0, ge=-180, le=180)
    """Direction in which the ramp recedes: 0 is towards the top, 90 towards the right."""
    structure: float = pydantic.Field(default=0.0, ge=0, le=1)
    """Weight of colour in the depth map: equal colours get equal depth, and bright ones are mostly farther away."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw thin to dense haze, about a third of it at nearly constant depth, as in crops of near or far areas."""
        if chance(generator, 0.3):
            offset, span = uniform(generator, 0.05, 0.8), uniform(generator, 0.0, 0.25)
        else:
            offset = uniform(generator, 0.0, 0.3)
            span = uniform(generator, 0.3, 1.0 - offset)
        return cls(
            beta=log_uniform(generator, 0.4, 2.5),
            airlight=uniform(generator, 0.6, 1.0),
            warmth=uniform(generator, -0.05, 0.05),
            depth_offset=offset,
            depth_span=span,
            ramp=uniform(generator, 0.3, 0.9),
            tilt_deg=uniform(generator, -40, 40),
            structure=uniform(generator, 0.1, 0.7) if chance(generator, 0.7) else 0.0,
        )

    @classmethod
    def _apply_at_depth(
        cls, images: Tensor, params: Sequence[Self], generator: torch.Generator, depth: Tensor | None
    ) -> Tensor:
        depth = cls._depth(images, params, generator) if depth is None else depth
        transmission = torch.exp(-per_image([p.beta for p in params], images) * depth)
        tints = [(p.airlight + p.warmth, p.airlight, p.airlight - p.warmth) for p in params]
        light = torch.tensor(tints, dtype=images.dtype, device=images.device).clamp(0, 1)[:, :, None, None]
        return images * transmission + light * (1 - transmission)

    @classmethod
    def _depth(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        """Draw depth maps ``(B, 1, H, W)`` in the range offset .. offset + span of each picture."""
        rows = torch.linspace(1, -1, images.shape[-2], dtype=images.dtype, device=images.device).view(1, 1, -1, 1)
        columns = torch.linspace(-1, 1, images.shape[-1], dtype=images.dtype, device=images.device).view(1, 1, 1, -1)
        tilt = [math.radians(p.tilt_deg) for p in params]
        up, right = (per_image([f(t) for t in tilt], images) for f in (math.cos, math.sin))
        # Division by its largest value makes the ramp cover 0..1 in any direction.
        ramp = 0.5 + 0.5 * (rows * up + columns * right) / (up.abs() + right.abs())
        share = per_image([p.ramp for p in params], images)
        rough = share * ramp + (1 - share) * smooth_noise(images, 3, generator)
        if any(p.structure > 0 for p in params):
            structure = per_image([p.structure for p in params], images)
            rough = torch.lerp(rough, _parts(images, generator), structure)
        smooth = guided_filter(luma(images), rough).clamp(0, 1)
        offset = per_image([p.depth_offset for p in params], images)
        return offset + per_image([p.depth_span for p in params], images) * smooth


def _parts(images: Tensor, generator: torch.Generator) -> Tensor:
    """Separate regions of pictures by colour: ``(B, 1, H, W)`` in [0, 1], constant within a region."""
    # A random mixture of the channels, mostly high for bright colours such as the sky.
    weights = torch.randn(len(images), 3, 1, 1, generator=generator, dtype=images.dtype, device=images.device)
    mixed = ((weights + 0.5) * images).sum(1, keepdim=True)
    # Texture is not depth; a narrow window and a coarse threshold keep only the steps between regions.
    return stretch(guided_filter(luma(images), mixed, radius_share=0.03, epsilon=0.01))
