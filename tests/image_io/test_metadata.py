"""What surrounds the pixels, as cameras and programs write it, before and after; read by Pillow, which is not ours."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo
from profiles import rgb_profile

from moceir import image_io
from moceir.image_io import exif
from moceir.image_io.containers import tiff
from moceir.image_io.picture import EXIF, XMP
from moceir.restoration import Restorer

FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF"}
XMP_BLOCK = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
MAKERS_NOTE = b"MAKER\0" + bytes(range(256)) * 3


def camera_exif(orientation: int = 6) -> bytes:
    """A block as cameras write it: main, Exif and GPS directories, text, numbers, fractions, a maker's note."""
    block = Image.Exif()
    block.endian = ">"
    block[271], block[272], block[274] = "Camera Works", "Model 7", orientation
    block[305], block[306], block[315], block[33432] = (
        "Firmware 1.2",
        "2024:05:06 07:08:09",
        "A. Person",
        "(c) A. Person",
    )
    inner = block.get_ifd(34665)
    inner[33434], inner[33437], inner[34855] = (
        TiffImagePlugin.IFDRational(1, 250),
        TiffImagePlugin.IFDRational(28, 10),
        400,
    )
    inner[36867], inner[37500], inner[42036] = "2024:05:06 07:08:09", MAKERS_NOTE, "50mm f/1.8"
    place = block.get_ifd(34853)
    place[1], place[2], place[3], place[4] = "N", (48.0, 30.0, 1.5), "E", (9.0, 10.0, 3.25)
    return block.tobytes()


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def camera_file(path: Path, orientation: int = 6) -> None:
    options: dict[str, Any] = {"exif": camera_exif(orientation), "icc_profile": rgb_profile("p3"), "dpi": (300, 300)}
    if path.suffix == ".tif":
        block = Image.Exif()
        block.load(camera_exif(orientation))
        block[700] = XMP_BLOCK
        options["exif"] = block
    elif path.suffix == ".png":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP_BLOCK.decode())
        options["pnginfo"].add_text("Author", "A. P\xebrson")
        options["pnginfo"].add_text("Title", "a long story " * 9, zip=True)
    else:
        options["xmp"] = XMP_BLOCK
    Image.fromarray(pixels()).save(path, FORMATS[path.suffix], **options)


def told(path: Path) -> dict[str, Any]:
    """Everything that Pillow finds around the pixels, but for what only describes how they are stored."""
    with Image.open(path) as image:
        block = image.getexif()
        structure = (*range(254, 270), 273, 277, 278, 279, 282, 283, 284, 296, 317, 338, 339, 700, 34675, 34665, 34853)
        main = {tag: value for tag, value in block.items() if tag not in structure}
        if image.format == "TIFF":
            main.setdefault(274, 1)
        return {
            "main": main,
            "exif": dict(block.get_ifd(34665)),
            "gps": dict(block.get_ifd(34853)),
            "icc": image.info.get("icc_profile"),
            # Pillow gives the size of TIFF files as they are seen, that of others as they are stored.
            "size": (block[256], block[257]) if image.format == "TIFF" else image.size,
            "mode": image.mode,
        }


def xmp_of(path: Path) -> bytes:
    return image_io.read(path).metadata[XMP]


@pytest.mark.parametrize("target_suffix", FORMATS)
@pytest.mark.parametrize("source_suffix", FORMATS)
def test_camera_files_keep_what_they_tell(nano, tmp_path: Path, source_suffix: str, target_suffix: str) -> None:  # type: ignore[no-untyped-def]
    source, target = tmp_path / f"in{source_suffix}", tmp_path / f"out{target_suffix}"
    camera_file(source)
    before = told(source)
    assert before["exif"][37500] == MAKERS_NOTE
    assert before["main"][274] == 6
    Restorer(nano, device="cpu").restore_file(source, target)
    assert told(target) == before
    assert xmp_of(target) == XMP_BLOCK
    if source_suffix != ".tif" and target_suffix != ".tif":
        assert image_io.read(target).metadata[EXIF] == exif.without_prefix(camera_exif())
    if (source_suffix, target_suffix) == (".png", ".png"):
        with Image.open(target) as image:
            assert image.info["Author"] == "A. P\xebrson"
            assert image.info["Title"] == "a long story " * 9


def test_the_network_sees_pictures_upright(tmp_path: Path) -> None:
    camera_file(tmp_path / "a.png")
    np.testing.assert_array_equal(image_io.read(tmp_path / "a.png").rgb, np.rot90(pixels(), -1))


@pytest.mark.parametrize("suffix", FORMATS)
def test_strip_leaves_the_profile_alone_and_stores_upright(tmp_path: Path, suffix: str) -> None:
    camera_file(tmp_path / f"in{suffix}")
    picture = image_io.read(tmp_path / f"in{suffix}")
    image_io.write(tmp_path / f"out{suffix}", picture, strip=True)
    stripped = told(tmp_path / f"out{suffix}")
    assert stripped["size"] == (20, 30)
    assert stripped["icc"] == rgb_profile("p3")
    assert (stripped["exif"], stripped["gps"]) == ({}, {})
    assert set(stripped["main"]) <= {274}
    assert stripped["main"].get(274, 1) == 1
    data = (tmp_path / f"out{suffix}").read_bytes()
    assert not any(word in data for word in (b"MAKER", b"A. Person", b"xmpmeta"))


def test_avif_is_read_upright_and_does_not_turn_again(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.avif", exif=camera_exif(), quality=100, subsampling="4:4:4")
    picture = image_io.read(tmp_path / "a.avif")
    assert (picture.format, picture.rgb.shape, picture.orientation) == ("avif", (30, 20, 3), 1)
    image_io.write(tmp_path / "a.png", picture)
    after = told(tmp_path / "a.png")
    assert after["size"] == (20, 30)
    assert after["main"].get(274, 1) == 1
    assert after["exif"][37500] == MAKERS_NOTE


def test_a_tiff_file_that_is_only_turned_stays_so_in_jpeg(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.tif", tiffinfo={274: 8})
    image_io.write(tmp_path / "a.jpg", image_io.read(tmp_path / "a.tif"))
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.size, image.getexif()[274]) == ((30, 20), 8)


def test_exif_too_long_for_jpeg_is_left_out_and_said(tmp_path: Path) -> None:
    block = Image.Exif()
    block[270] = "x" * 70000
    Image.fromarray(pixels()).save(tmp_path / "a.png", exif=block.tobytes())
    picture = image_io.read(tmp_path / "a.png")
    assert image_io.losses(picture, ".jpg") == ["left out: EXIF too long for JPEG, 70,028 bytes"]
    image_io.write(tmp_path / "a.jpg", picture)
    assert EXIF not in image_io.read(tmp_path / "a.jpg").metadata
    image_io.write(tmp_path / "b.webp", picture)
    assert image_io.read(tmp_path / "b.webp").metadata[EXIF] == picture.metadata[EXIF]


def encoded(kind: str) -> bytes:
    picture = image_io.Picture(pixels(), metadata={EXIF: exif.without_prefix(camera_exif())}, orientation=6)
    return image_io.encode(picture, kind)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=12), end=st.integers(0, 2000))
def test_broken_blocks_neither_crash_nor_spoil_the_file(changes: list[tuple[int, int]], end: int) -> None:
    block = bytearray(exif.without_prefix(camera_exif()))
    for place, value in changes:
        block[place % len(block)] = value
    broken = bytes(block[: 1 + end % len(block)])
    for orientation in (1, 6):
        exif.with_orientation(broken, orientation)
    tiff.unpacked(broken)
    picture = image_io.Picture(pixels(), metadata={EXIF: broken})
    for kind in ("jpeg", "png", "tiff"):
        again = image_io.decode(image_io.encode(picture, kind), "again")
        assert again.rgb.shape == (20, 30, 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wanted", range(1, 9))
def test_orientation_is_set_without_touching_the_rest(order: str, wanted: int) -> None:
    block = Image.Exif()
    block.endian = order
    block[271] = "Camera Works"
    without = exif.without_prefix(block.tobytes())
    block[274] = 3
    having = exif.without_prefix(block.tobytes())
    for start in (without, having):
        done = Image.Exif()
        done.load(exif.PREFIX + exif.with_orientation(start, wanted))
        assert (done[271], done.get(274, 1)) == ("Camera Works", wanted)
    changed = exif.with_orientation(having, wanted)
    assert len(changed) == len(having)
    assert sum(a != b for a, b in zip(changed, having, strict=True)) <= 1


def test_pngs_own_check_holds_for_the_block() -> None:
    with Image.open(io.BytesIO(encoded("png"))) as image:
        image.load()  # Pillow checks the sums of all chunks
        assert image.getexif()[272] == "Model 7"
