"""AVIF and HEIC files, box by box (ISO/IEC 14496-12, 23008-12; AVIF 1.1)."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from moceir.image_io.containers import policy
from moceir.image_io.containers.inventory import MOST_BLOCKS, Block, Inventory, Statements, TornError

_PICTURES = ("av01", "hvc1", "grid", "iden", "iovl", "jpeg", "j2k1", "unci", "avc1", "vvc1")
_OTHERS = ("mime", "tmap")
_HEVC = ("hvc1", "hev1")
_ALPHA = ("urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", "urn:mpeg:hevc:2015:auxid:1")
_DEPTH = ("urn:mpeg:mpegB:cicp:systems:auxiliary:depth", "urn:mpeg:hevc:2015:auxid:2")


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Name of each box in a range, and where its content begins and ends.

    Raises:
        TornError: If a box reaches beyond the range, or there are more than any program writes.
    """
    for _ in range(MOST_BLOCKS):
        if start + 8 > end:
            return
        size, name = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            content = start + 16
        after = start + size if size else end
        if after < content or after > end:
            raise TornError(f"a box claims {size:,} bytes, {end - start:,} are left")
        yield name.decode("latin-1"), content, after
        start = after
    raise TornError(f"it has more than {MOST_BLOCKS:,} boxes")


def brands(data: bytes) -> set[str]:
    """Brands of a file in its first box; none if it has no such box."""
    if data[4:8] != b"ftyp":
        return set()
    words = data[8 : min(int.from_bytes(data[:4], "big"), 1024)]
    return {words[at : at + 4].decode("latin-1") for at in range(0, len(words) - 3, 4) if at != 4}


@dataclass
class _Items:
    """What the box ``meta`` lists."""

    primary: int = 0
    kinds: dict[int, str] = field(default_factory=dict[int, str])
    sizes: dict[int, int] = field(default_factory=dict[int, int])
    sources: dict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    targets: dict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    properties: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    owned: dict[int, list[int]] = field(default_factory=dict[int, list[int]])

    def of(self, item: int) -> list[tuple[str, bytes]]:
        """Properties of an item."""
        return [self.properties[i - 1] for i in self.owned.get(item, []) if 0 < i <= len(self.properties)]


def survey(data: bytes) -> Inventory:
    """List the boxes and items of an AVIF or HEIC file.

    Raises:
        TornError: If its structure does not hold together.
    """
    items = _Items()
    blocks: list[Block] = []
    moving = False
    try:
        for name, start, end in boxes(data, 0, len(data)):
            moving |= name == "moov"
            if name == "meta":
                _read_meta(data, start + 4, end, items)
            blocks.append(Block(_printable(name), end - start, policy.of_avif(name)))
    except (struct.error, IndexError) as error:
        raise TornError("a box ends in the middle of a field") from error
    hevc = any(items.kinds.get(item) in _HEVC for item in {items.primary, *items.targets["dimg", items.primary]})
    label = "HEIC" if hevc or brands(data) & {"hevc", "hevx", "heic", "heix"} else "AVIF"
    if moving:
        return Inventory("avif", refusal=f"is an animated {label} file; split it into single pictures first")
    names = _names(items)
    blocks += [Block(name, items.sizes.get(item, 0), policy.of_avif(name)) for item, name in names.items()]
    statements = Statements()
    for name, content in items.of(items.primary):
        if name == "colr" and content[:4] == b"nclx" and len(content) >= 11:
            primaries, transfer, matrix, full = struct.unpack_from(">HHHB", content, 4)
            statements = Statements(cicp=(primaries, transfer, matrix, full >> 7))
        rule_name = {b"nclx": "colr nclx"}.get(content[:4], "colr ICC") if name == "colr" else name
        square = name == "pasp" and content[:4] == content[4:8]
        if rule_name in policy.AVIF and not square:
            blocks.append(Block(rule_name, len(content), policy.of_avif(rule_name), content))
    return Inventory("heic" if label == "HEIC" else "avif", tuple(blocks), statements=statements)


def _names(items: _Items) -> dict[int, str]:
    """What each item is."""
    primary = items.primary
    auxiliary = items.sources["auxl", primary]
    of_tone_maps = {one for item, kind in items.kinds.items() if kind == "tmap" for one in items.targets["dimg", item]}
    tiles = {one for item in {primary, *auxiliary} for one in items.targets["dimg", item]}
    names = {item: "picture" if kind in _PICTURES else _printable(kind) for item, kind in items.kinds.items()}
    names |= {item: "XMP" if kind == "mime" else "gain map" for item, kind in items.kinds.items() if kind in _OTHERS}
    names |= dict.fromkeys(of_tone_maps, "gain map")
    names |= dict.fromkeys(items.sources["thmb", primary], "thumbnail")
    names |= {item: _auxiliary(items, item) for item in auxiliary}
    names |= dict.fromkeys(tiles, "tile") | {primary: "primary picture"}
    return {item: names[item] for item in items.kinds}


def _auxiliary(items: _Items, item: int) -> str:
    stated = b"".join(content for name, content in items.of(item) if name == "auxC")[4:]
    urn = stated.split(b"\0")[0].decode("latin-1")
    return "alpha" if urn in _ALPHA else "depth" if urn in _DEPTH else "gain map" if "gainmap" in urn else "auxiliary"


def _read_meta(data: bytes, start: int, end: int, items: _Items) -> None:
    for name, at, after in boxes(data, start, end):
        version = data[at] if at < after else 0
        word, letter = (2, ">H") if version == 0 else (4, ">I")
        if name == "pitm":
            (items.primary,) = struct.unpack_from(letter, data, at + 4)
        elif name == "iinf":
            _read_infos(data, at + 4 + word, after, items)
        elif name == "iref":
            _read_references(data, at + 4, after, word, items)
        elif name == "iprp":
            _read_properties(data, at, after, items)
        elif name == "iloc":
            _read_locations(data, at, after, items)


def _read_infos(data: bytes, start: int, end: int, items: _Items) -> None:
    for name, at, _ in boxes(data, start, end):
        if name == "infe" and data[at] in (2, 3):
            word = 2 if data[at] == 2 else 4
            item = int.from_bytes(data[at + 4 : at + 4 + word], "big")
            items.kinds[item] = data[at + 6 + word : at + 10 + word].decode("latin-1")


def _read_references(data: bytes, start: int, end: int, word: int, items: _Items) -> None:
    letter = "H" if word == 2 else "I"
    for name, at, after in boxes(data, start, end):
        first, count = struct.unpack_from(f">{letter}H", data, at)
        if at + word + 2 + count * word > after:
            raise TornError("a list of references is longer than its box")
        targets = struct.unpack_from(f">{count}{letter}", data, at + word + 2)
        items.targets[name, first].update(targets)
        for second in targets:
            items.sources[name, second].add(first)


def _read_properties(data: bytes, start: int, end: int, items: _Items) -> None:
    for name, at, after in boxes(data, start, end):
        if name == "ipco":
            items.properties += [(one, data[a:b]) for one, a, b in boxes(data, at, after)]
        elif name == "ipma":
            wide, large = data[at + 3] & 1, data[at] > 0
            (count,) = struct.unpack_from(">I", data, at + 4)
            place = at + 8
            for _ in range(min(count, MOST_BLOCKS)):
                item, number = struct.unpack_from(">IB" if large else ">HB", data, place)
                place += 5 if large else 3
                owned = struct.unpack_from(f">{number}{'H' if wide else 'B'}", data, place)
                place += number * (2 if wide else 1)
                items.owned[item] = [one & (0x7FFF if wide else 0x7F) for one in owned]


def _read_locations(data: bytes, start: int, end: int, items: _Items) -> None:
    """Size of each item: the sum of its extents."""
    version = data[start]
    offset_bytes, length_bytes = data[start + 4] >> 4, data[start + 4] & 15
    base_bytes, index_bytes = data[start + 5] >> 4, data[start + 5] & 15 if version else 0
    word = 4 if version == 2 else 2
    count = int.from_bytes(data[start + 6 : start + 6 + word], "big")
    at = start + 6 + word
    for _ in range(min(count, MOST_BLOCKS)):
        item = int.from_bytes(data[at : at + word], "big")
        at += word + (2 if version else 0) + 2 + base_bytes
        extents = int.from_bytes(data[at : at + 2], "big")
        at += 2
        step = index_bytes + offset_bytes + length_bytes
        if at + extents * step > end:
            raise TornError("a list of places is longer than its box")
        total = 0
        for extent in range(extents):
            place = at + extent * step + index_bytes + offset_bytes
            total += int.from_bytes(data[place : place + length_bytes], "big")
        items.sizes[item] = total
        at += extents * step


def _printable(name: str) -> str:
    return name if name.isascii() and name.isprintable() else name.encode("latin-1").hex()
