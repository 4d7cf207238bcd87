"""TIFF structures: a header, and directories of entries; classic and BigTIFF, in both byte orders.

EXIF blocks are such structures too (EXIF 2.32, 4.5). Values are handed around as little-endian bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

NESTED = (34665, 34853, 40965)
"""Tags that point to directories of EXIF, GPS and interoperability."""
MOST_ENTRIES = 4096
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WORDS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_DEEPEST = 2
_MOST_NUMBERS = 3 * 2**16
"""Numbers of the longest table that is followed: three curves of 16 bits."""


@dataclass
class Budget:
    """Bytes that values may still take: entries may share them in the file, but each has a copy here."""

    left: int


class Entry(NamedTuple):
    """One entry of a directory; its value as little-endian bytes, or the entries of a nested directory."""

    tag: int
    kind: int
    number: int
    value: bytes | list[Entry]

    @property
    def size(self) -> int:
        """Bytes of the value, those of nested directories included."""
        return len(self.value) if isinstance(self.value, bytes) else sum(12 + entry.size for entry in self.value)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The value as whole numbers; empty if it is something else."""
        if self.number > _MOST_NUMBERS or not isinstance(self.value, bytes):
            return ()
        return tuple(self._array.tolist())

    @property
    def total(self) -> int:
        """Sum of its whole numbers, however many."""
        return int(self._array.sum(dtype=np.uint64))

    @property
    def _array(self) -> NDArray[np.unsignedinteger[Any]]:
        letter = {1: "u1", 3: "<u2", 4: "<u4", 13: "<u4", 16: "<u8", 18: "<u8"}.get(self.kind)
        if letter is None or not isinstance(self.value, bytes):
            return np.zeros(0, np.uint8)
        return np.frombuffer(self.value, dtype=letter)


@dataclass(frozen=True)
class Layout:
    """How a structure is laid out: byte order in the letters of `struct`, and whether offsets have 64 bits."""

    order: str
    big: bool

    def unpack(self, letters: str, data: bytes, at: int) -> tuple[int, ...]:
        """Read numbers; ``O`` stands for an offset.

        Raises:
            struct.error: If the data end before.
        """
        if at > len(data):
            raise struct.error("the data end before")
        return struct.unpack_from(self.order + letters.replace("O", "Q" if self.big else "I"), data, at)

    def pack(self, letters: str, *values: int) -> bytes:
        """Write numbers likewise."""
        return struct.pack(self.order + letters.replace("O", "Q" if self.big else "I"), *values)

    @property
    def count_letter(self) -> str:
        """Of the number of entries."""
        return "Q" if self.big else "H"

    @property
    def field_bytes(self) -> int:
        """Largest value that stands in the entry itself."""
        return 8 if self.big else 4

    @property
    def entry_bytes(self) -> int:
        """Size of an entry."""
        return 20 if self.big else 12


def header(data: bytes) -> tuple[Layout, int]:
    """Layout of a structure and place of its first directory.

    Raises:
        ValueError: If it is none.
        struct.error: If it ends before.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("no TIFF structure")
    (magic,) = struct.unpack_from(f"{order}H", data, 2)
    if magic == 43 and struct.unpack_from(f"{order}HH", data, 4) == (8, 0):
        return Layout(order, big=True), struct.unpack_from(f"{order}Q", data, 8)[0]
    if magic != 42:
        raise ValueError("no TIFF structure")
    return Layout(order, big=False), struct.unpack_from(f"{order}I", data, 4)[0]


def places(data: bytes, layout: Layout, start: int) -> Iterator[tuple[int, int]]:
    """Tag and place of each entry of a directory.

    Raises:
        ValueError: If there are more than any program writes.
        struct.error: If the data end before.
    """
    (count,) = layout.unpack(layout.count_letter, data, start)
    if count > MOST_ENTRIES:
        raise ValueError(f"a directory claims {count:,} entries")
    first = start + struct.calcsize("=" + layout.count_letter)
    for place in range(first, first + layout.entry_bytes * count, layout.entry_bytes):
        yield layout.unpack("H", data, place)[0], place


def next_start(data: bytes, layout: Layout, start: int) -> int:
    """Place of the directory after this one; 0 if it is the last.

    Raises:
        struct.error: If the data end before.
    """
    (count,) = layout.unpack(layout.count_letter, data, start)
    at = start + struct.calcsize("=" + layout.count_letter) + layout.entry_bytes * count
    return layout.unpack("O", data, at)[0]


def read(
    data: bytes, layout: Layout, start: int, wanted: Container[int] | None = None, budget: Budget | None = None
) -> list[Entry]:
    """Read the entries of a directory, those of nested directories too; broken ones are left out.

    Args:
        data: The structure.
        layout: As `header` says.
        start: Place of the directory.
        wanted: Tags to read; all if None.
        budget: For the values, by default as many bytes as there are; entries beyond it are left out.

    Raises:
        ValueError: If there are more entries than any program writes.
        struct.error: If the data end before.
    """
    return _read(data, layout, start, wanted, budget or Budget(len(data)), 0)


def _read(
    data: bytes, layout: Layout, start: int, wanted: Container[int] | None, budget: Budget, depth: int
) -> list[Entry]:
    entries: list[Entry] = []
    for tag, place in places(data, layout, start):
        if wanted is not None and tag not in wanted:
            continue
        kind, count = layout.unpack("HO", data, place + 2)
        size = _UNITS.get(kind, 0) * count
        field = place + layout.entry_bytes - layout.field_bytes
        (target,) = layout.unpack("O", data, field)
        if tag in NESTED and depth < _DEEPEST:
            target = layout.unpack("I", data, field)[0] if kind == 4 else target
            if inner := _read_nested(data, layout, target, budget, depth):
                entries.append(Entry(tag, 4, 1, inner))
            continue
        at = field if size <= layout.field_bytes else target
        if tag in NESTED or not 0 < size <= min(budget.left, len(data) - at):
            continue
        budget.left -= size
        entries.append(Entry(tag, kind, count, reordered(data[at : at + size], kind, layout.order)))
    return entries


def _read_nested(data: bytes, layout: Layout, start: int, budget: Budget, depth: int) -> list[Entry]:
    try:
        return _read(data, layout, start, None, budget, depth + 1)
    except (struct.error, ValueError):
        return []


def joined(
    data: bytes, layout: Layout, start: int, entries: list[Entry], *, drop: Container[int] = (), after: int = 0
) -> bytes:
    """Append a directory with the entries of one and others, and point the header to it.

    Args:
        data: The structure.
        layout: As `header` says.
        start: Place of the directory.
        entries: What to add; of a tag that is there, the old entry stays.
        drop: Tags to leave out.
        after: Place of the directory after it.
    """
    size = layout.entry_bytes
    old = {tag: data[place : place + size] for tag, place in places(data, layout, start) if tag not in drop}
    new = [entry for entry in entries if entry.tag not in old]
    data += bytes(-len(data) % 8 if layout.big else len(data) % 2)
    length = 16 if layout.big else 8
    head = data[: length - layout.field_bytes] + layout.pack("O", len(data))
    return head + data[length:] + written(new, layout, len(data), old, after)


def written(
    entries: list[Entry], layout: Layout, start: int, finished: dict[int, bytes] | None = None, after: int = 0
) -> bytes:
    """Bytes of a directory that will stand at ``start``, and of the values behind it."""
    records = dict(finished or {})
    tail = b""
    fixed = struct.calcsize("=" + layout.count_letter) + layout.field_bytes
    first = start + fixed + layout.entry_bytes * (len(entries) + len(records))
    for tag, kind, number, value in entries:
        place = first + len(tail)
        if isinstance(value, list):
            body, field = written(value, layout, place), layout.pack("O", place)
            kind = 18 if layout.big else kind
        else:
            body = reordered(value, kind, layout.order)
            inside = len(body) <= layout.field_bytes
            field = body.ljust(layout.field_bytes, b"\0") if inside else layout.pack("O", place)
            body = b"" if inside else body
        tail += body + bytes(len(body) % 2)
        records[tag] = layout.pack("HHO", tag, kind, number) + field
    listed = b"".join(records[tag] for tag in sorted(records))
    return layout.pack(layout.count_letter, len(records)) + listed + layout.pack("O", after) + tail


def reordered(value: bytes, kind: int, order: str) -> bytes:
    """Values between little-endian and another byte order, either way."""
    word = _WORDS.get(kind, 1)
    if order == "<" or word == 1 or len(value) % word:
        return value
    return np.frombuffer(value, dtype=f">u{word}").astype(f"<u{word}").tobytes()
