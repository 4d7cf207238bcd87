"""TIFF files, directory by directory (TIFF 6.0 and its technical notes, BigTIFF)."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from moceir.image_io.containers import policy
from moceir.image_io.containers.directories import (
    NESTED,
    Budget,
    Entry,
    Layout,
    header,
    joined,
    next_start,
    places,
    read,
    written,
)
from moceir.image_io.containers.inventory import Block, Inventory, Statements, TornError
from moceir.image_io.picture import EXIF, ICC, IPTC, PHOTOSHOP, TIFF_TAGS, XMP

EXIF_TAGS = (269, 270, 271, 272, 274, 285, 305, 306, 315, 316, 18246, 18249, 33432, *NESTED[:2], *range(40091, 40096))
"""Tags of a directory that EXIF blocks hold too."""
_BLOCKS = {700: XMP, 33723: IPTC, 34377: PHOTOSHOP, 34675: ICC}
_MOST_DIRECTORIES, _MOST_IN_ONE = 1000, 20
_CLASSIC = Layout("<", big=False)
_HEAD = struct.pack("<2sHI", b"II", 42, 8)
_REDUCED, _MASK = 1, 4
_DNG, _RAW_PHOTOMETRIC = 50706, (32803, 34892)
_RAW_COMPRESSION = (99, 262, 32767, 32769, 34713, 65000, 65535)
"""Compressions that only the raw files of camera makers have (Nikon, Kodak, Sony, Epson, Pentax)."""
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_OTHER_SPACES = {4: "a mask", 8: "Lab", 9: "Lab", 10: "Lab", 51177: "a depth map", 52527: "a mask"}
_LOG_LUV = (32844, 32845)
_STRUCTURE = (254, 255, 256, 257, 258, 259, 262, 277, 279, 282, 283, 296, 325, 330, 332, 338, 339, 514, _DNG)


@dataclass(frozen=True)
class _Directory:
    """One directory: where it stands, and its numbers by tag as far as they tell how the pixels are stored."""

    start: int
    entries: Mapping[int, Entry]

    def all(self, tag: int) -> tuple[int, ...]:
        return self.entries[tag].numbers if tag in self.entries else ()

    def one(self, tag: int, default: int) -> int:
        return next(iter(self.all(tag)), default)

    @property
    def reduced(self) -> bool:
        return bool(self.one(254, 0) & _REDUCED) or self.one(255, 1) == 2

    @property
    def mask(self) -> bool:
        return bool(self.one(254, 0) & _MASK) or self.one(262, 1) == 4

    @property
    def pixels(self) -> int:
        return self.one(256, 0) * self.one(257, 0)

    @property
    def stored_bytes(self) -> int:
        return next((self.entries[tag].total for tag in (279, 325, 514) if tag in self.entries), 0)

    @property
    def raw(self) -> bool:
        return (
            _DNG in self.entries
            or self.one(262, 0) in _RAW_PHOTOMETRIC
            or (self.one(259, 1) in _RAW_COMPRESSION and not self.one(277, 1) >= 3)
        )


def survey(data: bytes) -> Inventory:
    """List the directories and tags of a TIFF file.

    Raises:
        TornError: If its structure does not hold together.
    """
    try:
        layout, start = header(data)
        budget = Budget(len(data))
        pages = list(_chain(data, layout, start, budget))
        inside = [sub for page in pages for sub in _sub_directories(data, layout, page, budget)]
        if not pages:
            raise TornError("it has no directory")
        full = [page for page in pages if not page.reduced and not page.mask] or pages[:1]
        raw = [one for one in pages + inside if one.raw]
        if raw:
            largest = max(pages + inside, key=lambda one: one.pixels)
            refusal = raw_refusal(f", {largest.one(256, 0)}x{largest.one(257, 0)} pixels")
            return Inventory("tiff", refusal=refusal)
        if len(full) > 1:
            return Inventory("tiff", refusal=f"holds {len(full)} pages or frames; split it into single pictures first")
        return _of_page(data, layout, pages, full[0], inside)
    except (struct.error, ValueError) as error:
        raise TornError("a directory reaches beyond the file") from error


def raw_refusal(more: str = "") -> str:
    """Why a raw camera file is refused."""
    return f"is a raw camera file{more}; develop it with a raw converter first, best to a 16-bit TIFF"


def _of_page(
    data: bytes, layout: Layout, pages: list[_Directory], page: _Directory, inside: list[_Directory]
) -> Inventory:
    entries = {entry.tag: entry for entry in read(data, layout, page.start)}
    statements = _statements(page, entries)
    unusable = {301} if statements.curve is None else set[int]()
    unusable |= {318, 319} if statements.chromaticities is None else set()
    blocks: list[Block] = []
    for tag, _ in places(data, layout, page.start):
        entry = entries.get(tag)
        rule = policy.of_tiff(tag)
        if tag == 330:
            continue
        if (entry is None and rule is policy.KEPT) or tag in unusable:
            rule = policy.named(f"unusable tag {tag}")
        value = entry.value if entry and isinstance(entry.value, bytes) else b""
        blocks.append(Block(f"tag {tag}", entry.size if entry else 0, rule, value))
    for other in pages:
        if other is not page:
            words = "mask in a page of its own" if other.mask else "thumbnail"
            blocks.append(Block("page", other.stored_bytes, policy.named(words)))
    blocks += [Block("sub-directory", one.stored_bytes, policy.TIFF[330]) for one in inside]
    kept = [e for tag, e in entries.items() if policy.of_tiff(tag) is policy.KEPT]
    metadata = {_BLOCKS[e.tag]: e.value for e in kept if e.tag in _BLOCKS and isinstance(e.value, bytes)}
    exif = [_classic(e) for e in kept if e.tag in EXIF_TAGS] + [_classic(e) for e in entries.values() if e.tag == 274]
    exif = list({e.tag: e for e in exif}.values())
    if any(e.tag != 274 for e in exif):
        metadata[EXIF] = packed(exif)
    others = [_classic(e) for e in kept if e.tag not in EXIF_TAGS and e.tag not in _BLOCKS]
    if others:
        metadata[TIFF_TAGS] = packed(others)
    unit, across, down = page.one(296, 2), entries.get(282), entries.get(283)
    if unit == 1 and across and down and across.value != down.value:
        blocks.append(Block("resolution", across.size + down.size, policy.JPEG["pixel aspect"]))
    return Inventory(
        "tiff",
        tuple(blocks),
        _refusal(page),
        pages.index(page),
        metadata,
        statements,
        resolution=across is not None and unit != 1,
        samples=_samples(page),
    )


def packed(entries: list[Entry]) -> bytes:
    """A structure of its own that holds entries, in classic little-endian layout."""
    return _HEAD + written(entries, _CLASSIC, len(_HEAD))


def unpacked(block: bytes) -> list[Entry]:
    """The entries of such a structure, or of an EXIF block; none if it cannot be read."""
    try:
        layout, start = header(block)
        return read(block, layout, start)
    except (struct.error, ValueError):
        return []


def rewritten(data: bytes, entries: list[Entry], drop: Container[int]) -> bytes:
    """Add tags to the first directory of an encoded file, and leave others out.

    Args:
        data: What libvips wrote.
        entries: What to add.
        drop: Tags that libvips wrote and that shall not be there.
    """
    layout, start = header(data)
    return joined(data, layout, start, entries, drop=drop)


def sample_entry(samples: tuple[int, ...]) -> Entry:
    """The tag ExtraSamples."""
    return Entry(338, 3, len(samples), struct.pack(f"<{len(samples)}H", *samples))


def _chain(data: bytes, layout: Layout, start: int, budget: Budget) -> Iterator[_Directory]:
    seen: set[int] = set()
    while start and start not in seen:
        if len(seen) >= _MOST_DIRECTORIES:
            raise TornError(f"it has more than {_MOST_DIRECTORIES:,} directories")
        seen.add(start)
        yield _directory(data, layout, start, budget)
        start = next_start(data, layout, start)


def _directory(data: bytes, layout: Layout, start: int, budget: Budget) -> _Directory:
    return _Directory(start, {entry.tag: entry for entry in read(data, layout, start, _STRUCTURE, budget)})


def _sub_directories(data: bytes, layout: Layout, page: _Directory, budget: Budget) -> Iterator[_Directory]:
    for start in page.all(330)[:_MOST_IN_ONE]:
        try:
            yield _directory(data, layout, start, budget)
        except (struct.error, ValueError):
            continue


def _refusal(page: _Directory) -> str:
    """Why pixels stored like this cannot be restored; empty if they can."""
    photometric, bits, kinds = page.one(262, 1), set(page.all(258)) or {1}, set(page.all(339)) or {1}
    deepest, what = max(bits), "convert it to 8 or 16 bits per channel"
    if photometric in _LOG_LUV or 3 in kinds:
        return f"has samples of type float; high dynamic range is not restored; {what}"
    if kinds & {5, 6}:
        return f"has complex samples; {what}"
    if 2 in kinds:
        return f"has signed {deepest}-bit samples; convert it to unsigned samples of 8 or 16 bits per channel"
    if len(bits) > 1 or deepest not in (1, 2, 4, 8, 16):
        return f"has samples of {' and '.join(map(str, sorted(bits)))} bits; {what}"
    if photometric in _OTHER_SPACES:
        return f"has the colour space {_OTHER_SPACES[photometric]}; convert it to RGB"
    if photometric == 5 and (page.one(332, 1) != 1 or page.one(277, 4) < 4):
        return "has inks other than CMYK; convert it to RGB"
    samples = _samples(page)
    if 1 in samples and len(samples) > 1:
        return "has premultiplied alpha beside other channels; save it with straight alpha"
    return ""


def _samples(page: _Directory) -> tuple[int, ...]:
    """Meaning of each channel beyond the colours: 0 unspecified, 1 premultiplied alpha, 2 alpha."""
    more = page.one(277, 1) - _COLOURS.get(page.one(262, 1), 3)
    stated = page.all(338)[: max(more, 0)]
    return stated + (0,) * (min(more, 64) - len(stated))


def _statements(page: _Directory, entries: Mapping[int, Entry]) -> Statements:
    """WhitePoint, PrimaryChromaticities and TransferFunction."""
    white, primaries, curve = entries.get(318), entries.get(319), entries.get(301)
    chromaticities = None
    if white and primaries and (white.kind, white.number, primaries.kind, primaries.number) == (5, 2, 5, 6):
        chromaticities = tuple(_fractions(white) + _fractions(primaries))
    levels = 2 ** page.one(258, 1)
    table = curve.numbers if curve and curve.kind == 3 and curve.number in (levels, 3 * levels) else None
    if table and len(table) > levels and len({table[i : i + levels] for i in (0, levels, 2 * levels)}) > 1:
        table = None
    return Statements(chromaticities=chromaticities, curve=table[:levels] if table else None)


def _fractions(entry: Entry) -> list[float]:
    values = struct.unpack(f"<{2 * entry.number}I", entry.value) if isinstance(entry.value, bytes) else ()
    return [over / under if under else 0.0 for over, under in zip(values[::2], values[1::2], strict=True)]


def _classic(entry: Entry) -> Entry:
    """The entry without the 64-bit types that only BigTIFF files have."""
    if isinstance(entry.value, list):
        return entry._replace(value=[_classic(one) for one in entry.value])
    if entry.kind in (16, 18) and all(number < 2**32 for number in entry.numbers):
        return entry._replace(kind=4, value=struct.pack(f"<{entry.number}I", *entry.numbers))
    return entry
