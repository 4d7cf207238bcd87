"""Haze by the atmospheric scattering model: `I = J t + A (1 - t)` with `t = exp(-beta d)` (Narasimhan, Nayar 2002).

Where the depth `d` of a scene is known, it is taken as it is. For an ordinary photograph it is a drawn smooth field:
a ramp (the ground recedes towards the horizon) plus low-frequency noise, made to follow the edges of the picture by a
guided filter, so that the haze changes where objects end. `structure` gives parts of equal colour an equal depth of
their own, so that objects stand before one another.
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
    """Haze of one density over a drawn or given depth map; a given one leaves the fields about depth unused."""

    beta: float = pydantic.Field(default=1.2, ge=0, le=10)
    """Scattering coefficient: at depth 1 the share `exp(-beta)` of the scene's own light remains."""
    airlight: float = pydantic.Field(default=0.85, ge=0, le=1)
    """Brightness A of the haze itself."""
    warmth: float = pydantic.Field(default=0.0, ge=-0.2, le=0.2)
    """Tint of the haze: added to its red and taken from its blue."""
    depth_offset: float = pydantic.Field(default=0.1, ge=0, le=2)
    """Depth of the nearest point, 1 being the far end of a usual scene."""
    depth_span: float = pydantic.Field(default=0.9, ge=0, le=2)
    """Depth of the farthest point less that of the nearest; 0 for the same haze everywhere."""
    ramp: float = pydantic.Field(default=0.7, ge=0, le=1)
    """Share of the ramp in the depth map; the rest is low-frequency noise."""
    tilt_deg: float = pydantic.Field(default=0.0, ge=-180, le=180)
    """Direction in which the ramp recedes: 0 towards the top, 90 towards the right."""
    structure: float = pydantic.Field(default=0.0, ge=0, le=1)
    """Share of the depth map that follows colour: equal colours are equally far, bright ones mostly farther."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Thin to dense haze, a third of it over an even depth, as in crops that lie wholly near or wholly far."""
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
        """Draw the depth maps `(B, 1, H, W)`, each within offset .. offset + span of its picture."""
        rows = torch.linspace(1, -1, images.shape[-2], dtype=images.dtype, device=images.device).view(1, 1, -1, 1)
        columns = torch.linspace(-1, 1, images.shape[-1], dtype=images.dtype, device=images.device).view(1, 1, 1, -1)
        tilt = [math.radians(p.tilt_deg) for p in params]
        up, right = (per_image([f(t) for t in tilt], images) for f in (math.cos, math.sin))
        # Divided by its largest value the ramp fills 0..1 whatever its direction.
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
    """Tell the parts of pictures apart by their colours: `(B, 1, H, W)` in [0, 1], constant within a part."""
    # A random mixture of the channels, in which bright colours, such as the sky, mostly come out high.
    weights = torch.randn(len(images), 3, 1, 1, generator=generator, dtype=images.dtype, device=images.device)
    mixed = ((weights + 0.5) * images).sum(1, keepdim=True)
    # Its texture is no depth; a narrow window and a coarse threshold keep only steps between parts.
    return stretch(guided_filter(luma(images), mixed, radius_share=0.03, epsilon=0.01))
