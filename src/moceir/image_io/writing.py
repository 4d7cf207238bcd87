"""Pictures to files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from moceir.errors import OutputError
from moceir.files import whole_file
from moceir.image_io import embedding, stated_colour
from moceir.image_io.colour import fits, to_8_bit, to_srgb
from moceir.image_io.containers import png
from moceir.image_io.formats import (
    DEFAULT_QUALITY,
    EIGHT_BIT_ONLY,
    LOSSY,
    SAVE_OPTIONS,
    format_of,
    writable_format,
)
from moceir.image_io.picture import ICC, PNG_COLOUR, Picture, Pixels, turn_back
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
    return lost if kind is None else lost + embedding.losses(picture, kind)


def encode(picture: Picture, kind: str, *, quality: int = DEFAULT_QUALITY, strip: bool = False) -> bytes:
    """Encode a picture: ``jpeg``, ``png``, ``webp`` or ``tiff``; the other arguments are those of `write`.

    Raises:
        OutputError: If the format cannot hold it, as JPEG no side above 65,535 pixels.
    """
    picture = _as_the_format_holds(picture, kind)
    if strip:
        colours = {name: value for name, value in picture.metadata.items() if name in (ICC, PNG_COLOUR)}
        picture = dataclasses.replace(picture, metadata=colours, orientation=1)
    stored = turn_back(_channels(picture, kind), picture.orientation)
    deep = stored.dtype == np.uint16
    interpretation = ("grey16" if deep else "b-w") if picture.grey else ("rgb16" if deep else "srgb")
    array: Any = pyvips.Image.new_from_array(np.ascontiguousarray(stored))
    image = array.copy(interpretation=interpretation)
    if picture.pixels_per_mm is not None:
        image = image.copy(xres=picture.pixels_per_mm[0], yres=picture.pixels_per_mm[1])
    if ICC in picture.metadata:
        image.set_type(pyvips.GValue.blob_type, ICC, picture.metadata[ICC])
    options = dict(SAVE_OPTIONS[kind], keep="icc")
    if kind in LOSSY:
        options["Q"] = quality
    if kind == "tiff" and stored.nbytes > _CLASSIC_TIFF_BYTES:
        options["bigtiff"] = True
    try:
        data: bytes = image.write_to_buffer(f".{kind}", **options)
    except pyvips.Error as error:
        size = f"{image.width}x{image.height}"
        raise OutputError(f"cannot write {size} pixels as {kind}: {reason(error)}; choose another format") from error
    return embedding.embed(data, kind, picture, (image.width, image.height))


def protect_original(source: Path, target: Path) -> None:
    """Refuse to write a result over the picture that it is made from.

    Raises:
        OutputError: If both paths are the same file.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(f"{target} is the input itself; choose another output, originals are never replaced")


def _channels(picture: Picture, kind: str) -> Pixels:
    """Colours, alpha and the others in the order in which the file has them, ``(H, W, C)``."""
    colours = picture.rgb[..., :1] if picture.grey else picture.rgb
    alpha = [] if picture.alpha is None else [picture.alpha[..., None]]
    if kind != "tiff" or picture.extra is None:
        return np.concatenate([colours, *alpha], axis=2) if alpha else colours
    others = iter(np.moveaxis(picture.extra, 2, 0))
    more = [alpha[0] if sample == 2 and alpha else next(others)[..., None] for sample in picture.samples]
    return np.concatenate([colours, *more], axis=2)


def _as_the_format_holds(picture: Picture, kind: str) -> Picture:
    """The picture without what is in `losses`; WebP, which has no grey, cannot have the profile of a grey one."""
    rgb, alpha, metadata = picture.rgb, picture.alpha, dict(picture.metadata)
    if kind != "png" and PNG_COLOUR in metadata:
        made = stated_colour.exact_profile(png.stated_by(metadata[PNG_COLOUR]), grey=picture.grey)
        metadata |= {ICC: made} if made and ICC not in metadata else {}
        picture = dataclasses.replace(picture, metadata=metadata)
    if kind == "webp" and ICC in metadata and fits(metadata[ICC], grey=True):
        rgb = to_srgb(picture)
        metadata = {name: value for name, value in metadata.items() if name != ICC}
    if kind == "jpeg" and alpha is not None:
        rgb, alpha = over_white(rgb, alpha), None
    if kind in EIGHT_BIT_ONLY:
        rgb = to_8_bit(rgb) if rgb.dtype == np.uint16 else rgb
        alpha = to_8_bit(alpha) if alpha is not None and alpha.dtype == np.uint16 else alpha
    return dataclasses.replace(picture, rgb=rgb, alpha=alpha, metadata=metadata)
