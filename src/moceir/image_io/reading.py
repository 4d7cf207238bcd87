"""Files to pictures."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from moceir.errors import ImageError, require_extra
from moceir.image_io import exif, png_text
from moceir.image_io.colour import SRGB_PROFILE, fits
from moceir.image_io.formats import LOADERS, WANTED, Limits
from moceir.image_io.picture import (
    EXIF,
    ICC,
    IPTC,
    PHOTOSHOP,
    PNG_TEXT,
    XMP,
    Picture,
    Pixels,
    turn_upright,
)

_COLOURS = ("srgb", "rgb", "rgb16", "b-w", "grey16", "cmyk")
_ANY_LIMITS = Limits()


def read(path: Path, limits: Limits = _ANY_LIMITS) -> Picture:
    """Decode a picture file.

    Args:
        path: The file.
        limits: How large it may be.

    Raises:
        ImageError: If the file is missing, unreadable, damaged, not one of the formats, holds several pages, is not 8
            or 16 bit, or is above a limit.
        MissingExtraError: If it is a BMP file and Pillow is not installed.
    """
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
            raise ImageError(f"{path} {what}; give a {WANTED} file")
        limits.check_bytes(str(path), path.stat().st_size)
        data = path.read_bytes()
    except OSError as error:  # no permission, a name too long, a disk that fails
        msg = f"{path} cannot be read: {reason(error)}; give a {WANTED} file that you may read"
        raise ImageError(msg) from error
    return decode(data, str(path), limits)


def decode(data: bytes, name: str, limits: Limits = _ANY_LIMITS) -> Picture:
    """Decode the bytes of a picture file.

    Args:
        data: The whole file.
        name: What error messages call it; a suffix of ``.bmp`` is believed, all other formats are seen from the bytes.
        limits: How large it may be.

    Raises:
        ImageError: As `read`.
        MissingExtraError: As `read`.
    """
    limits.check_bytes(name, len(data))
    if name.lower().endswith(".bmp"):
        return _decode_bmp(data, name, limits)
    if not data:
        raise ImageError(f"{name} is empty; expected a whole {WANTED} file")
    try:
        image, notes = _open(data)
        _check_kind(name, image)
        limits.check_pixels(name, image.width, image.height)
        return _decode(image, data, notes)
    except (pyvips.Error, UnicodeDecodeError) as error:  # messages of libvips may quote bytes that are no text
        msg = f"{name} cannot be read: {reason(error)}; expected a whole {WANTED} file"
        raise ImageError(msg) from error


def reason(error: Exception) -> str:
    """The telling line of a libvips or system error."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # The first line tells most, and begins with the name of a part of libvips. Some failures come without any.
    lines = [line.strip() for line in getattr(error, "detail", "").splitlines() if line.strip()]
    line = lines[0].partition(": ")[2] or lines[0] if lines else "it is damaged"
    return "it is no picture of a known format" if line == "buffer is not in a known format" else line


def _open(data: bytes) -> tuple[Any, list[str]]:
    """The header of a file, its pixels to be decoded from top to bottom; and what is left out."""
    options: dict[str, Any] = {"access": "sequential", "fail_on": "error"}
    image: Any = pyvips.Image.new_from_buffer(data, "", **options)
    if not str(image.get("vips-loader")).startswith("uhdr"):
        return image, []
    # A JPEG file with a map that brightens it on some screens: the picture itself is as good as any.
    return pyvips.Image.jpegload_buffer(data, **options), ["HDR gain map left out"]


def _decode(image: Any, data: bytes, notes: list[str]) -> Picture:
    """Decode the pixels of a file whose header was checked."""
    kind = _format(image)
    metadata = _metadata(image, data, kind)
    deep = image.format == "ushort"
    grey = image.interpretation in ("b-w", "grey16")
    if image.interpretation == "cmyk":
        image = _cmyk_to_srgb(image, deep)
        metadata[ICC] = SRGB_PROFILE
        notes.append("CMYK became sRGB")
    if ICC in metadata and not fits(metadata[ICC], grey=grey):
        del metadata[ICC]
        notes.append("unusable ICC profile left out")
    orientation = image.get("orientation") if kind != "avif" and image.get_typeof("orientation") else 1
    pixels = turn_upright(_fetch(image.colourspace("rgb16" if deep else "srgb"), deep), orientation)
    return Picture(
        rgb=np.ascontiguousarray(pixels[..., :3]),
        alpha=np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None,
        grey=grey,
        metadata=metadata,
        pixels_per_mm=(image.xres, image.yres),
        orientation=orientation,
        notes=tuple(notes),
        format=kind,
    )


def _metadata(image: Any, data: bytes, kind: str) -> dict[str, bytes]:
    """The blocks around the pixels."""
    names = [name for name in (XMP, IPTC, ICC, PHOTOSHOP) if image.get_typeof(name)]
    metadata = {name: image.get(name) for name in names}
    if kind == "png" and (texts := png_text.collect(data)):
        metadata[PNG_TEXT] = texts
    block = image.get(EXIF) if image.get_typeof(EXIF) else exif.from_tiff(data) if kind == "tiff" else None
    if block:
        block = exif.without_prefix(block)
        # AVIF turns its pictures by other means, and what EXIF says does not count.
        metadata[EXIF] = exif.with_orientation(block, 1) if kind == "avif" else block
    return metadata


def _cmyk_to_srgb(image: Any, deep: bool) -> Any:
    """Convert by the file's own profile; files without one, or with a broken one, by that of libvips."""
    options: dict[str, Any] = {"input_profile": "cmyk", "intent": "relative", "depth": 16 if deep else 8}
    if image.get_typeof(ICC) and not fits(image.get(ICC), cmyk=True):
        image = image.copy()
        image.remove(ICC)
    return image.icc_transform("srgb", embedded=True, **options)


def _fetch(image: Any, deep: bool) -> Pixels:
    """Compute the pixels in this very thread: a forked process lacks those of libvips and would wait for ever."""
    buffer = pyvips.Region.new(image).fetch(0, 0, image.width, image.height)
    pixels: Pixels = np.frombuffer(buffer, dtype=np.uint16 if deep else np.uint8)
    return pixels.reshape(image.height, image.width, image.bands)


def _format(image: Any) -> str:
    """The format of a file by the name of its loader; empty if it is none of ours."""
    loader = str(image.get("vips-loader"))
    return next((name for beginning, name in LOADERS.items() if loader.startswith(beginning)), "")


def _check_kind(name: str, image: Any) -> None:
    """Refuse what decodes but is not one 8- or 16-bit picture of a supported format."""
    if not _format(image):
        kind = str(image.get("vips-loader")).removesuffix("_buffer").removesuffix("load")
        raise ImageError(f"{name} is a {kind} file; convert it to {WANTED}")
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise ImageError(f"{name} holds {pages} pages or frames; split it into single pictures first")
    if image.format not in ("uchar", "ushort"):
        hdr = "high dynamic range is not restored; " if image.format in ("float", "double") else ""
        msg = f"{name} has samples of type {image.format}; {hdr}convert it to 8 or 16 bits per channel"
        raise ImageError(msg)
    colours = {"cmyk": 4, "b-w": 1, "grey16": 1}.get(image.interpretation, 3)
    if image.interpretation not in _COLOURS or not colours <= image.bands <= colours + 1:
        msg = (
            f"{name} has {image.bands} channels of colour space {image.interpretation}; convert it to RGB, grey or "
            "CMYK, with one alpha channel at most"
        )
        raise ImageError(msg)


def _decode_bmp(data: bytes, name: str, limits: Limits) -> Picture:
    """Decode a BMP file; the libvips that comes as a wheel cannot."""
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
