"""Formats that need another library than libvips, which is then an extra."""

from __future__ import annotations

import dataclasses
import io
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from moceir.errors import FormatError, ImageError, require_extra
from moceir.image_io.formats import Limits
from moceir.image_io.picture import EXIF, ICC, XMP, Picture, full_range

_HEIF_ERRORS = (OSError, ValueError, RuntimeError, SyntaxError, LookupError, EOFError, MemoryError)
"""libheif's errors reach Python as one or another of these."""


def decode_bmp(data: bytes, name: str, limits: Limits) -> Picture:
    """Decode a BMP file; the libvips that comes as a wheel cannot.

    Raises:
        ImageError: If it is damaged or too large.
        MissingExtraError: If Pillow is not installed.
    """
    require_extra("PIL", "train")
    from PIL import Image  # noqa: PLC0415 - restoring photographs does without Pillow

    try:
        with Image.open(io.BytesIO(data), formats=("BMP",)) as image:
            limits.check_pixels(name, image.width, image.height)
            grey = image.mode in ("1", "L")
            rgb = np.array(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} cannot be read as BMP; expected a whole BMP file") from error
    return dataclasses.replace(Picture(rgb, grey=grey), format="bmp")


def decode_heic(data: bytes, name: str, limits: Limits) -> Picture:
    """Decode a HEIC file; the libvips that comes as a wheel lacks the codec.

    Pixels of 10 and 12 bits come as 16.

    Raises:
        FormatError: If pillow-heif is not installed.
        ImageError: If the file is damaged or too large.
    """
    if find_spec("pillow_heif") is None:
        msg = f"{name} is a HEIC file; convert it to JPEG, or install what reads it: pip install 'moceir[heic]'"
        raise FormatError(msg)
    pillow_heif: Any = import_module("pillow_heif")  # an extra without annotations

    try:
        opened: Any = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, bgr_mode=False)
        image = opened[opened.primary_index]
        limits.check_pixels(name, *image.size)
        pixels = np.asarray(image)
        info: dict[str, Any] = dict(image.info)
    except _HEIF_ERRORS as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"{name} cannot be read: {reason}; expected a whole HEIC file") from error
    pixels = full_range(pixels.reshape(*pixels.shape[:2], -1), int(info.get("bit_depth", 8)))
    colours = 1 if pixels.shape[2] < 3 else 3
    found = {EXIF: info.get("exif"), XMP: info.get("xmp"), ICC: info.get("icc_profile")}
    metadata = {key: bytes(block) for key, block in found.items() if block}
    return Picture(
        rgb=np.ascontiguousarray(pixels[..., :3] if colours == 3 else pixels[..., :1].repeat(3, axis=2)),
        alpha=np.ascontiguousarray(pixels[..., colours]) if pixels.shape[2] > colours else None,
        grey=colours == 1,
        metadata=metadata,
        format="heic",
    )
