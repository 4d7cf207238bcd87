"""Building blocks of samples: seeds, patches cut from pictures, dimming, and rounding to 8 bits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from moceir.degradations.base import linear_to_srgb, srgb_to_linear

MIDDLE_GREY = 0.2
"""Linear light of a medium grey relative to the brightest pixel, about the reflectance of a grey card."""


class Sample(NamedTuple):
    """One pair, or a batch of them once collated.

    Attributes:
        degraded: ``(3, H, W)`` float32 in [0, 1], rounded to 8-bit levels.
        clean: Same levels; same shape, or ``scale`` times as high and wide.
        task: Index of the source in the mixture.
    """

    degraded: Tensor
    clean: Tensor
    task: Tensor


def sample_generator(*keys: int | str) -> torch.Generator:
    """Make a CPU generator seeded with a hash of the keys, so that consecutive numbers give unrelated streams."""
    digest = hashlib.blake2b("/".join(map(str, keys)).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def to_8_bit(images: Tensor) -> Tensor:
    """Round values in [0, 1] to the nearest of the 256 levels that a file can hold."""
    return (images * 255).round() / 255


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """Convert ``(3, H, W)`` in [0, 1] to ``(H, W, 3)`` 8-bit levels, rounded to the nearest."""
    return (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


class Augment(Protocol):
    """Settings for downscaling and dimming patches of clean photographs before they are degraded."""

    @property
    def smallest_scale(self) -> float:
        """Factor of the strongest downscaling, in (0, 1]."""
        ...

    @property
    def scale_chance(self) -> float:
        """Probability that a patch is downscaled, in [0, 1]."""
        ...

    @property
    def darkest(self) -> float:
        """Fraction of linear light that a medium grey keeps under the strongest dimming, in (0, 1]."""
        ...

    @property
    def dark_chance(self) -> float:
        """Probability that a patch is dimmed, in [0, 1]."""
        ...


class Crop(NamedTuple):
    """A square of a picture, and which of the eight flips and rotations to apply."""

    top: int
    left: int
    side: int
    turn: int = 0


def random_crop(height: int, width: int, patch_px: int, augment: Augment | None, generator: torch.Generator) -> Crop:
    """Draw a square of a picture.

    Args:
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.
        patch_px: Side of the resulting patch in pixels.
        augment: Makes some squares larger than the patch, so that they are downscaled; None for never.
        generator: Source of randomness.

    Returns:
        The square; it is smaller than the patch if the picture is.
    """
    draws = torch.rand(3, generator=generator)
    scale = 1.0
    if augment is not None and draws[0] < augment.scale_chance:
        scale = augment.smallest_scale + (1 - augment.smallest_scale) * float(draws[1])
    side = min(round(patch_px / scale), height, width)
    top = int(torch.randint(height - side + 1, (), generator=generator))
    left = int(torch.randint(width - side + 1, (), generator=generator))
    return Crop(top, left, side, int(draws[2] * 8))


def enlarged(crop: Crop, scale: int) -> Crop:
    """Return the same square of a picture that is ``scale`` times as large."""
    top, left, side, turn = crop
    return Crop(top * scale, left * scale, side * scale, turn)


class Light(NamedTuple):
    """Dimming of a picture: fractions of linear light that a medium grey and the brightest pixel keep."""

    grey: float
    brightest: float


FULL_LIGHT = Light(1.0, 1.0)


def random_light(augment: Augment, generator: torch.Generator) -> Light:
    """Draw how much to dim a patch, log-uniformly in the light of medium grey; most patches are not dimmed."""
    if not augment.dark_chance:  # draw nothing: recipes without dimming keep their samples
        return FULL_LIGHT
    chance, depth, evenness = torch.rand(3, generator=generator).tolist()
    if chance >= augment.dark_chance:
        return FULL_LIGHT
    grey = augment.darkest**depth
    return Light(grey, grey**evenness)


def dimmed(patch: Tensor, light: Light) -> Tensor:
    """Dim a ``(3, H, W)`` picture in [0, 1]; see ``dimmed_each``."""
    return patch if light == FULL_LIGHT else dimmed_each(patch[None], [light])[0]


def dimmed_each(patches: Tensor, lights: Sequence[Light]) -> Tensor:
    """Dim ``(B, 3, H, W)`` pictures in [0, 1] so that they look like darker scenes.

    Raises the linear light to a power, so that bright areas stay brighter than under a short exposure, as lamps and
    the evening sky do.
    """
    powers = [1 + math.log(light.grey / light.brightest) / math.log(MIDDLE_GREY) for light in lights]
    shape = (-1, 1, 1, 1)
    power = torch.tensor(powers, dtype=patches.dtype, device=patches.device).view(shape)
    kept = torch.tensor([light.brightest for light in lights], dtype=patches.dtype, device=patches.device).view(shape)
    brightest = srgb_to_linear(patches.amax(dim=(1, 2, 3), keepdim=True)).clamp_min(1e-6)
    return linear_to_srgb(kept * brightest * (srgb_to_linear(patches) / brightest) ** power)


def centre_crop(height: int, width: int, patch_px: int) -> Crop:
    """Return the centre square of a picture, at most as large as the patch."""
    side = min(patch_px, height, width)
    return Crop((height - side) // 2, (width - side) // 2, side)


def cut(photo: Tensor, crop: Crop, patch_px: int) -> Tensor:
    """Cut a square out of a ``(3, H, W)`` uint8 picture.

    Returns:
        ``(3, patch_px, patch_px)`` float32 in [0, 1], scaled if the square has another size.
    """
    top, left, side, turn = crop
    return turned(resize(photo[:, top : top + side, left : left + side].float() / 255, patch_px), turn)


def turned(patches: Tensor, turn: int) -> Tensor:
    """Flip and rotate ``(..., H, W)`` pictures in one of eight ways, 0 to 7."""
    patches = patches.flip(-1) if turn % 2 else patches
    return torch.rot90(patches, turn // 2, (-2, -1)).contiguous()


def resize(patch: Tensor, side: int) -> Tensor:
    """Scale a square ``(3, s, s)`` patch to ``(3, side, side)`` with antialiasing."""
    if patch.shape[-1] == side:
        return patch
    return F.interpolate(patch[None], (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1)
