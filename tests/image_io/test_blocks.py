"""Blocks around the pixels: kept byte for byte, or said; read by Pillow or taken apart by hand."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import odd_files as odd
import pytest
from PIL import Image
from support import run

from moceir import image_io
from moceir.errors import ImageError


def again(data: bytes, kind: str = "") -> bytes:
    """Read and write, without the network."""
    picture = image_io.decode(data, "a file")
    return image_io.encode(picture, kind or picture.format)


class TestBehindTheEnd:
    CAMERA = 'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'

    def test_the_video_of_a_motion_photo_is_said_and_no_longer_promised(self):
        container = (
            '<Container:Directory xmlns:Container="http://ns.google.com/photos/1.0/container/"><rdf:Seq><rdf:li/>'
            "</rdf:Seq></Container:Directory>"
        )
        stated = odd.xmp_segment(f'{self.CAMERA} GCamera:MotionPhoto="1" GCamera:BurstID="b7"', container)
        picture = image_io.decode(odd.jpeg(stated, behind=odd.mp4()), "a file")
        assert picture.notes == ("left out: video of a motion photo, 4,000 bytes",)
        written = image_io.encode(picture, "jpeg")
        assert b"MotionPhoto" not in written
        assert b"Directory" not in written
        assert b'GCamera:BurstID="b7"' in written

    def test_the_older_form_with_elements(self):
        stated = odd.xmp_segment(
            self.CAMERA, "<GCamera:MicroVideo>1</GCamera:MicroVideo><GCamera:Other>2</GCamera:Other>"
        )
        written = again(odd.jpeg(stated, behind=odd.mp4()))
        assert b"MicroVideo" not in written
        assert b"<GCamera:Other>2</GCamera:Other>" in written

    def test_a_second_picture_is_said(self):
        index = odd.segment(0xE2, b"MPF\0" + bytes(60))
        picture = image_io.decode(odd.jpeg(index, behind=odd.jpeg()), "a file")
        assert picture.notes == (
            "left out: index of several pictures, 64 bytes",
            f"left out: another picture in the same file, {len(odd.jpeg()):,} bytes",
        )

    def test_a_gain_map_is_called_so(self):
        hdr = odd.xmp_segment('xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"')
        picture = image_io.decode(odd.jpeg(hdr, behind=odd.jpeg()), "a file")
        assert picture.notes == (f"left out: HDR gain map, {len(odd.jpeg()):,} bytes",)
        assert b"hdrgm:Version" not in image_io.encode(picture, "jpeg")

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (odd.jpeg(behind=b"left over" * 4), "data after the end of the picture, 36 bytes"),
            (odd.png(behind=b"left over" * 4), "data after the end of the picture, 36 bytes"),
            (odd.webp(behind=b"left over" * 4), "data after the end of the picture, 36 bytes"),
        ],
    )
    def test_anything_else_is_said(self, data: bytes, words: str):
        assert image_io.decode(data, "a file").notes == (f"left out: {words}",)

    def test_padding_is_nothing(self):
        assert image_io.decode(odd.jpeg(behind=bytes(64)), "a file").notes == ()


class TestLongXmp:
    LONG = odd.XMP_DESCRIPTION.format(
        attributes='xmlns:p="photo:" p:note="kept"', content="<p:long>" + "x" * 120_000 + "</p:long>"
    ).encode()

    @staticmethod
    def assembled(data: bytes) -> bytes:
        """The extended XMP of a JPEG file, put together and checked as the specification says."""
        blocks = [content for marker, content in odd.segments_of(data) if marker == 0xE1]
        (main,) = [block for block in blocks if block.startswith(odd.XMP_PREFIX)]
        parts = [block[len(odd.EXTENDED_PREFIX) :] for block in blocks if block.startswith(odd.EXTENDED_PREFIX)]
        parts.sort(key=lambda part: part[36:40])
        whole = b"".join(part[40:] for part in parts)
        digest = hashlib.md5(whole, usedforsecurity=False).hexdigest().upper().encode()
        assert all(part[:36] == digest + struct.pack(">I", len(whole)) for part in parts)
        assert b'HasExtendedXMP="' + digest in main
        return whole

    def test_extended_xmp_is_kept_as_it_is(self):
        digest = hashlib.md5(self.LONG, usedforsecurity=False).hexdigest().upper().encode()
        source = odd.jpeg(*odd.extended_xmp(self.LONG, digest))
        assert self.assembled(again(source)) == self.LONG
        assert image_io.decode(source, "a file").notes == ()

    @pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
    def test_other_formats_get_it_in_one_piece(self, kind: str):
        digest = hashlib.md5(self.LONG, usedforsecurity=False).hexdigest().upper().encode()
        written = again(odd.jpeg(*odd.extended_xmp(self.LONG, digest)), kind)
        xmp = image_io.decode(written, "again").metadata[image_io.picture.XMP]
        assert b'p:note="kept"' in xmp
        assert b"x" * 120_000 in xmp
        assert b"HasExtendedXMP" not in xmp

    def test_a_long_block_of_a_png_file_is_split_for_jpeg(self):
        source = odd.png(odd.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + self.LONG))
        picture = image_io.decode(source, "a file")
        assert self.assembled(image_io.encode(picture, "jpeg")) == self.LONG
        assert image_io.losses(picture, ".jpg") == []
        back = image_io.decode(image_io.encode(picture, "jpeg"), "again")
        assert b"x" * 120_000 in image_io.decode(image_io.encode(back, "png"), "back").metadata[image_io.picture.XMP]

    @pytest.mark.parametrize("source", [odd.webp((b"XMP ", LONG)), odd.tiff([odd.page(odd.drawn(), t700=(1, LONG))])])
    def test_so_is_that_of_webp_and_tiff(self, source: bytes):
        assert self.assembled(again(source, "jpeg")) == self.LONG

    def test_parts_that_are_missing_are_said(self):
        digest = hashlib.md5(self.LONG, usedforsecurity=False).hexdigest().upper().encode()
        main, first, _ = odd.extended_xmp(self.LONG, digest, 60_500)[:3]
        (note,) = image_io.decode(odd.jpeg(main, first), "a file").notes
        assert note == "left out: extended XMP with parts missing, 60,500 bytes"

    @pytest.mark.parametrize("junk", [b"<a", b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", b"\xfe\xff\0<", b"<a>" * 500])
    def test_broken_blocks_stay_as_they_are(self, junk: bytes):
        picture = image_io.decode(odd.jpeg(odd.segment(0xE1, odd.XMP_PREFIX + junk), behind=odd.mp4()), "a file")
        assert picture.metadata[image_io.picture.XMP] == junk


class TestSegmentsChunksAndTags:
    def test_comments_and_unknown_segments_of_jpeg(self):
        parts = [odd.segment(0xFE, b"a comment"), odd.segment(0xFE, b"another"), odd.segment(0xE6, b"GoPro\0data")]
        written = odd.segments_of(again(odd.jpeg(*parts)))
        assert [c for m, c in written if m in (0xFE, 0xE6)] == [b"a comment", b"another", b"GoPro\0data"]
        picture = image_io.decode(odd.jpeg(*parts), "a file")
        assert picture.notes == ()
        assert image_io.losses(picture, ".png") == [
            "left out: JPEG comment, 16 bytes",
            "left out: JPEG segment APP6, 10 bytes",
        ]

    def test_photoshop_resources_of_jpeg_and_iptc_in_tiff(self):
        records = b"\x1c\x02\x05\0\x05title"
        resources = b"8BIM" + struct.pack(">HxxI", 0x0404, len(records)) + records
        resources += b"8BIM" + struct.pack(">HxxI", 0x03ED, 16) + bytes(16)
        source = odd.jpeg(odd.segment(0xED, b"Photoshop 3.0\0" + resources))
        assert (0xED, b"Photoshop 3.0\0" + resources) in odd.segments_of(again(source))
        in_tiff = again(source, "tiff")
        with Image.open(io.BytesIO(in_tiff)) as done:
            assert bytes(done.tag_v2[33723]) == records
            assert bytes(done.tag_v2[34377]) == resources
        assert (0xED, b"Photoshop 3.0\0" + resources) in odd.segments_of(again(in_tiff, "jpeg"))
        assert image_io.losses(image_io.decode(source, "a file"), ".png") == [
            f"left out: IPTC and Photoshop resources, {len(resources)} bytes"
        ]

    def test_thumbnails_credentials_and_second_blocks_are_said(self):
        exif = odd.segment(0xE1, b"Exif\0\0" + odd.exif_block({271: "A"}))
        parts = [odd.segment(0xE0, b"JFXX\0\x10" + bytes(30)), odd.segment(0xEB, b"JP\0\1" + bytes(20)), exif, exif]
        notes = image_io.decode(odd.jpeg(*parts), "a file").notes
        assert [note.split(",")[0] for note in notes] == [
            "left out: thumbnail",
            "left out: content credentials",
            "left out: second EXIF block",
        ]

    def test_chunks_of_png(self):
        kept = [
            (b"tEXt", b"Title\0a story"),
            (b"tIME", bytes(7)),
            (b"oFFs", bytes(9)),
            (b"bKGD", bytes(6)),
            (b"vpAg", bytes(9)),
            (b"abCd", b"nobody knows"),
        ]
        lost = [(b"sBIT", bytes(3)), (b"hIST", bytes(6)), (b"xyZW", b"unsafe")]
        source = odd.png(*(odd.chunk(*pair) for pair in kept + lost))
        written = odd.chunks_of(again(source))
        assert [pair for pair in written if pair in kept] == kept
        assert not set(written) & set(lost)
        notes = image_io.decode(source, "a file").notes
        assert "left out: chunk xyZW, 6 bytes" in notes
        assert "left out: number of significant bits, 3 bytes" in notes

    def test_a_damaged_text_of_png_is_said(self):
        torn = odd.chunk(b"tEXt", b"Title\0a story")[:-1] + b"?"
        assert image_io.decode(odd.png(torn), "a file").notes == ("left out: damaged chunk tEXt, 13 bytes",)

    def test_second_blocks_of_png_are_said(self):
        exif = odd.chunk(b"eXIf", odd.exif_block({271: "A"}))
        xmp = odd.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>")
        notes = image_io.decode(odd.png(exif, exif, xmp, xmp), "a file").notes
        assert [note.split(",")[0] for note in notes] == ["left out: second EXIF block", "left out: second XMP block"]

    def test_compressed_xmp_of_png(self):
        xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
        data = odd.png(odd.chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)))
        assert image_io.decode(data, "a file").metadata[image_io.picture.XMP] == xmp

    @pytest.mark.parametrize("tag", [301, 318, 319])
    def test_unusable_statements_of_tiff_are_said(self, tag: int):
        notes = image_io.decode(odd.tiff([odd.page(odd.drawn(), **{f"t{tag}": (3, [1, 2])})]), "a file").notes
        assert notes == (f"left out: unusable tag {tag}, 4 bytes",)

    def test_chunks_of_webp(self):
        source = odd.webp((b"EXIF", odd.exif_block({271: "A"})), (b"XMP ", b"<x/>"), (b"note", b"odd size!"))
        written = again(source)
        for part in (
            odd.riff(b"note", b"odd size!"),
            odd.riff(b"XMP ", b"<x/>"),
            odd.riff(b"EXIF", odd.exif_block({271: "A"})),
        ):
            assert part in written
        assert struct.unpack_from("<I", written, 4)[0] == len(written) - 8
        with Image.open(io.BytesIO(written)) as done:
            done.load()
            assert done.getexif()[271] == "A"

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("big", [False, True])
    def test_geotiff_and_other_tags_come_back(self, order: str, big: bool):
        scale, keys, text = [0.5, 0.5, 0.0], [1, 1, 0, 1, 1024, 0, 1, 1], b"a place\0"
        tags = {
            "t33550": (12, scale),
            "t34735": (3, keys),
            "t34737": (2, text),
            "t285": (2, b"p. 7\0"),
            "t50000": (3, [7]),
        }
        source = odd.tiff([odd.page(odd.drawn(), order, **tags)], order=order, big=big)
        with Image.open(io.BytesIO(again(source))) as done:
            assert done.tag_v2[33550] == tuple(scale)
            assert done.tag_v2[34735] == tuple(keys)
            assert done.tag_v2[34737] == "a place"
            assert done.tag_v2[285] == "p. 7"
            assert done.tag_v2[50000] == 7
        picture = image_io.decode(source, "a file")
        assert picture.notes == ()
        assert image_io.losses(picture, ".png")[0] == "left out: GeoTIFF tags, 48 bytes"

    def test_what_avif_files_bring_along(self):
        xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
        picture = image_io.decode(odd.avif(exif=b"Exif\0\0" + odd.exif_block({271: "A"}), xmp=xmp), "a file")
        assert picture.notes == ()
        assert picture.metadata[image_io.picture.XMP] == xmp
        with Image.open(io.BytesIO(image_io.encode(picture, "png"))) as done:
            assert done.getexif()[271] == "A"


def test_the_line_and_the_report_say_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(odd.jpeg(behind=odd.mp4()))
    report = tmp_path / "report.jsonl"
    result = run("restore", tmp_path / "a.jpg", "-o", tmp_path / "b.jpg", "--report", report, "--device", "cpu")
    note = "left out: video of a motion photo, 4,000 bytes"
    assert result.stdout.rstrip().endswith(f"{note})")
    assert json.loads(report.read_text())["notes"] == [note]


def test_many_channels_count_as_pixels() -> None:
    data = odd.tiff([odd.page(odd.drawn(bands=40))])
    assert image_io.decode(data, "a file", image_io.Limits(max_pixels=32 * 24 * 10)).extra.shape == (24, 32, 37)
    with pytest.raises(ImageError, match="above the limit"):
        image_io.decode(data, "a file", image_io.Limits(max_pixels=32 * 24 * 9))


class TestResolution:
    @pytest.mark.parametrize(
        "source",
        [
            odd.png(odd.chunk(b"pHYs", struct.pack(">IIB", 2, 1, 0))),
            odd.jpeg()[:13] + struct.pack(">BHH", 0, 2, 1) + odd.jpeg()[18:],
            odd.tiff([odd.page(odd.drawn(), t282=(5, [2, 1]), t283=(5, [1, 1]), t296=(3, [1]))]),
        ],
        ids="pjt",
    )
    def test_the_shape_of_pixels_is_no_resolution_and_is_not_lost(self, source: bytes):
        picture = image_io.decode(source, "a file")
        assert picture.pixels_per_mm is None
        said = [*picture.notes, *image_io.losses(picture, ".webp")]
        assert any("shape of the pixels" in note or "PNG chunk pHYs" in note for note in said)

    @pytest.mark.parametrize(
        "source", [odd.jpeg(), odd.png(), odd.webp(), odd.tiff([odd.page(odd.drawn())])], ids="jpwt"
    )
    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
    def test_none_is_invented(self, source: bytes, kind: str):
        assert image_io.decode(source, "a file").pixels_per_mm is None
        with Image.open(io.BytesIO(again(source, kind))) as done:
            assert done.info.get("jfif_unit", 0) == 0
            assert "dpi" not in done.info or kind == "tiff"  # Pillow fills in one where TIFF files have none
            assert not {282, 283} & set(getattr(done, "tag_v2", {}))
            assert 282 not in done.getexif()

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
    def test_one_that_is_stated_stays(self, kind: str):
        source = odd.png(odd.chunk(b"pHYs", struct.pack(">IIB", 11811, 5906, 1)))
        picture = image_io.decode(again(source, kind), "again")
        assert picture.pixels_per_mm == pytest.approx((11.811, 5.906), abs=0.02)
