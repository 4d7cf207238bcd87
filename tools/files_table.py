"""Restore files with every kind of block, and write down what became of each: kept, followed or named.

    python tools/files_table.py            # prints the table
    python tools/files_table.py --write    # puts it into docs/files.md

Each block is put into a file of its own. It is *kept* if its bytes are in the result, *named* if the line of the file
speaks of it, and *followed* if the result says the same in another way. Anything else is lost, and the script fails.
"""

from __future__ import annotations

import argparse
import hashlib
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from moceir import image_io
from moceir.files import whole_file
from moceir.image_io import Picture
from moceir.image_io.picture import ICC
from moceir.restoration import Restorer

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))  # the builders of files are the tests' own

import odd_files as odd  # noqa: E402

PAGE = ROOT / "docs" / "files.md"
BEGIN, END = "<!-- begin: tools/files_table.py -->\n", "<!-- end: tools/files_table.py -->\n"
Follows = Callable[[Picture, Picture], bool]


@dataclass(frozen=True)
class Piece:
    """A block, the file it is in, and how to see that it was followed.

    Attributes:
        format: Suffix of the file.
        name: What the table calls it.
        file: All bytes of the file.
        payload: Bytes that are in the result if the block was kept.
        follows: Whether the result says the same as the block, given the picture before and after.
    """

    format: str
    name: str
    file: bytes
    payload: bytes
    follows: Follows = lambda _before, _after: False


def has_profile(before: Picture, after: Picture) -> bool:
    """Whether the colours that the block states became a profile, which came back."""
    return ICC in before.metadata and before.metadata[ICC] == after.metadata.get(ICC)


def same_resolution(before: Picture, after: Picture) -> bool:
    """Whether the result prints at the same size."""
    pairs = zip(before.pixels_per_mm or (), after.pixels_per_mm or (), strict=True)
    return before.pixels_per_mm is not None and all(abs(one - other) < 0.02 for one, other in pairs)


def is_upright(before: Picture, after: Picture) -> bool:
    """Whether the picture of 32x24 pixels, stored lying, stands, and needs no further turn."""
    return before.rgb.shape == after.rgb.shape == (32, 24, 3) and after.orientation == 1


def png_pieces() -> Iterator[Piece]:
    """Chunks of PNG."""
    plain = {
        "tEXt": b"Title\0a quiet evening",
        "zTXt": b"Title\0\0" + zlib.compress(b"a quiet evening"),
        "iTXt": b"Titel\0\0\0de\0Titel\0ein stiller Abend",
        "iTXt XMP": b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        "eXIf": odd.exif_block({271: "Camera Works"}),
        "tIME": struct.pack(">H5B", 2024, 5, 6, 7, 8, 9),
        "pHYs": struct.pack(">IIB", 11811, 5905, 1),
        "oFFs": struct.pack(">iiB", 10, 20, 0),
        "sCAL": b"\x010.5\x000.5",
        "pCAL": b"depth\0" + struct.pack(">iiBB", 0, 255, 0, 2) + b"m\0" + b"0\0" + b"1",
        "sTER": b"\x01",
        "bKGD": struct.pack(">3H", 1, 2, 3),
        "sRGB": b"\0",
        "unknown, safe to copy": b"nobody knows this",
        "unknown, not safe to copy": b"nobody knows this either",
        "sBIT": b"\5\6\5",
        "hIST": struct.pack(">2H", 7, 8),
        "sPLT": b"few\0\x08" + bytes(range(12)),
        "caBX (C2PA)": b"content credentials of a kind",
        "fcTL of one frame": struct.pack(">5I2H2B", 0, 32, 24, 0, 0, 1, 10, 0, 0),
        "mDCV": bytes(range(24)),
        "cLLI": struct.pack(">2I", 10_000_000, 4_000_000),
    }
    other_names = {"iTXt XMP": b"iTXt", "unknown, safe to copy": b"neWs", "unknown, not safe to copy": b"neWS"}
    for name, content in plain.items():
        yield Piece(".png", name, odd.png(odd.chunk(other_names.get(name, name[:4].encode()), content)), content)
    profile = b"p\0\0" + zlib.compress(image_io.SRGB_PROFILE)
    colours = {
        "iCCP": odd.chunk(b"iCCP", profile),
        "cICP": odd.chunk(b"cICP", bytes([12, 13, 0, 1])),
        "gAMA": odd.gamma(1.0),
        "cHRM": odd.chromaticities(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06),
    }
    for name, chunk in colours.items():
        yield Piece(".png", name, odd.png(chunk), chunk[8:-4], has_profile)
    yield Piece(".png", "data after IEND", odd.png(behind=b"left over"), b"left over")


def jpeg_pieces() -> Iterator[Piece]:
    """Segments of JPEG, and what follows its end."""
    xmp = odd.XMP_PREFIX + odd.XMP_DESCRIPTION.format(attributes='xmlns:a="b:" a:c="d"', content="").encode()
    resources = b"8BIM" + struct.pack(">HxxI", 0x0404, 10) + b"\x1c\x02\x05\0\x05title"
    profile = b"ICC_PROFILE\0\1\1" + image_io.SRGB_PROFILE
    plain = {
        "COM": (0xFE, b"drawn by hand"),
        "APP1 Exif": (0xE1, b"Exif\0\0" + odd.exif_block({271: "Camera Works"})),
        "APP1 XMP": (0xE1, xmp),
        "APP2 ICC": (0xE2, profile),
        "APP13 Photoshop, IPTC": (0xED, b"Photoshop 3.0\0" + resources),
        "unknown APPn": (0xE6, b"GoPro\0GPMF telemetry"),
        "APP0 JFXX thumbnail": (0xE0, b"JFXX\0\x10" + bytes(range(30))),
        "APP2 MPF": (0xE2, b"MPF\0II*\0\x08\0\0\0" + bytes(range(50))),
        "APP11 JUMBF (C2PA)": (0xEB, b"JP\0\1\0\0\0\1 content credentials"),
    }
    for name, (marker, content) in plain.items():
        yield Piece(".jpg", name, odd.jpeg(odd.segment(marker, content)), content)
    long = odd.XMP_DESCRIPTION.format(attributes="", content="x" * 70_000).encode()
    digest = hashlib.md5(long, usedforsecurity=False).hexdigest().upper().encode()
    yield Piece(".jpg", "APP1 extended XMP", odd.jpeg(*odd.extended_xmp(long, digest)), long[:60_000])
    stated = odd.jpeg()
    dense = stated[:13] + struct.pack(">BHH", 1, 300, 300) + stated[18:]
    yield Piece(".jpg", "APP0 JFIF resolution", dense, b"\1\1\x2c\1\x2c", same_resolution)
    adobe = odd.exif_block({271: "A"}, {40961: 65535}, "R03")
    data = odd.jpeg(odd.segment(0xE1, b"Exif\0\0" + adobe))
    yield Piece(".jpg", "Adobe RGB by EXIF", data, b"no bytes but those of EXIF", has_profile)
    yield Piece(".jpg", "second picture (MPO)", odd.jpeg(behind=odd.jpeg()), odd.jpeg()[-40:] + b"twice")
    hdr = odd.xmp_segment('xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"')
    yield Piece(".jpg", "gain map", odd.jpeg(hdr, behind=odd.jpeg()), b"hdrgm:Version")
    camera = odd.xmp_segment('xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1"')
    yield Piece(".jpg", "video of a motion photo", odd.jpeg(camera, behind=odd.mp4()), b"ftypisom")
    yield Piece(".jpg", "other data after the end", odd.jpeg(behind=b"left over" * 3), b"left over")


def tiff_pieces() -> Iterator[Piece]:
    """Tags and directories of TIFF, in big-endian files and BigTIFF too."""
    tags: dict[str, tuple[int, tuple[int, bytes | list[float]]]] = {
        "ImageDescription, Artist, ...": (315, (2, b"A. Person\0")),
        "XMP (700)": (700, (1, b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")),
        "IPTC (33723)": (33723, (7, b"\x1c\x02\x05\0\x05title")),
        "Photoshop resources (34377)": (34377, (1, b"8BIM\x03\xed\0\0\0\0\0\x04data")),
        "ICC (34675)": (34675, (7, image_io.SRGB_PROFILE)),
        "GeoTIFF (33550, 33922, 34735-34737)": (34737, (2, b"WGS 84 / UTM zone 33N|\0")),
        "PageName, positions": (285, (2, b"page seven\0")),
        "unknown tag": (51234, (2, b"nobody knows this\0")),
        "Photoshop layers (37724)": (37724, (7, b"Adobe Photoshop Document Data Block\0")),
        "InkNames (333)": (333, (2, b"cyan\0magenta\0yellow\0")),
    }
    for name, (tag, value) in tags.items():
        payload = value[1] if isinstance(value[1], bytes) else b""
        yield Piece(".tif", name, odd.tiff([odd.page(odd.drawn(), **{f"t{tag}": value})]), payload)
    big = odd.tiff([odd.page(odd.drawn(), ">", t33550=(12, [0.5, 0.25, 1.5]))], order=">", big=True)
    yield Piece(".tif", "the same of big-endian files and BigTIFF", big, struct.pack("<3d", 0.5, 0.25, 1.5))
    dense = odd.page(odd.drawn(), t282=(5, [300, 1]), t283=(5, [300, 1]), t296=(3, [2]))
    yield Piece(".tif", "resolution", odd.tiff([dense]), b"", same_resolution)
    primaries = {
        "t318": (5, [3127, 10000, 3290, 10000]),
        "t319": (5, [64, 100, 33, 100, 21, 100, 71, 100, 15, 100, 6, 100]),
    }
    primaries["t301"] = (3, [level * level * 65535 // 255**2 for level in range(256)])
    yield Piece(
        ".tif",
        "WhitePoint, PrimaryChromaticities, TransferFunction",
        odd.tiff([odd.page(odd.drawn(), **primaries)]),
        b"",
        has_profile,
    )
    selection = odd.drawn(bands=4)
    yield Piece(
        ".tif",
        "channels beside colour and alpha (ExtraSamples)",
        odd.tiff([odd.page(selection, t338=(3, [0]))]),
        b"",
        lambda before, after: before.samples == after.samples and bool((before.extra == after.extra).all()),
    )
    small = odd.page(odd.drawn(height=6, width=8), t254=(4, [1]))
    yield Piece(
        ".tif",
        "page that is a thumbnail",
        odd.tiff([odd.page(odd.drawn()), small]),
        odd.drawn(height=6, width=8).tobytes(),
    )
    mask = odd.page(odd.drawn(bands=1), t254=(4, [4]))
    yield Piece(".tif", "page that is a mask", odd.tiff([odd.page(odd.drawn()), mask]), odd.drawn(bands=1).tobytes())
    whole = odd.page(odd.drawn())
    whole[-1] = [small]
    yield Piece(".tif", "smaller versions (SubIFDs)", odd.tiff([whole]), odd.drawn(height=6, width=8).tobytes())


def webp_pieces() -> Iterator[Piece]:
    """Chunks of WebP."""
    plain = {
        "EXIF": odd.exif_block({271: "Camera Works"}),
        "XMP ": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        "ICCP": image_io.SRGB_PROFILE,
        "note": b"nobody knows this",
        "C2PA": b"content credentials of a kind",
    }
    for name, content in plain.items():
        shown = "unknown" if name == "note" else name.strip()
        yield Piece(".webp", shown, odd.webp((name.encode(), content)), content)
    yield Piece(".webp", "data after the end", odd.webp(behind=b"left over"), b"left over")


def avif_pieces() -> Iterator[Piece]:
    """Boxes and items of AVIF, which becomes PNG."""
    exif, xmp = odd.exif_block({271: "Camera Works"}), b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    yield Piece(".avif", "Exif", odd.avif(exif=b"Exif\0\0" + exif), exif)
    yield Piece(".avif", "XMP", odd.avif(xmp=xmp), xmp)
    profile = odd.avif(icc_profile=image_io.SRGB_PROFILE)
    yield Piece(".avif", "colr ICC", profile, b"in other words", has_profile)
    yield Piece(".avif", "colr nclx", odd.avif(primaries=12), b"\0\x0c\0\x0d\0\6", has_profile)
    turned = odd.avif(exif=b"Exif\0\0" + odd.exif_block({274: 6}))
    yield Piece(".avif", "rotation (irot, imir)", turned, b"irot", is_upright)
    video = struct.pack(">I4s", 4008, b"mpvd") + odd.mp4()
    yield Piece(".avif", "video of a motion photo (mpvd)", odd.avif() + video, b"ftypisom")
    unknown = struct.pack(">I4s", 24, b"uuid") + b"nobody knows ths"
    yield Piece(".avif", "unknown box", odd.avif() + unknown, b"nobody knows ths")


def fate(restorer: Restorer, piece: Piece, folder: Path) -> tuple[str, str]:
    """Restore a file; what became of its block, and what the line says."""
    source = folder / f"in{piece.format}"
    target = folder / f"out{piece.format if piece.format != '.avif' else '.png'}"
    source.write_bytes(piece.file)
    result = restorer.restore_file(source, target)
    if result.notes:
        return "named", "; ".join(result.notes)
    if piece.payload and piece.payload in target.read_bytes():
        return "kept", ""
    return "followed" if piece.follows(image_io.read(source), image_io.read(target)) else "lost", ""


GROUPS = {"JPEG": jpeg_pieces, "PNG": png_pieces, "TIFF": tiff_pieces, "WEBP": webp_pieces, "AVIF": avif_pieces}


def table(groups: Iterable[str] = GROUPS) -> str:
    """Write the table in Markdown.

    Args:
        groups: Names of formats to put in.

    Raises:
        SystemExit: If a block is lost.
    """
    restorer = Restorer.from_pretrained("tiny", device="cpu")
    rows = ["| file | block | | the file's line |", "| --- | --- | --- | --- |"]
    lost: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        for group in groups:
            for piece in GROUPS[group]():
                became, line = fate(restorer, piece, Path(name))
                lost += [f"{piece.format} {piece.name}"] * (became == "lost")
                quoted = f"`{line}`" if line else ""
                rows.append(f"| {piece.format[1:]} | {piece.name} | {became} | {quoted} |")
    if lost:
        raise SystemExit(f"lost: {', '.join(lost)}")
    return "\n".join(rows) + "\n"


def with_table(page: str, made: str) -> str:
    """The page with a new table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/files.md")
    made = table()
    if parser.parse_args().write:
        page = PAGE.read_text(encoding="utf-8")
        with whole_file(PAGE) as part:
            part.write_text(with_table(page, made), encoding="utf-8")
    else:
        sys.stdout.write(made)


if __name__ == "__main__":
    main()
