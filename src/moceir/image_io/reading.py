"""Files to pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from moceir.errors import FormatError, ImageError
from moceir.image_io import exif, stated_colour, xmp
from moceir.image_io.colour import SRGB_PROFILE, fits
from moceir.image_io.containers import Inventory, TornError, foreign, survey
from moceir.image_io.formats import LOADERS, WANTED, Limits
from moceir.image_io.other_decoders import decode_bmp, decode_heic
from moceir.image_io.picture import EXIF, ICC, PNG_COLOUR, XMP, Picture, Pixels, full_range, turn_upright

_COLOURS = {"srgb": 3, "rgb": 3, "rgb16": 3, "b-w": 1, "grey16": 1, "cmyk": 4}
_ANY_LIMITS = Limits()
UNKNOWN_FORMAT = "it is no picture of a known format"


def read(path: Path, limits: Limits = _ANY_LIMITS) -> Picture:
    """Decode a picture file.

    Args:
        path: The file.
        limits: How large it may be.

    Raises:
        FormatError: If the file is not in one of the formats.
        ImageError: If the file is missing, unreadable, damaged, or not one picture of 8 or 16 bits.
        TooLargeError: If it is above a limit.
        MissingExtraError: If it is a BMP file and Pillow is not installed.
    """
    return decode(read_bytes(path, limits), str(path), limits)


def read_bytes(path: Path, limits: Limits = _ANY_LIMITS) -> bytes:
    """Read the bytes of a picture file, without decoding them.

    Args:
        path: The file.
        limits: How large it may be.

    Raises:
        ImageError: If the file is missing or unreadable.
        TooLargeError: If it is above the limit.
    """
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
            raise ImageError(f"{path} {what}; give a {WANTED} file")
        limits.check_bytes(str(path), path.stat().st_size)
        return path.read_bytes()
    except OSError as error:  # no permission, a name too long, a disk that fails
        msg = f"{path} cannot be read: {reason(error)}; give a {WANTED} file that you may read"
        raise ImageError(msg) from error


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
        return decode_bmp(data, name, limits)
    if not data:
        raise ImageError(f"{name} is empty; expected a whole {WANTED} file")
    inventory = _surveyed(data, name)
    if inventory is not None and inventory.format == "heic":
        return _finished(decode_heic(data, name, limits), inventory, name)
    try:
        image = _open(data, inventory.page if inventory else 0)
        _check_kind(name, image)
        limits.check_pixels(name, image.width, image.height, image.bands)
        return _finished(_decode(image, inventory or Inventory("")), inventory or Inventory(""), name)
    except (pyvips.Error, UnicodeDecodeError) as error:  # messages of libvips may quote bytes that are no text
        why = reason(error)
        kind = FormatError if why == UNKNOWN_FORMAT else ImageError
        raise kind(f"{name} cannot be read: {why}; expected a whole {WANTED} file") from error


def reason(error: Exception) -> str:
    """The telling line of a libvips or system error."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # The first line tells most, and begins with the name of a part of libvips. Some failures come without any.
    lines = [line.strip() for line in getattr(error, "detail", "").splitlines() if line.strip()]
    line = lines[0].partition(": ")[2] or lines[0] if lines else "it is damaged"
    return UNKNOWN_FORMAT if line == "buffer is not in a known format" else line


def _surveyed(data: bytes, name: str) -> Inventory | None:
    """What is in a file; None if only libvips may know.

    Raises:
        ImageError: If the file is of another kind, torn, or not one picture that can be restored.
    """
    if other := foreign(data):
        raise FormatError(f"{name} {other} {WANTED}" if other.endswith((" to", " as")) else f"{name} {other}")
    try:
        inventory = survey(data)
    except TornError as error:
        raise ImageError(f"{name} cannot be read: {error}; expected a whole {WANTED} file") from error
    if inventory is not None and inventory.refusal:
        raise ImageError(f"{name} {inventory.refusal}")
    return inventory


def _open(data: bytes, page: int) -> Any:
    """The header of a file, its pixels to be decoded from top to bottom."""
    options: dict[str, Any] = {"access": "sequential", "fail_on": "error"}
    if page:
        options["page"] = page
    image: Any = pyvips.Image.new_from_buffer(data, "", **options)
    # A JPEG file with a map that brightens it on some screens: the picture itself is as good as any.
    is_ultra_hdr = str(image.get("vips-loader")).startswith("uhdr")
    return pyvips.Image.jpegload_buffer(data, **options) if is_ultra_hdr else image


def _decode(image: Any, inventory: Inventory) -> Picture:
    """Decode the pixels of a file whose header was checked."""
    metadata = {name: image.get(name) for name in (XMP, ICC, EXIF) if image.get_typeof(name)} | inventory.metadata
    notes: list[str] = []
    deep, colours = image.format == "ushort", _COLOURS[image.interpretation]
    orientation = image.get("orientation") if inventory.format != "avif" and image.get_typeof("orientation") else 1
    across, down = image.xres, image.yres
    if image.interpretation == "cmyk":
        image = _cmyk_to_srgb(image, deep)
        colours, metadata[ICC] = 3, SRGB_PROFILE
        notes.append("CMYK became sRGB")
    pixels = _fetch(image, deep)
    if inventory.format == "avif" and image.get_typeof("bits-per-sample"):
        pixels = full_range(pixels, image.get("bits-per-sample"))
    pixels = turn_upright(pixels, orientation)
    places = range(colours, pixels.shape[2])
    samples = _explained(inventory.samples, len(places))
    alpha = next((at for at, kind in zip(places, samples, strict=True) if kind in (1, 2)), None)
    others = [at for at in places if at != alpha]
    in_exif = exif.resolution(exif.without_prefix(metadata.get(EXIF, b"")))
    return Picture(
        rgb=np.ascontiguousarray(pixels[..., :3] if colours == 3 else pixels[..., :1].repeat(3, axis=2)),
        alpha=None if alpha is None else np.ascontiguousarray(pixels[..., alpha]),
        grey=colours == 1,
        metadata=metadata,
        pixels_per_mm=(across, down) if inventory.resolution else in_exif,
        orientation=orientation,
        notes=tuple(notes),
        format=_format(image) or inventory.format,
        extra=np.ascontiguousarray(pixels[..., others]) if others else None,
        samples=tuple(2 if at == alpha else kind for at, kind in zip(places, samples, strict=True)) if others else (),
    )


def _explained(samples: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """Return what each channel after the colours means; where a file does not say it of all, the first is the alpha."""
    return samples if len(samples) == channels else (2, *[0] * channels)[:channels]


def _finished(picture: Picture, inventory: Inventory, name: str) -> Picture:
    """Settle the colours and the metadata of a decoded picture.

    Raises:
        ImageError: If its colours are those of high dynamic range.
    """
    metadata, notes = dict(picture.metadata), [*picture.notes, *inventory.notes]
    if ICC in metadata and not fits(metadata[ICC], grey=picture.grey):
        del metadata[ICC]
        notes.append("unusable ICC profile left out")
    if EXIF in metadata:
        block = exif.without_prefix(metadata[EXIF])
        # AVIF turns its pictures by other means, and what EXIF says does not count.
        metadata[EXIF] = exif.with_orientation(block, 1) if picture.format in ("avif", "heic") else block
    if XMP in metadata:
        metadata[XMP] = xmp.without_promises(metadata[XMP])
    decision = stated_colour.decide(
        inventory.statements,
        metadata.get(EXIF),
        has_icc=ICC in metadata,
        grey=picture.grey,
        video=picture.format in ("avif", "heic"),
    )
    if decision.refusal:
        raise ImageError(f"{name} {decision.refusal}")
    if decision.profile:
        metadata[ICC] = decision.profile
    elif ICC not in metadata and not picture.grey and exif.states_adobe_rgb(metadata.get(EXIF, b"")):
        metadata[ICC] = SRGB_PROFILE  # EXIF stays, and must not have a say once what outranks it is gone
    if ICC in metadata:
        metadata.pop(PNG_COLOUR, None)  # the profile says it all
    notes += decision.notes
    return dataclasses.replace(picture, metadata=metadata, notes=tuple(dict.fromkeys(notes)))


def _cmyk_to_srgb(image: Any, deep: bool) -> Any:
    """Convert by the file's own profile; files without one, or with a broken one, by that of libvips."""
    options: dict[str, Any] = {"input_profile": "cmyk", "intent": "relative", "depth": 16 if deep else 8}
    if image.get_typeof(ICC) and not fits(image.get(ICC), cmyk=True):
        image = image.copy()
        image.remove(ICC)
    if image.bands == 4:
        return image.icc_transform("srgb", embedded=True, **options)
    image = image.copy_memory()  # two ways lead through it
    colours = image.extract_band(0, n=4).copy(interpretation="cmyk").icc_transform("srgb", embedded=True, **options)
    return colours.bandjoin(image.extract_band(4, n=image.bands - 4))


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
        raise FormatError(f"{name} is a {kind} file; convert it to {WANTED}")
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1 and _format(image) not in ("tiff", "avif"):  # the inventory knows what their pages are
        raise ImageError(f"{name} holds {pages} pages or frames; split it into single pictures first")
    if image.format not in ("uchar", "ushort"):
        hdr = "high dynamic range is not restored; " if image.format in ("float", "double") else ""
        msg = f"{name} has samples of type {image.format}; {hdr}convert it to 8 or 16 bits per channel"
        raise ImageError(msg)
    if image.bands < _COLOURS.get(image.interpretation, 64):
        msg = (
            f"{name} has {image.bands} channels of colour space {image.interpretation}; convert it to RGB, grey or CMYK"
        )
        raise ImageError(msg)
