"""What the network is shown of a picture, and how its answer becomes a picture again."""

from __future__ import annotations

import dataclasses

import numpy as np

from moceir.image_io.colour import to_srgb, with_change
from moceir.image_io.picture import ICC, Picture, Pixels
from moceir.image_io.transparency import fill_transparent

__all__ = ["from_network", "to_network", "to_srgb"]


def to_network(picture: Picture) -> Pixels:
    """The picture in sRGB, ``(H, W, 3)`` uint8 or uint16, with nothing odd where it is fully transparent."""
    seen = to_srgb(picture)
    return seen if picture.alpha is None else fill_transparent(seen, picture.alpha)


def from_network(picture: Picture, seen: Pixels, restored: Pixels) -> Picture:
    """Put a restored picture in the place of the degraded one.

    Args:
        picture: The degraded picture.
        seen: What `to_network` made of it.
        restored: The same, restored: same shape and type.

    Returns:
        The picture with restored colours, in those of its profile; grey stays grey, and fully transparent pixels keep
        what they hide.
    """
    if picture.grey:
        seen, restored = _without_colour(seen), _without_colour(restored)
    if ICC in picture.metadata:
        done = with_change(picture, seen, restored)
    else:
        done = dataclasses.replace(picture, rgb=restored)
    if picture.alpha is None:
        return done
    return dataclasses.replace(done, rgb=np.where(picture.alpha[..., None] == 0, picture.rgb, done.rgb))


def _without_colour(pixels: Pixels) -> Pixels:
    """Three equal channels, the mean of those given."""
    grey = pixels.mean(axis=2, keepdims=True, dtype=np.float64)
    return np.repeat((grey.round() if pixels.dtype.kind == "u" else grey).astype(pixels.dtype), 3, axis=2)
