"""Files with something wrong: in their bytes, or in the structure of their container."""

from __future__ import annotations

import io
import struct
import zlib
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import odd_files as odd
import pyvips
from numpy.random import Generator
from PIL import Image
from profiles import grey_profile, rgb_profile

from moceir import image_io
from moceir.image_io.picture import EXIF, ICC, XMP

NUMBERS = (0, 1, 2, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**32 - 1)
_PARENTS = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"iinf": 14, b"iref": 12}


def seeds() -> list[bytes]:
    """Small whole files: every format, 8 and 16 bits, grey, colour, alpha, palette, CMYK, and every kind of block."""
    rng = np.random.default_rng(0)
    rgb = np.kron(rng.integers(0, 256, (3, 4, 3)), np.ones((4, 4, 1), int)).astype(np.uint8)
    alpha = rng.integers(0, 3, rgb.shape[:2]).astype(np.uint8) * 127
    block = Image.Exif()
    block[271], block[274] = "Camera Works", 6
    block.get_ifd(34665)[37500] = b"note" * 20
    around = {ICC: rgb_profile("p3"), EXIF: block.tobytes()[6:], XMP: b"<x:xmpmeta/>"}
    pictures = [
        image_io.Picture(rgb),
        image_io.Picture(rgb, metadata=around, orientation=6),
        image_io.Picture(rgb, alpha),
        image_io.Picture(rgb[..., :1].repeat(3, axis=2), grey=True, metadata={ICC: grey_profile(2.2)}),
        image_io.Picture(rgb.astype(np.uint16) * 257, alpha.astype(np.uint16) * 257, metadata=around),
    ]
    files = [image_io.encode(picture, kind) for picture in pictures for kind in ("jpeg", "png", "webp", "tiff")]
    for mode, kind in (("RGB", "AVIF"), ("P", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("1", "TIFF"), ("LA", "PNG")):
        buffer = io.BytesIO()
        Image.fromarray(rgb).convert(mode).save(buffer, kind)
        files.append(buffer.getvalue())
    image = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb")
    files.append(image.jpegsave_buffer(interlace=True))
    files.append(image.pngsave_buffer(interlace=True))
    files.append(image.tiffsave_buffer(tile=True, tile_width=16, tile_height=16, compression="jpeg"))
    return files + rich_files()


def rich_files() -> list[bytes]:
    """Files with every kind of block, whose structure is as much under test as their pixels."""
    exif = odd.exif_block({271: "Camera Works", 282: 300.0}, {40961: 65535}, "R03")
    xmp = odd.XMP_DESCRIPTION.format(attributes='xmlns:a="b:" a:c="d"', content="<a:e>f</a:e>").encode()
    digest = b"0123456789ABCDEF0123456789ABCDEF"
    resources = b"8BIM" + struct.pack(">HxxI", 0x0404, 10) + b"\x1c\x02\x05\0\x05title"
    jpegs = [
        odd.jpeg(
            odd.segment(0xE1, b"Exif\0\0" + exif),
            *odd.extended_xmp(b"<y/>" * 90, digest, 100),
            odd.segment(0xE2, b"MPF\0" + bytes(60)),
            odd.segment(0xED, b"Photoshop 3.0\0" + resources),
            odd.segment(0xFE, b"a comment"),
            behind=odd.jpeg() + odd.mp4(400),
        )
    ]
    pngs = [
        odd.png(
            *(odd.chunk(b"cICP", bytes([12, 13, 0, 1])), odd.chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))),
            *(odd.gamma(1.0), odd.chromaticities(0.31, 0.33, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)),
            *(odd.chunk(b"tEXt", b"Title\0x"), odd.chunk(b"eXIf", exif), odd.chunk(b"abCd", b"what")),
            odd.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
            behind=b"left over",
        ),
        odd.png(odd.gamma(0.5), pixels=odd.drawn(np.uint16, bands=1)),
        odd.animated_png(2),
    ]
    tiffs: list[bytes] = []
    for order in "<>":
        for big in (False, True):
            small = odd.page(odd.drawn(height=6, width=8), order, t254=(4, [1]))
            more: dict[str, Any] = {"t338": (3, [0, 2]), "t270": (2, b"a text\0"), "t33550": (12, [1.0, 2.0, 3.0])}
            whole = odd.page(odd.drawn(bands=5), order, **more, t318=(5, [3127, 10000, 329, 1000]), t700=(1, xmp))
            whole[-1] = [small]
            tiffs.append(odd.tiff([small, whole], order=order, big=big))
    others = [
        odd.webp((b"EXIF", exif), (b"XMP ", xmp), (b"note", b"odd size!"), behind=b"left over"),
        odd.avif(exif=b"Exif\0\0" + exif, xmp=xmp, primaries=12),
    ]
    return jpegs + pngs + tiffs + others + heic_files(exif)


def heic_files(exif: bytes) -> list[bytes]:
    """One where the extra is installed that reads it."""
    if find_spec("pillow_heif") is None:
        return []
    heif: Any = import_module("pillow_heif")
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(odd.drawn())).save(buffer, format="HEIF", exif=exif)
    return [buffer.getvalue()]


def mutated(rng: Generator, files: list[bytes]) -> bytes:
    """One file with a few things wrong."""
    data = files[rng.integers(len(files))]
    if rng.random() < 0.5:
        return with_other_bytes(rng, data, files)
    for _ in range(rng.integers(1, 4)):
        data = with_other_structure(rng, data, files)
    return data


def with_other_bytes(rng: Generator, whole: bytes, files: list[bytes]) -> bytes:
    """A file with a few bytes changed, left out or put in."""
    data = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        # Headers are where it matters most.
        place = int(rng.integers(min(len(data), 96)) if rng.random() < 0.6 else rng.integers(len(data)))
        match int(rng.integers(6)):
            case 0:
                data[place] = rng.integers(256)
            case 1:
                data[place] ^= 1 << int(rng.integers(8))
            case 2:
                data[place : place + 4] = number(rng)
            case 3:
                del data[max(place, 8) :]
            case 4:
                data[place:place] = data[place : place + int(rng.integers(1, 64))]
            case _:
                other = files[rng.integers(len(files))]
                data[place : place + 32] = other[place : place + 32]
        if not data:
            break
    return bytes(data)


def with_other_structure(rng: Generator, data: bytes, files: list[bytes]) -> bytes:
    """A file with one block left out, doubled, moved, renamed, resized, or taken from another file."""
    blocks = spans(data)
    if len(blocks) < 2:
        return data
    start, end = blocks[rng.integers(len(blocks))]
    block, before, after = data[start:end], data[:start], data[end:]
    match int(rng.integers(6)):
        case 0:
            return before + after
        case 1:
            return before + block * int(rng.integers(2, 5)) + after
        case 2:
            other_start, other_end = blocks[rng.integers(len(blocks))]
            return before + data[other_start:other_end] + after
        case 3:  # the field that gives the size, the count or the place
            place = int(rng.choice([0, 0, 2, 4, 8])) % max(len(block), 1)
            return before + block[:place] + number(rng) + block[place + 4 :] + after
        case 4:
            cut = int(rng.integers(len(block) + 1))
            return before + mended(block[:cut] + bytes(rng.integers(0, 256, 4).tolist()) + block[cut + 4 :]) + after
        case _:
            other = files[rng.integers(len(files))]
            theirs = spans(other) or [(0, min(len(other), 64))]
            at, to = theirs[rng.integers(len(theirs))]
            return before + other[at:to] + data[start:]


def number(rng: Generator) -> bytes:
    return int(rng.choice(NUMBERS)).to_bytes(4, ["little", "big"][int(rng.integers(2))])


def mended(block: bytes) -> bytes:
    """A PNG chunk with the right sum again, so that its content is looked at."""
    if len(block) >= 12 and int.from_bytes(block[:4], "big") == len(block) - 12:
        return block[:-4] + struct.pack(">I", zlib.crc32(block[4:-4]))
    return block


def spans(data: bytes) -> list[tuple[int, int]]:
    """Where the blocks of a file stand; as many as can be made out."""
    if data[:4] == b"\x89PNG":
        return _walk(data, 8, lambda at: 12 + int.from_bytes(data[at : at + 4], "big"))
    if data[:4] == b"RIFF":
        return _walk(data, 12, lambda at: 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2)
    if data[:3] == b"\xff\xd8\xff":
        return _walk(data, 2, lambda at: 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
    if data[:2] in (b"II", b"MM"):
        return _entries(data)
    return _boxes(data, 0, len(data)) if data[4:8] == b"ftyp" else []


def _walk(data: bytes, at: int, size: Any) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    while at + 4 <= len(data) and len(found) < 200:
        end = min(at + size(at), len(data))
        found.append((at, end))
        at = end
    return found


def _entries(data: bytes) -> list[tuple[int, int]]:
    """Entries of the directories of a TIFF file."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    size, start, link = (20, 8, "Q") if big else (12, 4, "I")
    found: list[tuple[int, int]] = []
    try:
        (at,) = struct.unpack_from(order + link, data, start)
        while at and len(found) < 200:
            (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
            first = at + (8 if big else 2)
            found += [(place, place + size) for place in range(first, first + size * min(count, 99), size)]
            (at,) = struct.unpack_from(order + link, data, first + size * count)
    except (struct.error, OverflowError):
        pass
    return [(start, end) for start, end in found if end <= len(data)]


def _boxes(data: bytes, at: int, end: int) -> list[tuple[int, int]]:
    """Boxes, and those inside of them."""
    found: list[tuple[int, int]] = []
    while at + 8 <= end and len(found) < 200:
        size, name = struct.unpack_from(">I4s", data, at)
        after = min(at + max(size, 8), end)
        found.append((at, after))
        if name in _PARENTS:
            found += _boxes(data, at + _PARENTS[name], after)
        at = after
    return found
