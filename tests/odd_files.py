"""Files as people have them, made in code: blocks, channels, pages and boxes that most programs do not write."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyvips
from PIL import Image

XMP_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
EXTENDED_PREFIX = b"http://ns.adobe.com/xmp/extension/\0"
XMP_DESCRIPTION = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" {attributes}>{content}</rdf:Description></rdf:RDF></x:xmpmeta>'
)


def drawn(dtype: type = np.uint8, height: int = 24, width: int = 32, bands: int = 3) -> np.ndarray:
    """Smooth waves with a little noise, from a quarter to three quarters of the range."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = np.stack([np.sin((4 + band) * x + (5 - band) * y) for band in range(bands)], axis=2)
    return ((0.5 + 0.22 * waves + rng.normal(0, 0.01, waves.shape)) * np.iinfo(dtype).max).round().astype(dtype)


def image(pixels: np.ndarray) -> Any:
    deep, grey = pixels.dtype == np.uint16, pixels.shape[2] == 1
    kind = ("grey16" if deep else "b-w") if grey else ("rgb16" if deep else "srgb")
    return pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation=kind)


# PNG

PNG_START = 33


def png(*chunks: bytes, pixels: np.ndarray | None = None, behind: bytes = b"") -> bytes:
    """A PNG file with chunks behind its header, and nothing else beside the pixels."""
    data = image(drawn() if pixels is None else pixels).pngsave_buffer(keep="none")
    data = without_chunk(data, b"pHYs")
    return data[:PNG_START] + b"".join(chunks) + data[PNG_START:] + behind


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of each chunk."""
    found, at = [], 8
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        found.append((name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def without_chunk(data: bytes, name: bytes) -> bytes:
    return data[:8] + b"".join(chunk(other, content) for other, content in chunks_of(data) if other != name)


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chromaticities(*xy: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in xy)))


def animated_png(frames: int) -> bytes:
    """An APNG file; Pillow writes it."""
    buffer = io.BytesIO()
    first, *more = [Image.fromarray(np.roll(drawn(), shift, axis=1)) for shift in range(frames)]
    first.save(buffer, "PNG", save_all=True, append_images=more, duration=100)
    return buffer.getvalue()


# JPEG


def jpeg(*segments: bytes, behind: bytes = b"", pixels: np.ndarray | None = None) -> bytes:
    """A JPEG file with segments behind the first, and bytes behind its end."""
    data = image(drawn() if pixels is None else pixels).jpegsave_buffer(keep="none", Q=95)
    head = data[:2] + segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\0\0")
    at = 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2
    return head + b"".join(segments) + data[at:] + behind


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def segments_of(data: bytes) -> list[tuple[int, bytes]]:
    """Marker and content of each segment before the pixels."""
    found, at = [], 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def xmp_segment(attributes: str, content: str = "") -> bytes:
    return segment(0xE1, XMP_PREFIX + XMP_DESCRIPTION.format(attributes=attributes, content=content).encode())


def extended_xmp(block: bytes, digest: bytes, room: int = 60_000) -> list[bytes]:
    """Segments that hold a long block, and before them the one that points to them."""
    note = f'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{digest.decode()}"'
    parts = [
        segment(0xE1, EXTENDED_PREFIX + digest + struct.pack(">II", len(block), at) + block[at : at + room])
        for at in range(0, len(block), room)
    ]
    return [xmp_segment(note), *parts]


def mp4(size: int = 4000) -> bytes:
    """Boxes that look like a video."""
    return struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"mp42") + struct.pack(">I4s", size - 20, b"mdat").ljust(
        size - 20, b"v"
    )


# TIFF


def tiff(
    pages: Sequence[dict[int, tuple[int, Sequence[int] | bytes]]], *, order: str = "<", big: bool = False
) -> bytes:
    """A TIFF file of directories: type and numbers (or bytes) by tag; tag 273 is set where bytes of pixels are given.

    A directory may have its pixels under the key 0, and under -1 the directories that tag 330 points to.
    """
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HH", 8, 0) if big else b""
    body = bytearray(head + bytes(8 if big else 4))
    word, count_word, size = ("Q", "Q", 8) if big else ("I", "H", 4)
    link = len(body) - size

    def place(content: bytes) -> int:
        body.extend(bytes(len(body) % 2))
        body.extend(content)
        return len(body) - len(content)

    def directory(tags: dict[int, Any]) -> tuple[int, int]:
        tags = dict(tags)
        if -1 in tags:
            tags[330] = (16 if big else 4, [directory(one)[0] for one in tags.pop(-1)])
        if 0 in tags:
            content = tags.pop(0)
            tags |= {273: (4, [place(content)]), 279: (4, [len(content)])}
        entries = b""
        for tag in sorted(tags):
            kind, values = tags[tag]
            letter = {1: "B", 2: "s", 3: "H", 4: "I", 5: "I", 7: "B", 12: "d", 16: "Q"}[kind]
            raw = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{letter}", *values)
            count = len(raw) // {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 12: 8, 16: 8}[kind]
            field = raw.ljust(size, b"\0") if len(raw) <= size else struct.pack(order + word, place(raw))
            entries += struct.pack(f"{order}HH{word}", tag, kind, count) + field
        at = place(struct.pack(order + count_word, len(tags)) + entries + bytes(size))
        return at, len(body) - size

    for page in pages:
        at, after = directory(page)
        body[link : link + size] = struct.pack(order + word, at)
        link = after
    return bytes(body)


def page(pixels: np.ndarray, order: str = "<", **more: Any) -> dict[int, Any]:
    """A directory of uncompressed pixels ``(H, W, C)``; further tags as ``t254=(4, [1])``."""
    height, width, bands = pixels.shape
    colours = 3 if bands >= 3 else 1
    tags: dict[int, Any] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [pixels.dtype.itemsize * 8] * bands),
        259: (3, [1]),
        262: (3, [2 if colours == 3 else 1]),
        277: (3, [bands]),
        278: (4, [height]),
        0: pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(),
    }
    return tags | {int(name[1:]): value for name, value in more.items()}


# WebP, AVIF


def webp(*chunks: tuple[bytes, bytes], behind: bytes = b"") -> bytes:
    """A WebP file in the extended form with further chunks at its end."""
    data = image(drawn()).webpsave_buffer(keep="none", lossless=True)
    body = b"VP8X" + struct.pack("<II", 10, 0) + b"".join(struct.pack("<I", side - 1)[:3] for side in (32, 24))
    body += data[12:] + b"".join(riff(name, content) for name, content in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body + behind


def riff(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def avif(*, transfer: int = 13, primaries: int = 1, frames: int = 1, **options: Any) -> bytes:
    """An AVIF file of Pillow's with other colour codes."""
    buffer = io.BytesIO()
    pictures = [Image.fromarray(np.roll(drawn(), shift, axis=1)) for shift in range(frames)]
    pictures[0].save(buffer, "AVIF", quality=90, save_all=frames > 1, append_images=pictures[1:], **options)
    data = bytearray(buffer.getvalue())
    at = data.find(b"colrnclx")
    assert at > 0
    data[at + 8 : at + 12] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def exif_block(main: dict[int, Any] | None = None, inner: dict[int, Any] | None = None, index: str = "") -> bytes:
    """An EXIF block; ``index`` is the one of interoperability."""
    block = Image.Exif()
    for tag, value in (main or {}).items():
        block[tag] = value
    for tag, value in (inner or {}).items():
        block.get_ifd(34665)[tag] = value
    if index:
        block.get_ifd(34665)[40965] = {1: index}
    return block.tobytes()[6:]


def box(name: bytes, content: bytes, *, version: int | None = None) -> bytes:
    full = b"" if version is None else struct.pack(">I", version << 24)
    return struct.pack(">I4s", 8 + len(full) + len(content), name) + full + content


def heif_items(
    kinds: dict[int, bytes],
    references: Sequence[tuple[bytes, int, int]] = (),
    properties: Sequence[tuple[int, bytes]] = (),
    *,
    brand: bytes = b"avif",
) -> bytes:
    """The boxes of an AVIF or HEIC file without pixels: items of 100 bytes by number, the first is the picture."""
    infos = b"".join(box(b"infe", struct.pack(">HH4sx", item, 0, kind), version=2) for item, kind in kinds.items())
    listed = box(b"iinf", struct.pack(">H", len(kinds)) + infos, version=0)
    linked = b"".join(box(name, struct.pack(">HHH", source, 1, target)) for name, source, target in references)
    owned = b"".join(struct.pack(">HBB", item, 1, 1 + at) for at, (item, _) in enumerate(properties))
    shared = box(b"ipco", b"".join(content for _, content in properties))
    owned = box(b"ipma", struct.pack(">I", len(properties)) + owned, version=0)
    places = b"".join(struct.pack(">HHHII", item, 0, 1, 0, 100) for item in kinds)
    meta = box(b"pitm", struct.pack(">H", min(kinds)), version=0) + listed
    meta += box(b"iref", linked, version=0) + box(b"iprp", shared + owned)
    meta += box(b"iloc", struct.pack(">BBH", 0x44, 0, len(kinds)) + places, version=0)
    return box(b"ftyp", brand + bytes(4) + b"mif1") + box(b"meta", meta, version=0) + box(b"mdat", bytes(100))
