"""Pictures to files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from moceir.errors import OutputError
from moceir.files import whole_file
from moceir.image_io import exif, png_text
from moceir.image_io.colour import fits, to_8_bit, to_srgb
from moceir.image_io.formats import (
    DEFAULT_QUALITY,
    EIGHT_BIT_ONLY,
    LOSSY,
    SAVE_OPTIONS,
    format_of,
    writable_format,
)
from moceir.image_io.picture import EXIF, ICC, PNG_TEXT, Picture, turn_back
from moceir.image_io.reading import reason
from moceir.image_io.transparency import over_white

_CLASSIC_TIFF_BYTES = 3_900_000_000
"""Above this, offsets in a TIFF file need 64 bits."""


def write(path: Path, picture: Picture, *, quality: int = DEFAULT_QUALITY, strip: bool = False) -> None:
    """Encode a picture in the format that the file name asks for, whole or not at all.

    Args:
        path: The file; folders are made.
        picture: What to write; see `losses` for what the format cannot hold.
        quality: Of lossy formats, 1 to 100.
        strip: Leave out everything around the pixels but their colour profile; they are then stored upright.

    Raises:
        OutputError: If the suffix is unknown, the format cannot hold the picture or the file cannot be written.
    """
    kind = writable_format(path)
    try:
        data = encode(picture, kind, quality=quality, strip=strip)
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error
    with whole_file(path) as part:
        part.write_bytes(data)


def losses(picture: Picture, suffix: str) -> list[str]:
    """What a picture has that the format of a suffix cannot hold, in a few words each."""
    kind = format_of(suffix)
    lost: list[str] = []
    if kind == "jpeg" and picture.alpha is not None:
        lost.append("transparency laid on white")
    if kind in EIGHT_BIT_ONLY and picture.rgb.dtype == np.uint16:
        lost.append("16 bits became 8")
    if kind == "jpeg" and len(picture.metadata.get(EXIF, b"")) > exif.LARGEST_IN_JPEG:
        lost.append("EXIF too long for JPEG left out")
    return lost


def encode(picture: Picture, kind: str, *, quality: int = DEFAULT_QUALITY, strip: bool = False) -> bytes:
    """Encode a picture: ``jpeg``, ``png``, ``webp`` or ``tiff``; the other arguments are those of `write`.

    Raises:
        OutputError: If the format cannot hold it, as JPEG no side above 65,535 pixels.
    """
    picture = _as_the_format_holds(picture, kind)
    pixels = picture.rgb[..., :1] if picture.grey else picture.rgb
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    orientation = 1 if strip else picture.orientation
    deep = pixels.dtype == np.uint16
    interpretation = ("grey16" if deep else "b-w") if picture.grey else ("rgb16" if deep else "srgb")
    across, down = picture.pixels_per_mm
    array: Any = pyvips.Image.new_from_array(np.ascontiguousarray(turn_back(pixels, orientation)))
    image = array.copy(interpretation=interpretation, xres=across, yres=down)
    block = None if strip else _exif(picture)
    for name, value in picture.metadata.items():
        if name not in (EXIF, PNG_TEXT):
            image.set_type(pyvips.GValue.blob_type, name, value)
    if block or kind == "tiff":
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    options = dict(SAVE_OPTIONS[kind], keep="icc" if strip else "all" if block else "xmp|iptc|icc")
    if kind in LOSSY:
        options["Q"] = quality
    if kind == "tiff" and pixels.nbytes > _CLASSIC_TIFF_BYTES:
        options["bigtiff"] = True
    try:
        data: bytes = image.write_to_buffer(f".{kind}", **options)
    except pyvips.Error as error:
        size = f"{image.width}x{image.height}"
        raise OutputError(f"cannot write {size} pixels as {kind}: {reason(error)}; choose another format") from error
    data = exif.replace(data, kind, block) if block else data
    texts = picture.metadata.get(PNG_TEXT)
    return png_text.insert(data, texts) if texts and kind == "png" and not strip else data


def protect_original(source: Path, target: Path) -> None:
    """Refuse to write a result over the picture that it is made from.

    Raises:
        OutputError: If both paths are the same file.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(f"{target} is the input itself; choose another output, originals are never replaced")


def _exif(picture: Picture) -> bytes | None:
    """The EXIF block to write: that of the file, or one that says no more than how the pixels are stored."""
    block = picture.metadata.get(EXIF)
    if block is None and picture.orientation == 1:
        return None
    return exif.with_orientation(block or exif.EMPTY, picture.orientation)


def _as_the_format_holds(picture: Picture, kind: str) -> Picture:
    """The picture without what is in `losses`; WebP, which has no grey, cannot have the profile of a grey one."""
    rgb, alpha, metadata = picture.rgb, picture.alpha, picture.metadata
    if kind == "webp" and ICC in metadata and fits(metadata[ICC], grey=True):
        rgb = to_srgb(picture)
        metadata = {name: value for name, value in metadata.items() if name != ICC}
    if kind == "jpeg" and alpha is not None:
        rgb, alpha = over_white(rgb, alpha), None
    if kind in EIGHT_BIT_ONLY:
        rgb = to_8_bit(rgb) if rgb.dtype == np.uint16 else rgb
        alpha = to_8_bit(alpha) if alpha is not None and alpha.dtype == np.uint16 else alpha
    return dataclasses.replace(picture, rgb=rgb, alpha=alpha, metadata=metadata)
