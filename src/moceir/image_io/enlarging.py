"""What a file says of its size and resolution, for the same picture with more pixels on the same paper."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Callable

from moceir.image_io import exif, photoshop
from moceir.image_io.containers import png, tiff
from moceir.image_io.picture import EXIF, PHOTOSHOP, PNG_CHUNKS, TIFF_TAGS, XMP, Picture, Pixels

_GEOTIFF = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)
_XMP_SIZES = re.compile(
    rb"""(\b(?:tiff:(?:ImageWidth|ImageLength|XResolution|YResolution)|exif:Pixel[XY]Dimension)"""
    rb"""(?:\s*=\s*["']|>)\s*)(\d+)"""
)


def enlarged(picture: Picture, scale: int, enlarge: Callable[[Pixels], Pixels]) -> Picture:
    """Enlarge a picture with everything that counts in its pixels.

    Sizes in EXIF and XMP, and all resolutions, are multiplied, so that the picture keeps its size on paper. Tags that
    place pixels on a map are left out, with a note.

    Args:
        picture: The picture.
        scale: Factor.
        enlarge: Enlarges ``(H, W, N)`` channels to ``(sH, sW, N)`` of the same type.
    """
    metadata, notes = dict(picture.metadata), picture.notes
    followers: dict[str, Callable[[bytes, int], bytes]] = {
        EXIF: exif.enlarged,
        PHOTOSHOP: photoshop.enlarged,
        PNG_CHUNKS: _png_chunks,
        XMP: _xmp,
    }
    for name, follow in followers.items():
        if name in metadata:
            metadata[name] = follow(metadata[name], scale)
    if TIFF_TAGS in metadata:
        entries = tiff.unpacked(metadata[TIFF_TAGS])
        kept = [entry for entry in entries if entry.tag not in _GEOTIFF]
        if len(kept) < len(entries):
            metadata[TIFF_TAGS] = tiff.packed(kept)
            notes = (*notes, "GeoTIFF tags, which hold for the smaller picture only")
    return dataclasses.replace(
        picture,
        rgb=enlarge(picture.rgb),
        alpha=None if picture.alpha is None else enlarge(picture.alpha[..., None])[..., 0],
        extra=None if picture.extra is None else enlarge(picture.extra),
        metadata=metadata,
        pixels_per_mm=picture.pixels_per_mm and (picture.pixels_per_mm[0] * scale, picture.pixels_per_mm[1] * scale),
        notes=notes,
    )


def _png_chunks(collected: bytes, scale: int) -> bytes:
    """Multiply pixels per metre, and offsets on a page where they are in pixels (11.3.5.3; extensions, 3.2)."""
    made = b""
    for chunk in png.parts(collected):
        content = chunk.content
        if chunk.name == "pHYs" and png.states_resolution(content):
            across, down = (min(value * scale, 2**31 - 1) for value in struct.unpack_from(">II", content))
            made += png.packed(b"pHYs", struct.pack(">II", across, down) + content[8:])
        elif chunk.name == "oFFs" and len(content) == 9 and content[8] == 0:
            left, top = (max(min(v * scale, 2**31 - 1), -(2**31)) for v in struct.unpack_from(">ii", content))
            made += png.packed(b"oFFs", struct.pack(">ii", left, top) + content[8:])
        else:
            made += chunk.whole
    return made


def _xmp(block: bytes, scale: int) -> bytes:
    return _XMP_SIZES.sub(lambda found: found[1] + b"%d" % (int(found[2]) * scale), block)
