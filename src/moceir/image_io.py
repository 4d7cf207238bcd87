"""Files to arrays and back: JPEG, PNG, WebP and TIFF, 8 or 16 bits, grey or colour, with or without alpha.

BMP files, which published data sets hold, are read but never written.

What surrounds the pixels (ICC profile, EXIF, XMP, resolution) travels in ``Picture.metadata`` and is written back; the
EXIF orientation is applied on reading. A file is written under a temporary name beside its goal and renamed, so that
a goal is either old or whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from moceir.errors import ImageError, OutputError, require_extra
from moceir.files import whole_file

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
"""File names that count as pictures when a folder is searched."""
READABLE_SUFFIXES = (*SUFFIXES, ".bmp")
"""The same where pictures are only read, as training data is."""

_LOADERS = ("jpegload", "pngload", "webpload", "tiffload")
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"Q": 95, "optimize_coding": True, "subsample_mode": "off"},
    ".png": {"compression": 6},
    ".webp": {"Q": 95, "smart_subsample": True},
    ".tif": {"compression": "deflate", "predictor": "horizontal"},
}
_SAVE_OPTIONS[".jpeg"] = _SAVE_OPTIONS[".jpg"]
_SAVE_OPTIONS[".tiff"] = _SAVE_OPTIONS[".tif"]
_EIGHT_BIT_ONLY = (".jpg", ".jpeg", ".webp")
_KEPT_FIELDS = ("exif-data", "xmp-data", "iptc-data", "icc-profile-data")

Pixels = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class Picture:
    """One decoded picture.

    Attributes:
        rgb: ``(H, W, 3)`` uint8 or uint16; grey pictures have three equal channels.
        alpha: ``(H, W)`` of the same type, or None.
        grey: Whether the file had a single colour channel; it is then written with one again.
        metadata: Blobs by libvips field name, as ``exif-data``.
        pixels_per_mm: Resolution across and down, as viewers and printers use it.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    metadata: dict[str, bytes] = field(default_factory=dict[str, bytes])
    pixels_per_mm: tuple[float, float] = (1.0, 1.0)


def read(path: Path) -> Picture:
    """Decode a picture file.

    Raises:
        ImageError: If the file is missing, damaged, not one of the formats, holds several pages, or is not 8 or 16 bit.
        MissingExtraError: If it is a BMP file and Pillow is not installed.
    """
    try:
        is_file = path.is_file()
    except OSError as error:  # a name too long, say
        msg = f"{path} cannot be read: {_reason(error)}; give a JPEG, PNG, WebP or TIFF file"
        raise ImageError(msg) from error
    if not is_file:
        what = "is a folder" if path.is_dir() else "does not exist"
        msg = f"{path} {what}; give a JPEG, PNG, WebP or TIFF file"
        raise ImageError(msg)
    if path.suffix.lower() == ".bmp":
        return _read_bmp(path)
    try:
        image: Any = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="error")
        _check_kind(path, image)
        metadata = {name: image.get(name) for name in _KEPT_FIELDS if image.get_typeof(name)}
        image = image.autorot()
        deep = image.format == "ushort"
        grey = image.interpretation in ("b-w", "grey16")
        image = image.colourspace("rgb16" if deep else "srgb")
        pixels = _fetch(image, deep)
    except pyvips.Error as error:
        msg = f"{path} cannot be read: {_reason(error)}; expected a whole JPEG, PNG, WebP or TIFF file"
        raise ImageError(msg) from error
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None
    return Picture(np.ascontiguousarray(pixels[..., :3]), alpha, grey, metadata, (image.xres, image.yres))


def write(path: Path, picture: Picture) -> None:
    """Encode a picture in the format that the file name asks for, whole or not at all.

    16-bit pictures become 8-bit where the format has no more (JPEG, WebP); alpha is left out where it has none (JPEG).

    Raises:
        OutputError: If the suffix is unknown or the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in _SAVE_OPTIONS:
        msg = f"cannot write {path}: unknown suffix '{path.suffix}'; use one of {', '.join(SUFFIXES)}"
        raise OutputError(msg)
    pixels = picture.rgb[..., :1] if picture.grey else picture.rgb
    if picture.alpha is not None and suffix not in (".jpg", ".jpeg"):
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    if pixels.dtype == np.uint16 and suffix in _EIGHT_BIT_ONLY:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    deep = pixels.dtype == np.uint16
    interpretation = ("grey16" if deep else "b-w") if picture.grey else ("rgb16" if deep else "srgb")
    across, down = picture.pixels_per_mm
    array: Any = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    image = array.copy(interpretation=interpretation, xres=across, yres=down)
    for name, blob in picture.metadata.items():
        image.set_type(pyvips.GValue.blob_type, name, blob)
    # The pixels are upright already; the EXIF block must not have viewers turn them again.
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    try:
        with whole_file(path) as part:
            image.write_to_file(str(part), **_SAVE_OPTIONS[suffix])
    except pyvips.Error as error:
        msg = f"cannot write {path}: {_reason(error)}; check that the folder exists, may be written to and has space"
        raise OutputError(msg) from error


def protect_original(source: Path, target: Path) -> None:
    """Refuse to write a result over the picture that it is made from.

    Raises:
        OutputError: If both paths are the same file.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(f"{target} is the input itself; choose another output, originals are never replaced")


def find(inputs: Iterable[Path]) -> list[tuple[Path, Path]]:
    """List the pictures that files and folders stand for.

    Args:
        inputs: Files (taken whatever their names) and folders (searched recursively by suffix, in sorted order).

    Returns:
        Pairs of the file and its place relative to the input it came from, ``a/b.png`` for ``b.png`` in ``in/a``.

    Raises:
        ImageError: If a folder holds no picture.
    """
    found: list[tuple[Path, Path]] = []
    for entry in inputs:
        if not entry.is_dir():
            found.append((entry, Path(entry.name)))
            continue
        inside = sorted(p for p in entry.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            msg = f"the folder {entry} holds no pictures; expected files ending in {', '.join(SUFFIXES)}"
            raise ImageError(msg)
        found += [(p, p.relative_to(entry)) for p in inside]
    return found


def _fetch(image: Any, deep: bool) -> Pixels:
    """Compute the pixels in this very thread: a forked process lacks those of libvips and would wait for ever."""
    buffer = pyvips.Region.new(image).fetch(0, 0, image.width, image.height)
    pixels: Pixels = np.frombuffer(buffer, dtype=np.uint16 if deep else np.uint8)
    return pixels.reshape(image.height, image.width, image.bands)


def _read_bmp(path: Path) -> Picture:
    """Decode a BMP file; the libvips that comes as a wheel cannot."""
    require_extra("PIL", "train")
    from PIL import Image  # noqa: PLC0415 - restoring photographs does without Pillow

    try:
        with Image.open(path, formats=("BMP",)) as image:
            grey = image.mode in ("1", "L")
            rgb = np.array(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be read as BMP; expected a whole BMP file") from error
    return Picture(rgb, grey=grey)


def _check_kind(path: Path, image: Any) -> None:
    """Refuse what decodes but is not one 8- or 16-bit picture of a supported format."""
    loader = str(image.get("vips-loader"))
    if not loader.startswith(_LOADERS):
        kind = loader.removesuffix("_source").removesuffix("load")
        msg = f"{path} is a {kind} file; convert it to JPEG, PNG, WebP or TIFF"
        raise ImageError(msg)
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        msg = f"{path} holds {pages} pages or frames; split it into single pictures first"
        raise ImageError(msg)
    if image.format not in ("uchar", "ushort"):
        msg = f"{path} has samples of type {image.format}; convert it to 8 or 16 bits per channel"
        raise ImageError(msg)


def _reason(error: Exception) -> str:
    """The telling line of a libvips or system error."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    detail = getattr(error, "detail", "") or str(error)
    return next((line.strip() for line in detail.splitlines() if line.strip()), "unknown reason")
