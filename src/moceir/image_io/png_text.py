"""Text in PNG files (author, title, software), chunk by chunk as it is: libvips takes Latin-1 for damaged UTF-8."""

from __future__ import annotations

import struct
import zlib

_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp\0"  # libvips reads and writes this one
_BEHIND_HEADER = 33  # signature, and the chunk that is first by rule
_LARGEST_TOTAL = 2**20


def collect(data: bytes) -> bytes:
    """All whole text chunks of a PNG file but XMP, one after the other."""
    texts: list[bytes] = []
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = data[at : at + 12 + length]
        if kind in _KINDS and not chunk.startswith(_XMP, 8) and _is_whole(chunk):
            texts.append(chunk)
        at += 12 + length
    together = b"".join(texts)
    return together if len(together) <= _LARGEST_TOTAL else b""


def insert(data: bytes, texts: bytes) -> bytes:
    """Put text chunks into an encoded PNG file."""
    return data[:_BEHIND_HEADER] + texts + data[_BEHIND_HEADER:]


def _is_whole(chunk: bytes) -> bool:
    """Whether its sum is right (PNG 3, 5.3)."""
    return len(chunk) >= 12 and struct.pack(">I", zlib.crc32(chunk[4:-4])) == chunk[-4:]
