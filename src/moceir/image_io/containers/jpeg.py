"""JPEG files, segment by segment, and what follows their end (ITU-T T.81; JFIF; CIPA DC-007; XMP part 3)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from moceir.image_io.containers import policy
from moceir.image_io.containers.inventory import MOST_BLOCKS, Block, Inventory, Rule, TornError
from moceir.image_io.picture import EXIF, JPEG_SEGMENTS, PHOTOSHOP, XMP, XMP_EXTENDED

LARGEST = 65533
"""Bytes that one segment can hold."""
EXIF_PREFIX = b"Exif\0\0"
XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP_PREFIX = b"Photoshop 3.0\0"
_ICC_PREFIX = b"ICC_PROFILE\0"
_GAIN_MAP_WORDS = (b"ns.adobe.com/hdr-gain-map", b"urn:iso:std:iso:ts:21496", b"apple.com/HDRGainMap")
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A byte 0xFF in compressed pixels is followed by 0 or by a number that restarts them."""

_APPLICATIONS: dict[int, tuple[tuple[bytes, str], ...]] = {
    0xE0: ((b"JFIF\0", "APP0 JFIF"), (b"JFXX\0", "APP0 JFXX")),
    0xE1: ((EXIF_PREFIX, "APP1 Exif"), (XMP_PREFIX, "APP1 XMP"), (EXTENDED_PREFIX, "APP1 extended XMP")),
    0xE2: ((_ICC_PREFIX, "APP2 ICC"), (b"MPF\0", "APP2 MPF"), (b"urn:iso:std:iso:ts:21496:-1\0", "APP2 gain map")),
    0xEB: ((b"JP", "APP11 JUMBF"), (b"HDR_RI", "APP11 HDR_RI")),
    0xEC: ((b"Ducky", "APP12 Ducky"),),
    0xED: ((PHOTOSHOP_PREFIX, "APP13 Photoshop"),),
    0xEE: ((b"Adobe", "APP14 Adobe"),),
}


class Segment(NamedTuple):
    """One segment: its name, its content, all its bytes, and the place where it begins and ends."""

    name: str
    content: bytes
    whole: bytes
    start: int

    @property
    def end(self) -> int:
        """Place behind it."""
        return self.start + len(self.whole)


def segments(data: bytes, start: int = 0) -> Iterator[Segment]:
    """Go through the segments of the picture that begins at a place; the last is ``EOI``, empty.

    Raises:
        TornError: If a segment reaches beyond the file, or there are more than any program writes.
    """
    at = start + 2
    for _ in range(MOST_BLOCKS):
        found = _MARKER.search(data, at)  # decoders skip what stands between segments
        if found is None:
            raise TornError("premature end of JPEG image")
        at, marker = found.start(), data[found.start() + 1]
        if marker == 0xD9:
            yield Segment("EOI", b"", data[at : at + 2], at)
            return
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + length
        if length < 2 or end > len(data):
            raise TornError(f"a segment claims {length:,} bytes, {len(data) - at - 2:,} are left")
        content = data[at + 4 : end]
        yield Segment(_name(marker, content), content, data[at:end], at)
        at = end
    raise TornError(f"it has more than {MOST_BLOCKS:,} segments")


def survey(data: bytes) -> Inventory:
    """List the segments of a JPEG file and what stands behind them.

    Raises:
        TornError: If its structure does not hold together.
    """
    listed = _Listing()
    end = 2
    for segment in segments(data):
        end = segment.end
        listed.add(segment)
    listed.finish()
    for name, size in _behind(data, end, gain_map=listed.mentions_gain_map):
        listed.block(name, size)
    return Inventory("jpeg", tuple(listed.blocks), "", 0, listed.metadata, resolution=listed.resolution)


class _Listing:
    """Blocks and metadata of the segments so far."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.metadata: dict[str, bytes] = {}
        self.resolution = self.mentions_gain_map = False
        self._extended: list[bytes] = []
        self._kept: list[bytes] = []
        self._photoshop: list[bytes] = []
        self._icc: list[tuple[int, int]] = []

    def block(self, name: str, size: int, content: bytes = b"", rule: Rule | None = None) -> None:
        self.blocks.append(Block(name, size, rule or policy.of_jpeg(name), content))

    def add(self, segment: Segment) -> None:
        name, content = segment.name, segment.content
        self.mentions_gain_map |= any(word in content for word in _GAIN_MAP_WORDS)
        match name:
            case "EOI":
                return
            case "APP0 JFIF":
                self._jfif(content)
            case "APP1 Exif":
                name = self._once(EXIF, content[len(EXIF_PREFIX) :], name, "second Exif")
            case "APP1 XMP":
                name = self._once(XMP, content[len(XMP_PREFIX) :], name, "second XMP")
            case "APP1 extended XMP":
                self._extended.append(content[len(EXTENDED_PREFIX) :])
                return
            case "APP2 ICC":
                self._icc.append((content[12], content[13]) if len(content) > 13 else (0, 0))
            case "APP13 Photoshop":
                self._photoshop.append(content[len(PHOTOSHOP_PREFIX) :])
            case _ if policy.of_jpeg(name) is policy.KEPT:
                self._kept.append(segment.whole)
            case _:
                pass
        self.block(name, len(content), content)

    def finish(self) -> None:
        """Put together what stands in several segments."""
        if self._extended:
            whole = _assembled(self._extended, self.metadata.get(XMP, b""))
            if whole:
                self.metadata[XMP_EXTENDED] = whole
            size = sum(len(part) - 40 for part in self._extended)
            self.block("APP1 extended XMP" if whole else "broken extended XMP", max(size, 0), whole)
        if self._icc and sorted(number for number, _ in self._icc) != list(range(1, self._icc[0][1] + 1)):
            broken = policy.JPEG["broken ICC"]
            self.blocks = [Block(b.name, b.size, broken) if b.name == "APP2 ICC" else b for b in self.blocks]
        if self._photoshop:
            self.metadata[PHOTOSHOP] = b"".join(self._photoshop)
        if self._kept:
            self.metadata[JPEG_SEGMENTS] = b"".join(self._kept)

    def _once(self, key: str, content: bytes, name: str, again: str) -> str:
        if key in self.metadata:
            return again
        self.metadata[key] = content
        return name

    def _jfif(self, content: bytes) -> None:
        if len(content) < 14:
            return
        unit, across, down, thumbnail_width, thumbnail_height = struct.unpack_from(">BHHBB", content, 7)
        self.resolution |= unit in (1, 2)
        if unit == 0 and across != down:
            self.block("pixel aspect", 5)
        if thumbnail_width and thumbnail_height:
            self.block("APP0 JFIF thumbnail", max(len(content) - 14, 0))


def rewritten(
    data: bytes, metadata: Mapping[str, bytes], extended: list[bytes], pixels_per_mm: tuple[float, float] | None
) -> bytes:
    """Put metadata into an encoded file.

    Args:
        data: What libvips wrote, with a profile at most.
        metadata: By the names in ``moceir.image_io.picture``; each must fit into a segment, but Photoshop's.
        extended: Contents of the segments of extended XMP.
        pixels_per_mm: Resolution across and down; None to state none.
    """
    parts = list(segments(data))
    if parts[0].name == "APP0 JFIF":
        del parts[0]
    density = [min(max(round(value * 25.4), 1), 65535) for value in pixels_per_mm or ()]
    first = b"JFIF\0\1\2" + struct.pack(">BHHBB", bool(density), *(density or (1, 1)), 0, 0)
    added = [(0xE0, first)]
    if EXIF in metadata:
        added.append((0xE1, EXIF_PREFIX + metadata[EXIF]))
    if XMP in metadata:
        added.append((0xE1, XMP_PREFIX + metadata[XMP]))
    added += [(0xE1, content) for content in extended]
    resources, room = metadata.get(PHOTOSHOP, b""), LARGEST - len(PHOTOSHOP_PREFIX)
    added += [(0xED, PHOTOSHOP_PREFIX + resources[at : at + room]) for at in range(0, len(resources), room)]
    written = b"".join(struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content for marker, content in added)
    return data[:2] + written + metadata.get(JPEG_SEGMENTS, b"") + data[parts[0].start :]


def extended_segments(block: bytes, digest: str) -> list[bytes]:
    """Contents of the segments that hold a long XMP block (XMP part 3, 1.1.3.1)."""
    head = EXTENDED_PREFIX + digest.encode("ascii") + struct.pack(">I", len(block))
    room = LARGEST - len(head) - 4
    return [head + struct.pack(">I", at) + block[at : at + room] for at in range(0, len(block), room)]


def names(collected: bytes) -> list[tuple[str, int]]:
    """Names and sizes of whole segments that stand one after the other."""
    listed = segments(b"\xff\xd8" + collected + b"\xff\xd9")
    return [(segment.name, len(segment.content)) for segment in listed if segment.name != "EOI"]


def _assembled(parts: list[bytes], main: bytes) -> bytes:
    """The extended XMP that the main block points to; empty if any of it is missing."""
    portions: dict[int, bytes] = {}
    total = 0
    for part in parts:
        if len(part) >= 40 and part[:32] in main:
            total, offset = struct.unpack_from(">II", part, 32)
            portions[offset] = part[40:]
    end = 0
    for offset in sorted(portions):
        if offset != end:
            return b""
        end += len(portions[offset])
    return b"".join(portions[offset] for offset in sorted(portions)) if end == total else b""


def _name(marker: int, content: bytes) -> str:
    if marker == 0xFE:
        return "COM"
    if not 0xE0 <= marker <= 0xEF:
        return "frame"
    known = _APPLICATIONS.get(marker, ())
    return next((name for prefix, name in known if content.startswith(prefix)), f"APP{marker - 0xE0}")


def _behind(data: bytes, end: int, *, gain_map: bool) -> Iterator[tuple[str, int]]:
    """Name and size of each thing behind the end of the picture; padding is nothing."""
    rest = len(data) - end
    if not data[end:].strip(b"\0\xff"):
        return
    for _ in range(MOST_BLOCKS):
        start = data.find(b"\xff\xd8\xff", end, end + 4096)
        if start < 0 or b"ftyp" in data[end:start]:
            break
        try:
            *_, last = segments(data, start)
        except TornError:
            break
        there = data[start : last.end]
        is_map = gain_map or any(word in there for word in _GAIN_MAP_WORDS)
        yield "trailing gain map" if is_map else "trailing picture", last.end - end
        end, gain_map = last.end, False
    rest = len(data) - end
    if data[end:].strip(b"\0\xff"):
        yield "trailing video" if b"ftyp" in data[end:] else "trailing data", rest
