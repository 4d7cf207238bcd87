"""EXIF blocks, byte for byte: libvips' own writer drops what it does not know, makers' notes among it.

A block is a small TIFF structure (EXIF 2.32, 4.5): a header, then directories of entries. JPEG, PNG and WebP files
hold it as one piece. In TIFF files its entries stand in the file's own directory.
"""

from __future__ import annotations

import struct
from fractions import Fraction

from moceir.image_io.containers.directories import Entry, Layout, header, joined, next_start, places, read
from moceir.image_io.containers.jpeg import EXIF_PREFIX, LARGEST

PREFIX = EXIF_PREFIX
EMPTY = struct.pack("<2sHIHI", b"II", 42, 8, 0, 0)
LARGEST_IN_JPEG = LARGEST - len(PREFIX)

_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 274, 282, 283, 296
_EXIF, _INTEROPERABILITY, _COLOUR_SPACE, _INDEX = 34665, 40965, 40961, 1
_UNCALIBRATED, _ADOBE_RGB = 65535, 2
_PIXELS = (256, 257, 40962, 40963)
"""Width and height, of a TIFF file and of EXIF."""
_PLACES = (37396, 41492)
"""Area and place of the subject, in pixels."""
_PER_UNIT = (_X_RESOLUTION, _Y_RESOLUTION, 41486, 41487)
"""Pixels per unit, on paper and on the sensor."""


def without_prefix(block: bytes) -> bytes:
    """The TIFF structure alone, as PNG and WebP hold it; JPEG and AVIF put a few letters before it."""
    return block.removeprefix(PREFIX)


def with_orientation(block: bytes, orientation: int) -> bytes:
    """The block saying how the pixels are stored; the very bytes if it says so already, or nothing where 1 is meant."""
    try:
        layout, start = header(block)
        if layout.big:
            raise ValueError("no EXIF block")
        for tag, place in places(block, layout, start):
            if tag == _ORIENTATION:
                entry = struct.pack(f"{layout.order}HHIHH", tag, 3, 1, orientation, 0)
                return block[:place] + entry + block[place + 12 :]
        if orientation == 1:
            return block
        after = next_start(block, layout, start)
    except (struct.error, ValueError):
        return with_orientation(EMPTY, orientation)  # nobody can read this block
    return joined(block, layout, start, [orientation_entry(orientation)], after=after)


def orientation_entry(orientation: int) -> Entry:
    """The tag Orientation."""
    return Entry(_ORIENTATION, 3, 1, struct.pack("<H", orientation))


def resolution(block: bytes) -> tuple[float, float] | None:
    """Pixels per millimetre across and down that a block states; None if it states none."""
    found = {entry.tag: entry for entry in _entries(block, (_X_RESOLUTION, _Y_RESOLUTION, _UNIT))}
    unit = found[_UNIT].numbers if _UNIT in found else (2,)
    mm = 25.4 if unit == (2,) else 10.0 if unit == (3,) else None
    values = [_fraction(found[tag]) for tag in (_X_RESOLUTION, _Y_RESOLUTION) if tag in found]
    if mm is None or len(values) != 2 or not all(values):
        return None
    return values[0] / mm, values[1] / mm


def _fraction(entry: Entry) -> float:
    if entry.kind != 5 or entry.number != 1 or not isinstance(entry.value, bytes):
        return 0.0
    over, under = struct.unpack("<II", entry.value)
    return over / under if under else 0.0


def with_resolution(block: bytes, pixels_per_mm: tuple[float, float]) -> bytes:
    """The block with the resolution, unless it states one already."""
    try:
        layout, start = header(block)
        after = next_start(block, layout, start)
    except (struct.error, ValueError):
        return block
    ratios = [Fraction(value * 25.4).limit_denominator(1000) for value in pixels_per_mm]
    entries = [
        Entry(tag, 5, 1, struct.pack("<II", min(ratio.numerator, 2**32 - 1), ratio.denominator))
        for tag, ratio in zip((_X_RESOLUTION, _Y_RESOLUTION), ratios, strict=True)
    ]
    return joined(block, layout, start, [*entries, Entry(_UNIT, 3, 1, struct.pack("<H", 2))], after=after)


def enlarged(block: bytes, scale: int) -> bytes:
    """The block for a picture of ``scale`` times as many pixels each way: sizes, places and resolutions follow."""
    made = bytearray(block)
    try:
        layout, start = header(block)
        if layout.big:
            return block
        own = list(places(block, layout, start))
        nested = [layout.unpack("I", block, place + 8)[0] for tag, place in own if tag == _EXIF]
        entries = {place for _, place in own} | {place for at in nested for _, place in places(block, layout, at)}
        shared: set[int] = set()  # some programs let both resolutions point to one value
        for place in sorted(entries):
            _enlarge_entry(block, made, layout, place, scale, shared)
    except (struct.error, ValueError):
        return block
    return bytes(made)


def _enlarge_entry(before: bytes, block: bytearray, layout: Layout, place: int, scale: int, done: set[int]) -> None:
    """Multiply the value of an entry in ``block``, if it counts pixels and does not stand where another did.

    Raises:
        struct.error: If the value lies outside of the block.
    """
    tag, kind, count, at = layout.unpack("HHII", before, place)
    if tag in _PIXELS and kind in (3, 4) and count == 1:
        (value,) = layout.unpack("H" if kind == 3 else "I", before, place + 8)
        block[place : place + 12] = layout.pack("HHII", tag, 4, 1, min(value * scale, 2**32 - 1))
    elif tag in _PLACES and kind == 3 and count <= 4:
        first = place + 8 if count <= 2 else at
        values = layout.unpack("H" * count, before, first)
        block[first : first + 2 * count] = layout.pack("H" * count, *(min(v * scale, 65535) for v in values))
    elif tag in _PER_UNIT and kind == 5 and count == 1 and at not in done:
        done.add(at)
        over, under = layout.unpack("II", before, at)
        fits = over * scale < 2**32
        block[at : at + 8] = layout.pack(
            "II", over * scale if fits else over, under if fits else under // scale or under
        )


def has_thumbnail(block: bytes) -> bool:
    """Whether a second directory follows, which holds a small version of the picture."""
    try:
        return next_start(block, *header(block)) != 0
    except (struct.error, ValueError):
        return False


def is_readable(block: bytes) -> bool:
    """Whether the first directory of a block can be read."""
    try:
        return bool(list(places(block, *header(block)))) or block == EMPTY
    except (struct.error, ValueError):
        return False


def states_adobe_rgb(block: bytes) -> bool:
    """Whether a block says that the colours are Adobe RGB: the DCF's index R03, or a colour space of 2."""
    for entry in _entries(block, (_EXIF,)):
        inner = {one.tag: one for one in entry.value if isinstance(one, Entry)}
        space = inner[_COLOUR_SPACE].numbers if _COLOUR_SPACE in inner else ()
        interoperability = inner[_INTEROPERABILITY].value if _INTEROPERABILITY in inner else []
        index = next((one.value for one in interoperability if isinstance(one, Entry) and one.tag == _INDEX), b"")
        if space == (_ADOBE_RGB,) or (space == (_UNCALIBRATED,) and index == b"R03\0"):
            return True
    return False


def _entries(block: bytes, wanted: tuple[int, ...]) -> list[Entry]:
    try:
        layout, start = header(block)
        return read(block, layout, start, wanted)
    except (struct.error, ValueError):
        return []
