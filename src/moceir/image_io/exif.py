"""EXIF blocks, byte for byte: libvips' own writer drops what it does not know, makers' notes among it.

A block is a small TIFF structure (EXIF 2.32, 4.5): a header, then directories of entries. JPEG, PNG and WebP files
hold it as one piece, which is put in place of the piece that libvips wrote. In TIFF files its entries stand in the
file's own directory: they are gathered into a block on reading and joined to that directory on writing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Container, Iterator
from typing import NamedTuple

import numpy as np

PREFIX = b"Exif\0\0"
EMPTY = struct.pack("<2sHIHI", b"II", 42, 8, 0, 0)
LARGEST_IN_JPEG = 65533 - len(PREFIX)

_ORIENTATION = 274
_NESTED = (34665, 34853, 40965)  # Exif, GPS, interoperability
_FROM_TIFF = (269, 270, 271, 272, 274, 285, 305, 306, 315, 316, 18246, 18249, 33432, 34665, 34853, *range(40091, 40096))
"""Entries of a TIFF file's directory that tell of the picture and not of how its pixels are stored."""
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_WORDS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}
_DEEPEST, _MOST_ENTRIES, _LARGEST_VALUE, _LARGEST_TOTAL = 2, 500, 2**20, 2**22


class _Entry(NamedTuple):
    """One entry of a directory; its value as little-endian bytes, or the entries of a nested directory."""

    tag: int
    kind: int
    length: int
    value: bytes | list[_Entry]


def without_prefix(block: bytes) -> bytes:
    """The TIFF structure alone, as PNG and WebP hold it; JPEG and AVIF put a few letters before it."""
    return block.removeprefix(PREFIX)


def with_orientation(block: bytes, orientation: int) -> bytes:
    """The block saying how the pixels are stored; the very bytes if it says so already, or nothing where 1 is meant."""
    try:
        order, start = _header(block)
        places = list(_places(block, order, start))
        for tag, place in places:
            if tag == _ORIENTATION:
                entry = struct.pack(f"{order}HHIHH", tag, 3, 1, orientation, 0)
                return block[:place] + entry + block[place + 12 :]
        if orientation == 1:
            return block
        (next_start,) = struct.unpack_from(f"{order}I", block, start + 2 + 12 * len(places))
    except (struct.error, ValueError):
        return with_orientation(EMPTY, orientation)  # nobody can read this block
    entry = _Entry(_ORIENTATION, 3, 1, struct.pack("<H", orientation))
    return _joined(block, order, start, [entry], next_start)


def from_tiff(data: bytes) -> bytes | None:
    """Gather the EXIF entries of a TIFF file into a block; None if there are none, or none that can be read."""
    try:
        order, start = _header(data)
        entries = _read(data, order, start, _FROM_TIFF)
    except (struct.error, ValueError):
        return None
    telling = any(entry.tag != _ORIENTATION for entry in entries)
    return EMPTY[:8] + _write(entries, {}, "<", 8) if telling else None


def replace(data: bytes, kind: str, block: bytes) -> bytes:
    """Put a block into an encoded file (``jpeg``, ``png``, ``webp``, ``tiff``) in place of what libvips wrote there."""
    if kind == "jpeg":
        return _replace_in_jpeg(data, block)
    if kind == "png":
        return _replace_in_png(data, block)
    return _replace_in_webp(data, block) if kind == "webp" else _join_tiff(data, block)


def _replace_in_jpeg(data: bytes, block: bytes) -> bytes:
    segment = PREFIX + block if len(block) <= LARGEST_IN_JPEG else b""
    at = 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == PREFIX:
            new = struct.pack(">HH", 0xFFE1, 2 + len(segment)) + segment if segment else b""
            return data[:at] + new + data[at + 2 + length :]
        at += 2 + length
    return data


def _replace_in_png(data: bytes, block: bytes) -> bytes:
    at = 8
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"eXIf":
            new = struct.pack(">I", len(block)) + name + block + struct.pack(">I", zlib.crc32(name + block))
            return data[:at] + new + data[at + 12 + length :]
        at += 12 + length
    return data


def _replace_in_webp(data: bytes, block: bytes) -> bytes:
    at = 12
    while at < len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"EXIF":
            new = struct.pack("<4sI", name, len(block)) + block + bytes(len(block) % 2)
            data = data[:at] + new + data[at + 8 + length + length % 2 :]
            return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
        at += 8 + length + length % 2
    return data


def _join_tiff(data: bytes, block: bytes) -> bytes:
    try:
        order, start = _header(data)
        entries = _read(block, *_header(block), _FROM_TIFF)
        return _joined(data, order, start, entries, 0)
    except (struct.error, ValueError):  # a block that nobody can read, or a TIFF file with 64-bit offsets
        return data


def _header(data: bytes) -> tuple[str, int]:
    """Byte order, in the letters of `struct`, and place of the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("no TIFF structure")
    magic, start = struct.unpack_from(f"{order}HI", data, 2)
    if magic != 42:
        raise ValueError("no classic TIFF structure")
    return order, start


def _places(data: bytes, order: str, start: int) -> Iterator[tuple[int, int]]:
    """Tag and place of each entry of a directory."""
    (count,) = struct.unpack_from(f"{order}H", data, start)
    if count > _MOST_ENTRIES:
        raise ValueError("more entries than any camera writes")
    for place in range(start + 2, start + 2 + 12 * count, 12):
        yield struct.unpack_from(f"{order}H", data, place)[0], place


def _read(data: bytes, order: str, start: int, wanted: Container[int] | None, depth: int = 0) -> list[_Entry]:
    """Read entries, those of nested directories too; broken ones are left out."""
    entries: list[_Entry] = []
    total = 0
    for tag, place in _places(data, order, start):
        kind, count = struct.unpack_from(f"{order}HI", data, place + 2)
        size = _UNITS.get(kind, 0) * count
        if (wanted is not None and tag not in wanted) or not 0 < size <= _LARGEST_VALUE:
            continue
        (target,) = struct.unpack_from(f"{order}I", data, place + 8)
        at = place + 8 if size <= 4 else target
        value = _reordered(data[at : at + size], kind, order)
        total += size
        if tag in _NESTED:
            if depth < _DEEPEST and (inner := _read(data, order, target, None, depth + 1)):
                entries.append(_Entry(tag, 4, 1, inner))
        elif len(value) == size and total <= _LARGEST_TOTAL:
            entries.append(_Entry(tag, kind, count, value))
    return entries


def _joined(data: bytes, order: str, start: int, entries: list[_Entry], next_start: int) -> bytes:
    """Append a directory that has the entries of the first one and others, and lead the header to it."""
    old = {tag: data[place : place + 12] for tag, place in _places(data, order, start)}
    new = [entry for entry in entries if entry.tag not in old]
    data += bytes(len(data) % 2)
    header = data[:2] + struct.pack(f"{order}HI", 42, len(data))
    return header + data[8:] + _write(new, old, order, len(data), next_start)


def _write(entries: list[_Entry], finished: dict[int, bytes], order: str, start: int, next_start: int = 0) -> bytes:
    """Bytes of a directory that will stand at ``start``, and of the values behind it."""
    records = dict(finished)
    tail = b""
    first = start + 6 + 12 * (len(entries) + len(finished))
    for tag, kind, length, value in entries:
        place = first + len(tail)
        if isinstance(value, list):
            body, field = _write(value, {}, order, place), struct.pack(f"{order}I", place)
        else:
            body = _reordered(value, kind, order)
            body, field = (b"", body.ljust(4, b"\0")) if len(body) <= 4 else (body, struct.pack(f"{order}I", place))
        tail += body + bytes(len(body) % 2)
        records[tag] = struct.pack(f"{order}HHI", tag, kind, length) + field
    listed = b"".join(records[tag] for tag in sorted(records))
    return struct.pack(f"{order}H", len(records)) + listed + struct.pack(f"{order}I", next_start) + tail


def _reordered(value: bytes, kind: int, order: str) -> bytes:
    """Values between little-endian and another byte order, either way."""
    word = _WORDS.get(kind, 1)
    if order == "<" or word == 1 or len(value) % word:
        return value
    return np.frombuffer(value, dtype=f">u{word}").astype(f"<u{word}").tobytes()
