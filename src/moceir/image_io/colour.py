"""ICC profiles: the colours of a file to sRGB and back, by the LittleCMS inside libvips."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyvips

from moceir.image_io.picture import ICC, Picture, Pixels

SRGB_PROFILE = bytes(pyvips.Operation.call("profile_load", "srgb"))
_INTENT = "relative"  # colours that both spaces hold stay what they are


def fits(profile: bytes, *, grey: bool = False, cmyk: bool = False) -> bool:
    """Whether a profile is for such pixels; bytes 16 to 19 say for which (ICC.1:2022, 7.2.8)."""
    return profile[16:20] == (b"CMYK" if cmyk else b"GRAY" if grey else b"RGB ")


def to_srgb(picture: Picture) -> Pixels:
    """The picture's colours in sRGB, ``(H, W, 3)``: 16 bits if it has a profile, else the very array."""
    profile = picture.metadata.get(ICC)
    if profile is None:
        return picture.rgb
    image = _image(picture.rgb[..., :1] if picture.grey else picture.rgb)
    image.set_type(pyvips.GValue.blob_type, ICC, profile)
    try:
        converted = image.icc_import(embedded=True, intent=_INTENT, pcs="xyz")
        converted = converted.icc_export(output_profile="srgb", intent=_INTENT, depth=16)
        return converted.numpy()
    except pyvips.Error:
        # A profile that nobody can follow counts as sRGB, as it does for viewers.
        return picture.rgb if picture.rgb.dtype == np.uint16 else picture.rgb.astype(np.uint16) * 257


def with_change(picture: Picture, before: Pixels, after: Pixels) -> Picture:
    """Carry a change in sRGB over to a picture in the colours of its profile.

    What is carried over is the difference of the two, both brought to the profile. Colours outside of sRGB were clipped
    in ``before`` and so in ``after``; the difference leaves them where they were. No change is exactly none.

    Args:
        picture: In its own colours, with a profile.
        before: What `to_srgb` made of it, uint16.
        after: Its changed version, same shape and type.

    Returns:
        The picture in its own colours; in sRGB, if its profile only leads there and not back, as some of scanners.
    """
    kind = picture.rgb.dtype
    try:
        there = _from_srgb([before, after], picture.metadata[ICC], picture.grey)
    except pyvips.Error:
        rgb = after if kind == np.uint16 else to_8_bit(after)
        metadata = {name: block for name, block in picture.metadata.items() if name != ICC}
        if not picture.grey:
            metadata[ICC] = SRGB_PROFILE
        return dataclasses.replace(picture, rgb=rgb, metadata=metadata)
    scale = 1 if kind == np.uint16 else 257
    changed = picture.rgb.astype(np.int32) * scale + there[1] - there[0].astype(np.int32)
    rgb = ((changed.clip(0, 65535) + scale // 2) // scale).astype(kind)
    return dataclasses.replace(picture, rgb=rgb)


def to_8_bit(pixels: Pixels) -> Pixels:
    """Round 16 bits to 8."""
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_srgb(pictures: Sequence[Pixels], profile: bytes, grey: bool) -> Pixels:
    """Sixteen-bit sRGB pictures of one size in the colours of a profile; one channel each if it is one of greys.

    They go through as one, for to prepare the way takes as long as to send 40,000 pixels along it.
    """
    together = pyvips.Image.arrayjoin([_image(pixels) for pixels in pictures], across=1)
    image: Any = together.icc_import(input_profile="srgb", embedded=False, intent=_INTENT, pcs="xyz").copy()
    image.set_type(pyvips.GValue.blob_type, ICC, profile)
    there = image.icc_export(intent=_INTENT, depth=16).numpy()
    return there.reshape(len(pictures), *pictures[0].shape[:2], 1 if grey else 3)


def _image(pixels: Pixels) -> Any:
    """A libvips image of ``(H, W, 1 or 3)`` pixels."""
    deep, grey = pixels.dtype == np.uint16, pixels.shape[2] == 1
    array: Any = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    return array.copy(interpretation=("grey16" if deep else "b-w") if grey else ("rgb16" if deep else "srgb"))
