"""Files that people have: each is restored with all it brings along, or refused, or its line says what is lost."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import odd_files as odd
import pytest
from PIL import Image
from support import run

from moceir import image_io
from moceir.errors import ImageError


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        image_io.decode(data, "a file")
    text = str(caught.value)
    assert text.startswith("a file ")
    assert "\n" not in text
    return text


def again(data: bytes, kind: str = "") -> bytes:
    """Read and write, without the network."""
    picture = image_io.decode(data, "a file")
    return image_io.encode(picture, kind or picture.format)


class TestRawFiles:
    def test_a_dng_file_is_refused_with_the_size_of_the_photograph(self):
        preview = odd.page(odd.drawn(height=6, width=8), t254=(4, [1]), t50706=(1, [1, 4, 0, 0]))
        preview[-1] = [odd.page(odd.drawn(np.uint16, bands=1), t262=(3, [32803]))]
        text = refusal(odd.tiff([preview]))
        assert "raw camera file" in text
        assert "32x24" in text

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("big", [False, True])
    def test_so_is_a_file_with_a_sensor_pattern_in_any_layout(self, order: str, big: bool):
        preview = odd.page(odd.drawn(height=6, width=8), order)
        preview[-1] = [odd.page(odd.drawn(np.uint16, bands=1), order, t262=(3, [32803]))]
        assert "raw camera file" in refusal(odd.tiff([preview], order=order, big=big))

    @pytest.mark.parametrize("compression", [34713, 32767, 65535])
    def test_so_are_those_of_makers_with_a_compression_of_their_own(self, compression: int):
        preview = odd.page(odd.drawn(height=6, width=8))
        preview[-1] = [odd.page(odd.drawn(np.uint16, bands=1), t259=(3, [compression]))]
        assert "raw camera file" in refusal(odd.tiff([preview]))

    @pytest.mark.parametrize(
        "start",
        [
            b"FUJIFILMCCD-RAW 0201",
            b"II*\0\x10\0\0\0CR\2\0",
            b"IIU\0\x08\0\0\0",
            b"FOVb\0\0\2\0",
            b"\0\0\0\x18ftypcrx \0\0\0\1",
        ],
    )
    def test_so_are_those_that_are_no_tiff_files(self, start: bytes):
        assert "raw camera file" in refusal(start + bytes(200))


class TestChannels:
    """Only what a file declares as alpha is alpha."""

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_a_saved_selection_hides_nothing_and_comes_back(self, tmp_path: Path, dtype: type, order: str):
        pixels = odd.drawn(dtype, bands=4)
        pixels[:, :16, 3] = 0
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.tif").write_bytes(odd.tiff([odd.page(pixels, order, t338=(3, [0]))], order=order))
        (tmp_path / "in" / "plain.tif").write_bytes(odd.tiff([odd.page(pixels[..., :3], order)], order=order))
        result = run("restore", tmp_path / "in", "-o", tmp_path / "out", "--device", "cpu")
        assert "left out" not in result.stdout
        with Image.open(tmp_path / "out" / "a.tif") as done:
            assert done.tag_v2[338] == (0,)
        picture = image_io.read(tmp_path / "out" / "a.tif")
        assert picture.alpha is None
        np.testing.assert_array_equal(picture.extra[..., 0], pixels[..., 3])
        np.testing.assert_array_equal(picture.rgb, image_io.read(tmp_path / "out" / "plain.tif").rgb)
        assert (picture.rgb[:, :16] != pixels[:, :16, :3]).any()

    def test_channels_beside_alpha_keep_their_order_and_tags(self):
        pixels = odd.drawn(bands=6)
        data = again(odd.tiff([odd.page(pixels, t338=(3, [0, 2, 0]))]))
        picture = image_io.decode(data, "again")
        assert picture.samples == (0, 2, 0)
        np.testing.assert_array_equal(picture.alpha, pixels[..., 4])
        np.testing.assert_array_equal(picture.extra, pixels[..., [3, 5]])

    def test_channels_that_nothing_is_said_about_are_no_alpha(self):
        picture = image_io.decode(odd.tiff([odd.page(odd.drawn(bands=4))]), "a file")
        assert picture.alpha is None
        assert picture.samples == (0,)

    def test_where_too_little_is_said_the_first_channel_is_alpha_and_none_is_lost(self):
        pixels = odd.drawn(bands=5)
        picture = image_io.decode(again(odd.tiff([odd.page(pixels, t338=(3, [2]))])), "again")
        assert picture.samples == (2, 0)
        np.testing.assert_array_equal(picture.alpha, pixels[..., 3])
        np.testing.assert_array_equal(picture.extra, pixels[..., [4]])

    def test_a_grey_picture_with_an_infrared_channel(self):
        pixels = odd.drawn(np.uint16, bands=2)
        picture = image_io.decode(again(odd.tiff([odd.page(pixels, t338=(3, [0]))])), "again")
        assert picture.grey
        np.testing.assert_array_equal(picture.rgb[..., 0], pixels[..., 0])
        np.testing.assert_array_equal(picture.extra[..., 0], pixels[..., 1])

    def test_an_extra_channel_of_cmyk(self):
        picture = image_io.decode(odd.tiff([odd.page(odd.drawn(bands=5), t262=(3, [5]), t338=(3, [0]))]), "a file")
        assert picture.rgb.shape == (24, 32, 3)
        np.testing.assert_array_equal(picture.extra[..., 0], odd.drawn(bands=5)[..., 4])

    def test_declared_alpha_is_alpha(self):
        pixels = odd.drawn(bands=4)
        picture = image_io.decode(odd.tiff([odd.page(pixels, t338=(3, [2]))]), "a file")
        np.testing.assert_array_equal(picture.alpha, pixels[..., 3])
        assert picture.extra is None

    @pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
    def test_formats_without_further_channels_show_all_pixels_and_say_so(self, kind: str):
        pixels = odd.drawn(bands=4)
        pixels[..., 3] = 0
        picture = image_io.decode(odd.tiff([odd.page(pixels, t338=(3, [0]))]), "a file")
        assert image_io.losses(picture, f".{kind}") == ["left out: 1 channel beside colour and alpha, 768 bytes"]
        shown = image_io.decode(image_io.encode(picture, kind), "again").rgb.astype(int)
        assert np.abs(shown - pixels[..., :3]).mean() < 3

    def test_premultiplied_alpha_beside_others_is_refused(self):
        assert "straight alpha" in refusal(odd.tiff([odd.page(odd.drawn(bands=5), t338=(3, [1, 0]))]))


class TestPagesAndFrames:
    @pytest.mark.parametrize("data", [odd.animated_png(3), odd.avif(frames=3)], ids=["png", "avif"])
    def test_animations_are_refused(self, data: bytes):
        text = refusal(data)
        assert "animated" in text
        assert "split it" in text

    def test_an_animation_of_one_frame_is_a_picture(self):
        data = odd.png(
            odd.chunk(b"acTL", struct.pack(">II", 1, 0)), odd.chunk(b"fcTL", struct.pack(">7I4B", *[0] * 11))
        )
        picture = image_io.decode(data, "a file")
        np.testing.assert_array_equal(picture.rgb, odd.drawn())
        assert picture.notes == ("left out: animation of one frame, 32 bytes",)

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("big", [False, True])
    @pytest.mark.parametrize("first", [False, True])
    def test_a_thumbnail_is_no_page(self, order: str, big: bool, first: bool):
        small = odd.page(odd.drawn(height=6, width=8), order, t254=(4, [1]))
        pages = [odd.page(odd.drawn(), order), small]
        picture = image_io.decode(odd.tiff(pages[::-1] if first else pages, order=order, big=big), "a file")
        np.testing.assert_array_equal(picture.rgb, odd.drawn())
        assert picture.notes == ("left out: thumbnail, 144 bytes",)

    def test_a_mask_is_no_page_and_old_tags_count_too(self):
        mask = odd.page(odd.drawn(bands=1), t254=(4, [4]))
        old = odd.page(odd.drawn(height=6, width=8), t255=(3, [2]))
        picture = image_io.decode(odd.tiff([odd.page(odd.drawn()), mask, old]), "a file")
        assert picture.notes == ("left out: mask in a page of its own, 768 bytes", "left out: thumbnail, 144 bytes")

    def test_smaller_versions_in_sub_directories_are_said(self):
        whole = odd.page(odd.drawn())
        whole[-1] = [odd.page(odd.drawn(height=12, width=16), t254=(4, [1]))]
        assert image_io.decode(odd.tiff([whole]), "a file").notes == (
            "left out: smaller versions in sub-directories, 576 bytes",
        )

    @pytest.mark.parametrize("big", [False, True])
    def test_pages_are_refused(self, big: bool):
        pages = [odd.page(odd.drawn()), odd.page(odd.drawn()), odd.page(odd.drawn(height=6, width=8), t254=(4, [1]))]
        assert "holds 2 pages" in refusal(odd.tiff(pages, big=big))

    def test_directories_that_lead_in_circles_end(self):
        data = bytearray(odd.tiff([odd.page(odd.drawn())]))
        (start,) = struct.unpack_from("<I", data, 4)
        data[-4:] = struct.pack("<I", start)
        np.testing.assert_array_equal(image_io.decode(bytes(data), "a file").rgb, odd.drawn())


class TestSamplesAndSpaces:
    @pytest.mark.parametrize(
        ("tags", "text"),
        [
            ({"t262": (3, [8])}, "colour space Lab; convert it to RGB"),
            ({"t262": (3, [9])}, "colour space Lab; convert it to RGB"),
            ({"t339": (3, [2, 2, 2])}, "signed 8-bit samples; convert it to unsigned"),
            ({"t258": (3, [8, 8, 4])}, "samples of 4 and 8 bits"),
            ({"t262": (3, [32845])}, "high dynamic range"),
            ({"t339": (3, [6, 6, 6])}, "complex samples"),
        ],
    )
    def test_what_cannot_be_restored_is_called_by_its_name(self, tags: dict, text: str):  # type: ignore[type-arg]
        assert text in refusal(odd.tiff([odd.page(odd.drawn(), **tags)]))

    def test_signed_16_bits(self):
        signed = odd.drawn(np.uint16, bands=1)
        assert "signed 16-bit samples; convert it to unsigned" in refusal(odd.tiff([odd.page(signed, t339=(3, [2]))]))

    def test_inks_other_than_cmyk(self):
        assert "inks other than CMYK" in refusal(odd.tiff([odd.page(odd.drawn(bands=4), t262=(3, [5]), t332=(3, [2]))]))


class TestOtherFormats:
    @pytest.mark.parametrize(
        ("start", "what"),
        [
            (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL file"),
            (b"\xff\x0a\x00", "a JPEG XL file"),
            (b"GIF89a", "a GIF file"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 file"),
            (b"8BPS\0\1", "a Photoshop file"),
            (b"%PDF-1.7", "a PDF file"),
        ],
    )
    def test_they_are_named_with_what_to_do(self, start: bytes, what: str):
        assert f"is {what}; convert it to JPEG" in refusal(start + bytes(100))

    def test_what_macos_keeps_beside_a_file(self):
        assert "AppleDouble" in refusal(b"\0\x05\x16\x07\0\2\0\0" + bytes(100))

    def test_a_video(self):
        assert "is a video" in refusal(odd.mp4())

    def test_a_heic_file_is_read_or_refused_in_one_line(self, monkeypatch: pytest.MonkeyPatch):
        data = odd.avif().replace(b"av01", b"hvc1").replace(b"avif", b"heic")
        monkeypatch.setattr("moceir.image_io.other_decoders.find_spec", lambda _: None)
        assert "is a HEIC file; convert it to JPEG" in refusal(data)

    @pytest.mark.parametrize("turned", [1, 6])
    def test_a_heic_file_with_its_metadata(self, tmp_path: Path, turned: int):
        heif = pytest.importorskip("pillow_heif")
        exif = odd.exif_block({271: "Camera Works", 274: turned})
        xmp = odd.XMP_DESCRIPTION.format(attributes='xmlns:a="b:c" a:d="e"', content="").encode()
        heif.from_pillow(Image.fromarray(odd.drawn())).save(tmp_path / "a.heic", quality=100, exif=exif, xmp=xmp)
        picture = image_io.read(tmp_path / "a.heic")
        assert picture.format == "heic"
        seen = odd.drawn() if turned == 1 else np.rot90(odd.drawn(), -1)
        assert np.abs(picture.rgb.astype(int) - seen).mean() < 3
        image_io.write(tmp_path / "a.png", picture)
        with Image.open(tmp_path / "a.png") as done:
            assert done.getexif()[271] == "Camera Works"
            assert done.getexif().get(274, 1) == 1
        assert picture.metadata[image_io.picture.XMP] == xmp

    def test_a_heic_file_of_10_bits(self, tmp_path: Path):
        heif = pytest.importorskip("pillow_heif")
        white = np.full((32, 32, 3), 65535, np.uint16).tobytes()
        heif.from_bytes(mode="RGB;16", size=(32, 32), data=white).save(tmp_path / "a.heic", quality=95)
        assert image_io.read(tmp_path / "a.heic").rgb.min() == 65535

    @pytest.mark.parametrize("bits", [10, 12])
    def test_white_of_avif_is_white(self, bits: int):
        white = odd.image(np.full((32, 32, 3), 65535, np.uint16))
        data = white.heifsave_buffer(compression="av1", bitdepth=bits, Q=95)
        assert image_io.decode(data, "a file").rgb.max() == 65535

    def test_a_torn_heic_file(self, tmp_path: Path):
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(Image.fromarray(odd.drawn())).save(tmp_path / "a.heic")
        data = (tmp_path / "a.heic").read_bytes()
        assert "whole" in refusal(data[: len(data) * 3 // 4])
