"""What files say of sizes and resolutions follows an enlargement; read by Pillow, which is not ours."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo
from profiles import rgb_profile

from moceir import image_io
from moceir.image_io import exif
from moceir.image_io.containers.png import packed
from moceir.image_io.photoshop import enlarged as enlarged_resources
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer
from moceir.restoration.pixels import enlarge_pixels

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    b'tiff:XResolution="720000/10000" exif:PixelXDimension="12"><tiff:ImageLength>10</tiff:ImageLength>'
    b"<tiff:Model>X10</tiff:Model></rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    torch.manual_seed(0)
    return Restorer(MoCEIR(preset("nano").model_copy(update={"scale": 4})), device="cpu")


def pixels(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(1, 255, shape).astype(np.uint8)


def block(order: str = ">") -> Image.Exif:
    made = Image.Exif()
    made.endian = order
    made[256], made[257], made[274], made[271] = 12, 10, 6, "Maker"
    made[282] = made[283] = TiffImagePlugin.IFDRational(72, 1)
    made[296] = 2
    inner = made.get_ifd(34665)
    inner[40962], inner[40963], inner[37396], inner[41486] = 12, 10, (3, 4, 5, 6), TiffImagePlugin.IFDRational(3000, 7)
    inner[37500] = b"NOTE" * 9
    return made


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_follows_and_the_rest_stays(order: str) -> None:
    before = block(order).tobytes().removeprefix(b"Exif\0\0")
    after = exif.enlarged(before, 4)
    assert len(after) == len(before)
    read = Image.Exif()
    read.load(b"Exif\0\0" + after)
    inner = read.get_ifd(34665)
    assert (read[256], read[257], read[282], read[283]) == (48, 40, 288, 288)
    assert (inner[40962], inner[40963], inner[37396]) == (48, 40, (12, 16, 20, 24))
    assert inner[41486] == TiffImagePlugin.IFDRational(12000, 7)
    assert (read[274], read[271], inner[37500]) == (6, "Maker", b"NOTE" * 9)


def test_both_resolutions_in_one_place_are_multiplied_once() -> None:
    head = b"II" + struct.pack("<HI", 42, 8)
    entries = b"".join(struct.pack("<HHII", tag, 5, 1, 38) for tag in (282, 283))
    shared = head + struct.pack("<H", 2) + entries + bytes(4) + struct.pack("<II", 72, 1)
    assert exif.enlarged(shared, 3)[-8:] == struct.pack("<II", 216, 1)


@pytest.mark.parametrize("broken", [b"", b"II", b"MM\0*\0\0\xff\xff", block().tobytes()[6:60]])
def test_broken_blocks_stay_as_they_are(broken: bytes) -> None:
    assert exif.enlarged(broken, 2) == broken


def test_photoshops_resolution_follows() -> None:
    def resource(across: int, down: int) -> bytes:
        info = struct.pack(">IHHIHH", across << 16, 1, 1, down << 16, 1, 1)
        return b"8BIM" + struct.pack(">HxxI", 1, 2) + b"ab" + b"8BIM" + struct.pack(">HxxI", 0x03ED, 16) + info

    assert enlarged_resources(resource(72, 100), 4) == resource(288, 400)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_files_keep_their_size_on_paper(restorer: Restorer, tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    options: dict[str, Any] = {"exif": block().tobytes()} if suffix != ".tif" else {}
    if suffix != ".webp":
        options["dpi"] = (72, 72)
    Image.fromarray(pixels(10, 12, 3)).save(source, **options)
    result = restorer.restore_file(source, target)
    assert (result.width, result.height) == ((40, 48) if suffix != ".tif" else (48, 40))
    with Image.open(target) as written:
        assert written.size == (48, 40), "stored as the source is"
        if suffix != ".webp":
            assert written.info["dpi"] == pytest.approx((288, 288), abs=0.1)
        if suffix != ".tif":
            inner = written.getexif().get_ifd(34665)
            assert (inner[40962], inner[40963]) == (48, 40)
            assert written.getexif()[282] == 288


def test_png_chunks_follow(restorer: Restorer) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels(10, 12, 3)).save(file, "PNG")
    header, rest = file.getvalue()[:33], file.getvalue()[33:]
    chunks = packed(b"pHYs", struct.pack(">IIB", 2835, 5670, 1)) + packed(b"oFFs", struct.pack(">iiB", -5, 7, 0))
    written = restorer.restore_bytes(header + chunks + rest).restored
    assert struct.pack(">IIB", 4 * 2835, 4 * 5670, 1) in written
    assert struct.pack(">iiB", -20, 28, 0) in written
    assert written.count(b"pHYs") == 1


def test_xmp_follows(restorer: Restorer) -> None:
    file = io.BytesIO()
    Image.fromarray(pixels(10, 12, 3)).save(file, "PNG", pnginfo=_xmp_chunk())
    written = restorer.restore_bytes(file.getvalue()).restored
    for text in (b'exif:PixelXDimension="48"', b"<tiff:ImageLength>40<", b'"2880000/10000"', b"<tiff:Model>X10<"):
        assert text in written


def _xmp_chunk() -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return info


def test_geotiff_tags_are_named(restorer: Restorer, tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33550], tags[42113] = (1.0, 1.0, 0.0), "-9999"
    Image.fromarray(pixels(10, 12, 3)).save(tmp_path / "in.tif", tiffinfo=tags)
    result = restorer.restore_file(tmp_path / "in.tif", tmp_path / "out.tif")
    assert any("GeoTIFF" in note for note in result.notes)
    with Image.open(tmp_path / "out.tif") as written:
        assert 33550 not in written.tag_v2  # type: ignore[attr-defined]


def test_a_profile_alpha_and_16_bits(restorer: Restorer, tmp_path: Path) -> None:
    """The enlarged picture stays in its own colours; what is fully transparent keeps what it hides."""
    rgb = pixels(10, 12, 3).astype(np.uint16) * 257
    alpha = np.full((10, 12), 65535, np.uint16)
    alpha[:, :6] = 0
    profile = rgb_profile("p3")
    source = image_io.Picture(rgb, alpha, metadata={"icc-profile-data": profile})
    image_io.write(tmp_path / "in.tif", source)
    restorer.restore_file(tmp_path / "in.tif", tmp_path / "out.tif")
    done = image_io.read(tmp_path / "out.tif")
    assert done.rgb.dtype == np.uint16
    assert done.rgb.shape == (40, 48, 3)
    assert done.metadata["icc-profile-data"] == profile
    assert done.alpha is not None
    assert (done.alpha[:, :16] == 0).all()
    assert (done.alpha[:, -16:] == 65535).all()
    # Colours are those of the bicubic enlargement in the file's own space, which the network does not change here.
    expected = enlarge_pixels(rgb, 4).astype(int)
    assert np.abs(done.rgb.astype(int) - expected)[:, 32:].max() < 700
    assert np.array_equal(done.rgb[:, :16], expected[:, :16])


def test_further_channels_are_enlarged(restorer: Restorer, tmp_path: Path) -> None:
    extra = pixels(10, 12, 1)
    picture = image_io.Picture(pixels(10, 12, 3), extra=extra, samples=(0,))
    image_io.write(tmp_path / "in.tif", picture)
    restorer.restore_file(tmp_path / "in.tif", tmp_path / "out.tif")
    done = image_io.read(tmp_path / "out.tif").extra
    assert done is not None
    assert done.shape == (40, 48, 1)
    assert abs(float(done.mean()) - float(extra.mean())) < 3
