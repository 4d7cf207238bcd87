"""WebP files, chunk by chunk (RFC 9649)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from moceir.image_io.containers import policy
from moceir.image_io.containers.inventory import MOST_BLOCKS, Block, Inventory, TornError
from moceir.image_io.picture import EXIF, ICC, WEBP_CHUNKS, XMP

_FLAGS = {"ICCP": 0x20, "EXIF": 0x08, "XMP ": 0x04}
_KEYS = {"ICCP": ICC, "EXIF": EXIF, "XMP ": XMP}


def chunks(data: bytes, start: int = 12) -> Iterator[tuple[str, bytes]]:
    """Name and content of each chunk.

    Raises:
        TornError: If a chunk reaches beyond the file, or there are more than any program writes.
    """
    at, end = start, len(data)
    if start:
        end = min(end, 8 + struct.unpack_from("<I", data, 4)[0])
    for _ in range(MOST_BLOCKS):
        if at + 8 > end:
            return
        name, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > end:
            raise TornError(f"a chunk claims {length:,} bytes, {end - at - 8:,} are left")
        yield name.decode("latin-1"), data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    raise TornError(f"it has more than {MOST_BLOCKS:,} chunks")


def survey(data: bytes) -> Inventory:
    """List the chunks of a WebP file.

    Raises:
        TornError: If its structure does not hold together.
    """
    blocks: list[Block] = []
    metadata: dict[str, bytes] = {}
    kept, frames = b"", 0
    for name, content in chunks(data):
        rule = policy.of_webp(name)
        frames += name == "ANMF"
        if name in _KEYS:
            if _KEYS[name] in metadata:
                rule = policy.WEBP["second block"]
            metadata.setdefault(_KEYS[name], content)
        elif name == "ANMF":
            rule = policy.FOLLOWED
        elif rule is policy.KEPT:
            kept += packed(name, content)
        blocks.append(Block(name, len(content), rule, content if rule is policy.KEPT else b""))
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    end += end % 2
    if len(data) > end:
        blocks.append(Block("trailing data", len(data) - end, policy.TRAILING))
    if kept:
        metadata[WEBP_CHUNKS] = kept
    plural = "" if frames == 1 else "s"
    animated = f"is an animated WebP file of {frames:,} frame{plural}; split it into single pictures first"
    return Inventory("webp", tuple(blocks), animated if frames > 1 else "", 0, metadata)


def rewritten(data: bytes, metadata: Mapping[str, bytes], size: tuple[int, int], *, alpha: bool) -> bytes:
    """Put metadata into an encoded file.

    Args:
        data: What libvips wrote, without any.
        metadata: By the names in ``moceir.image_io.picture``.
        size: Width and height.
        alpha: Whether the pixels have any transparency.
    """
    added = {name: metadata[key] for name, key in _KEYS.items() if key in metadata}
    if not added and WEBP_CHUNKS not in metadata:
        return data
    pixels = [(name, content) for name, content in chunks(data) if name in ("VP8 ", "VP8L", "ALPH")]
    flags = sum(_FLAGS[name] for name in added) | (0x10 if alpha else 0)
    header = struct.pack("<I", flags) + b"".join(struct.pack("<I", side - 1)[:3] for side in size)
    body = packed("VP8X", header)
    body += packed("ICCP", added["ICCP"]) if "ICCP" in added else b""
    body += b"".join(packed(name, content) for name, content in pixels)
    body += b"".join(packed(name, added[name]) for name in ("EXIF", "XMP ") if name in added)
    body += metadata.get(WEBP_CHUNKS, b"")
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def packed(name: str, content: bytes) -> bytes:
    """One whole chunk, padded to an even size."""
    return name.encode("latin-1") + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
