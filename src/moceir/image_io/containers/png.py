"""PNG files, chunk by chunk (PNG specification, third edition)."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from moceir.image_io.containers import policy
from moceir.image_io.containers.inventory import MOST_BLOCKS, Block, Inventory, Rule, Statements, TornError
from moceir.image_io.picture import EXIF, PNG_CHUNKS, PNG_COLOUR

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33  # signature, and IHDR, which is first by rule
_XMP = b"XML:com.adobe.xmp\0"  # libvips reads this text
_COLOUR = ("sRGB", "gAMA", "cHRM")


class Chunk(NamedTuple):
    """One chunk: its name, and where it stands in the file; its bytes are copied when they are asked for."""

    name: str
    data: bytes
    start: int
    length: int

    @property
    def content(self) -> bytes:
        """What is in it."""
        return self.data[self.start + 8 : self.start + 8 + self.length]

    @property
    def whole(self) -> bytes:
        """All its bytes."""
        return self.data[self.start : self.start + 12 + self.length]

    @property
    def intact(self) -> bool:
        """Whether its checksum is right (5.3)."""
        return struct.pack(">I", zlib.crc32(self.whole[4:-4])) == self.whole[-4:]


def chunks(data: bytes) -> Iterator[Chunk]:
    """Go through the chunks; ends behind IEND.

    Raises:
        TornError: If a chunk reaches beyond the file, or there are more than any program writes.
    """
    at = len(SIGNATURE)
    for _ in range(MOST_BLOCKS):
        if at + 12 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise TornError(f"a chunk claims {length:,} bytes, {len(data) - at - 12:,} are left")
        yield Chunk(name.decode("latin-1"), data, at, length)
        if name == b"IEND":
            return
        at = end
    raise TornError(f"it has more than {MOST_BLOCKS:,} chunks")


def survey(data: bytes) -> Inventory:
    """List the chunks of a PNG file.

    Raises:
        TornError: If its structure does not hold together.
    """
    listed, end = _Listing(), len(SIGNATURE)
    for chunk in chunks(data):
        end = chunk.start + 12 + chunk.length
        listed.add(chunk)
    if len(data) > end:
        listed.blocks.append(Block("trailing data", len(data) - end, policy.TRAILING))
    return listed.inventory()


class _Listing:
    """Blocks, metadata and statements of the chunks so far."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._header = b""
        self._refusal = ""
        self._statements = Statements()
        self._exif = b""
        self._has_xmp = False
        self._kept: list[bytes] = []
        self._colour: list[bytes] = []

    def add(self, chunk: Chunk) -> None:
        rule = policy.of_png(chunk.name)
        if chunk.name == "IHDR":
            self._header = chunk.content
        elif chunk.name[:1].islower() and not chunk.intact:
            rule = policy.named(f"damaged chunk {_printable(chunk.name)}")
        elif chunk.name == "bKGD" and not _keeps_its_values(self._header):
            rule = policy.named("background colour of a palette")
        elif chunk.name == "acTL" and chunk.length == 8:
            frames = int.from_bytes(chunk.content[:4], "big")
            self._refusal = _animated(frames) if frames > 1 else ""
        elif chunk.name in (*_COLOUR, "cICP"):
            rule = self._state(chunk, rule)
        if rule is policy.KEPT:
            rule = self._kept_or_second(chunk)
        content = chunk.content if rule is policy.KEPT else b""
        self.blocks.append(Block(_printable(chunk.name), chunk.length, rule, content))

    def inventory(self) -> Inventory:
        found = {EXIF: self._exif, PNG_CHUNKS: b"".join(self._kept), PNG_COLOUR: b"".join(self._colour)}
        metadata = {name: block for name, block in found.items() if block}
        resolution = any(block.name == "pHYs" and states_resolution(block.content) for block in self.blocks)
        return Inventory("png", tuple(self.blocks), self._refusal, 0, metadata, self._statements, resolution)

    def _state(self, chunk: Chunk, rule: Rule) -> Rule:
        stated = _stated(self._statements, chunk)
        if stated is None:
            return policy.named(f"unusable chunk {chunk.name}")
        self._statements = stated
        if chunk.name in _COLOUR:
            self._colour.append(chunk.whole)
        return rule

    def _kept_or_second(self, chunk: Chunk) -> Rule:
        """Keep a chunk, unless it is the second of a kind that counts once."""
        if chunk.name == "eXIf":
            if self._exif:
                return policy.SECOND_EXIF
            self._exif = chunk.content
        elif chunk.name == "iTXt" and chunk.content.startswith(_XMP):
            if self._has_xmp:
                return policy.SECOND_XMP
            self._has_xmp = True
        else:
            self._kept.append(chunk.whole)
        return policy.KEPT


def rewritten(data: bytes, added: bytes, *, resolution: bool) -> bytes:
    """Put chunks into an encoded file, behind its header.

    Args:
        data: What libvips wrote.
        added: Whole chunks.
        resolution: Whether to leave the resolution that libvips wrote.
    """
    kept = [chunk.whole for chunk in chunks(data) if resolution or chunk.name != "pHYs"]
    return SIGNATURE + kept[0] + added + b"".join(kept[1:])


def states_resolution(content: bytes) -> bool:
    """Whether a chunk pHYs gives pixels per metre, not only the shape of pixels (11.3.5.3)."""
    return len(content) == 9 and content[8] == 1


def packed(name: bytes, content: bytes) -> bytes:
    """One whole chunk."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def parts(collected: bytes) -> list[Chunk]:
    """Whole chunks that stand one after the other."""
    return list(chunks(SIGNATURE + collected))


def stated_by(collected: bytes) -> Statements:
    """What whole colour chunks that stand one after the other say."""
    statements = Statements()
    for chunk in parts(collected):
        statements = _stated(statements, chunk) or statements
    return statements


def _stated(before: Statements, chunk: Chunk) -> Statements | None:
    """Add what a colour chunk says; None if it makes no sense."""
    content = chunk.content
    if chunk.name == "sRGB" and len(content) == 1:
        return dataclasses.replace(before, srgb=True)
    if chunk.name == "cICP" and len(content) == 4:
        primaries, transfer, matrix, full = content
        return dataclasses.replace(before, cicp=(primaries, transfer, matrix, full))
    if chunk.name == "gAMA" and len(content) == 4 and any(content):
        return dataclasses.replace(before, gamma=int.from_bytes(content, "big") / 100_000)
    if chunk.name == "cHRM" and len(content) == 32:
        values = struct.unpack(">8i", content)
        return dataclasses.replace(before, chromaticities=tuple(value / 100_000 for value in values))
    return None


def _animated(frames: int) -> str:
    return f"is an animated PNG file of {frames:,} frames; split it into single pictures first"


def _keeps_its_values(header: bytes) -> bool:
    """Whether pixels are written back in the same colour type and depth: not those of palettes and of few bits."""
    return len(header) == 13 and header[8] >= 8 and header[9] != 3


def _printable(name: str) -> str:
    return name if name.isascii() and name.isalpha() else name.encode("latin-1").hex()
