"""What a picture file is, decoded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8 | np.uint16]

EXIF, XMP, IPTC, ICC, PHOTOSHOP = "exif-data", "xmp-data", "iptc-data", "icc-profile-data", "photoshop-data"
"""libvips' names of the blocks around the pixels."""
PNG_CHUNKS, PNG_COLOUR, JPEG_SEGMENTS = "png-chunks", "png-colour", "jpeg-segments"
WEBP_CHUNKS, TIFF_TAGS, XMP_EXTENDED = "webp-chunks", "tiff-tags", "xmp-extended"
"""What only one format has: whole chunks or segments one after the other, or a TIFF structure of tags."""


@dataclass(frozen=True)
class Picture:
    """One decoded picture.

    Attributes:
        rgb: ``(H, W, 3)`` uint8 or uint16, upright, in the colours of the file's profile (sRGB if it has none); grey
            pictures have three equal channels. Pictures that come from arrays and go into none of the writers may
            hold floats in [0, 1].
        alpha: ``(H, W)`` of the same type, not multiplied into the colours; or None.
        grey: Whether the file had a single colour channel; it is then written with one again.
        metadata: Blocks by the names above, without a container's prefix.
        pixels_per_mm: Resolution across and down, as viewers and printers use it; None if the file states none.
        orientation: How the file stores the upright pixels (EXIF 2.32, tag 274); it is stored so again.
        notes: What the file has and a result will lack, in a few words each.
        format: ``jpeg``, ``png``, ``webp``, ``tiff``, ``avif``, ``heic``, ``bmp``, or empty if it comes from no file.
        extra: ``(H, W, N)`` of the same type: channels that are neither colour nor alpha, such as a saved selection.
        samples: Meaning of each channel after the colours in the file's order, as in TIFF's tag ExtraSamples: 2 is the
            alpha, all others are in ``extra``. Empty if there is nothing in ``extra``.
    """

    rgb: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    metadata: dict[str, bytes] = field(default_factory=dict[str, bytes])
    pixels_per_mm: tuple[float, float] | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()
    format: str = ""
    extra: Pixels | None = None
    samples: tuple[int, ...] = ()


def full_range(pixels: Pixels, bits: int) -> Pixels:
    """Fill the low bits of 16-bit pixels that hold 10 or 12 bits at their upper end: white becomes 65535."""
    if pixels.dtype != np.uint16 or not 8 <= bits < 16:
        return pixels
    return np.bitwise_or(pixels, np.right_shift(pixels, bits), dtype=np.uint16)


def turn_upright(stored: Pixels, orientation: int) -> Pixels:
    """Turn and mirror ``(H, W, C)`` pixels as EXIF 2.32 says for tag 274; a view of the same memory."""
    turned = stored.transpose(1, 0, 2) if orientation > 4 else stored
    down, across = ({2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}).get(orientation, (1, 1))
    return turned[::down, ::across]


def turn_back(upright: Pixels, orientation: int) -> Pixels:
    """Undo `turn_upright`."""
    return turn_upright(upright, {6: 8, 8: 6}.get(orientation, orientation))
