"""Pictures survive reading and writing, and whatever is no picture is refused in one line."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from moceir import image_io
from moceir.errors import ImageError, OutputError
from moceir.image_io import Picture

WIDTH, HEIGHT = 24, 17
DTYPES = (np.uint8, np.uint16)
LOSSLESS = (".png", ".tif", ".tiff")
INTERPRETATIONS = {(np.uint8, 1): "b-w", (np.uint16, 1): "grey16", (np.uint8, 3): "srgb", (np.uint16, 3): "rgb16"}


def random_pixels(bands: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    levels = np.iinfo(dtype).max + 1
    return np.random.default_rng(seed).integers(0, levels, (HEIGHT, WIDTH, bands)).astype(dtype)


def smooth_pixels(dtype: type = np.uint8) -> np.ndarray:
    y, x = np.mgrid[0:1:64j, 0:1:96j]
    pixels = np.stack([x, y, (x + y) / 2], axis=2) * 0.8 + 0.1
    return (pixels * np.iinfo(dtype).max).round().astype(dtype)


def vips_image(pixels: np.ndarray) -> pyvips.Image:
    colours = 1 if pixels.shape[2] < 3 else 3
    interpretation = INTERPRETATIONS[pixels.dtype.type, colours]
    return pyvips.Image.new_from_array(pixels).copy(interpretation=interpretation)


def one_line_about(path: Path, error: pytest.ExceptionInfo[Exception]) -> str:
    message = str(error.value)
    assert path.name in message
    assert "\n" not in message
    return message


def assert_refused(path: Path, pattern: str = "") -> None:
    with pytest.raises(ImageError) as error:
        image_io.read(path)
    assert re.search(pattern, one_line_about(path, error))


class TestRoundTrip:
    @pytest.mark.parametrize("suffix", LOSSLESS)
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("bands", [1, 2, 3, 4])
    def test_lossless_file_comes_back_exactly(self, tmp_path: Path, suffix: str, dtype: type, bands: int):
        pixels = random_pixels(bands, dtype)
        source, target = tmp_path / f"source{suffix}", tmp_path / f"target{suffix}"
        vips_image(pixels).write_to_file(str(source))

        picture = image_io.read(source)

        colours = pixels[..., : bands - 1] if bands in (2, 4) else pixels
        assert picture.rgb.dtype == dtype
        assert picture.grey == (bands < 3)
        np.testing.assert_array_equal(picture.rgb, np.broadcast_to(colours, (HEIGHT, WIDTH, 3)))
        if bands in (2, 4):
            np.testing.assert_array_equal(picture.alpha, pixels[..., -1])
        else:
            assert picture.alpha is None

        image_io.write(target, picture)
        np.testing.assert_array_equal(pyvips.Image.new_from_file(str(target)).numpy().reshape(pixels.shape), pixels)

    @settings(deadline=None, derandomize=True)
    @given(
        pixels=st.sampled_from(DTYPES).flatmap(
            lambda dtype: hnp.arrays(dtype, st.tuples(st.integers(1, 32), st.integers(1, 32), st.just(3)))
        )
    )
    def test_any_size_and_content_through_png(self, tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray):
        path = tmp_path_factory.getbasetemp() / "property.png"
        image_io.write(path, Picture(pixels))
        np.testing.assert_array_equal(image_io.read(path).rgb, pixels)

    @pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG", ".webp"])
    @pytest.mark.parametrize("grey", [False, True])
    def test_lossy_file_comes_back_closely(self, tmp_path: Path, suffix: str, grey: bool):
        pixels = smooth_pixels()
        if grey:
            pixels = np.repeat(pixels[..., :1], 3, axis=2)
        image_io.write(tmp_path / f"a{suffix}", Picture(pixels, grey=grey))
        back = image_io.read(tmp_path / f"a{suffix}")
        assert back.rgb.dtype == np.uint8
        assert np.abs(back.rgb.astype(int) - pixels).mean() < 2

    @pytest.mark.parametrize("suffix", [".jpg", ".webp"])
    def test_16_bits_are_rounded_where_the_format_has_8(self, tmp_path: Path, suffix: str):
        pixels = smooth_pixels(np.uint16)
        image_io.write(tmp_path / f"a{suffix}", Picture(pixels))
        back = image_io.read(tmp_path / f"a{suffix}").rgb
        assert back.dtype == np.uint8
        assert np.abs(back - pixels / 257).mean() < 2

    def test_alpha_survives_webp_and_is_left_out_of_jpeg(self, tmp_path: Path):
        alpha = random_pixels(1)[..., 0]
        picture = Picture(random_pixels(3), alpha)
        image_io.write(tmp_path / "a.webp", picture)
        np.testing.assert_array_equal(image_io.read(tmp_path / "a.webp").alpha, alpha)
        image_io.write(tmp_path / "a.jpg", picture)
        assert image_io.read(tmp_path / "a.jpg").alpha is None

    def test_a_changed_file_is_read_anew(self, tmp_path: Path):
        path = tmp_path / "a.png"
        for seed in (1, 2):
            pixels = random_pixels(3, seed=seed)
            image_io.write(path, Picture(pixels))
            np.testing.assert_array_equal(image_io.read(path).rgb, pixels)

    def test_what_is_read_may_be_changed_in_place(self, tmp_path: Path):
        image_io.write(tmp_path / "a.png", Picture(random_pixels(3)))
        assert image_io.read(tmp_path / "a.png").rgb.flags.writeable


class TestMetadata:
    @pytest.mark.parametrize("source_suffix", [".jpg", ".png", ".webp", ".tif"])
    @pytest.mark.parametrize("target_suffix", [".jpg", ".png", ".webp", ".tif"])
    def test_profile_and_exif_are_kept(self, tmp_path: Path, source_suffix: str, target_suffix: str):
        source, target = tmp_path / f"source{source_suffix}", tmp_path / f"target{target_suffix}"
        image = vips_image(random_pixels(3)).copy()
        image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-ImageDescription", "a red door")
        image.write_to_file(str(source), profile="p3")
        # Formats store the same EXIF a little differently; TIFF stores none as a block.
        has_exif = bool(pyvips.Image.new_from_file(str(source)).get_typeof("exif-data"))
        assert has_exif or source_suffix == ".tif"

        image_io.write(target, image_io.read(source))

        written, original = (pyvips.Image.new_from_file(str(path)) for path in (target, source))
        assert written.get("icc-profile-data") == original.get("icc-profile-data")
        if has_exif and target_suffix != ".tif":
            assert written.get("exif-ifd0-ImageDescription").startswith("a red door")

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
    def test_resolution_is_kept(self, tmp_path: Path, suffix: str):
        source, target = tmp_path / f"source{suffix}", tmp_path / f"target{suffix}"
        vips_image(random_pixels(3)).copy(xres=11.811, yres=11.811).write_to_file(str(source))
        image_io.write(target, image_io.read(source))
        written = pyvips.Image.new_from_file(str(target))
        # 11.811 pixels per millimetre are 300 dpi; formats round to whole pixels per inch or metre.
        assert (written.xres, written.yres) == pytest.approx((11.811, 11.811), abs=0.02)

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation_is_applied_once(self, tmp_path: Path, suffix: str, orientation: int):
        source, target = tmp_path / f"source{suffix}", tmp_path / f"target{suffix}"
        stored = smooth_pixels()
        image = vips_image(stored).copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        image.write_to_file(str(source))
        # EXIF 2.32, tag 274: where the stored row 0 and column 0 are in the picture as it should be seen.
        seen = {
            1: stored,
            2: stored[:, ::-1],
            3: stored[::-1, ::-1],
            4: stored[::-1],
            5: stored.transpose(1, 0, 2),
            6: stored.transpose(1, 0, 2)[:, ::-1],
            7: stored.transpose(1, 0, 2)[::-1, ::-1],
            8: stored.transpose(1, 0, 2)[::-1],
        }[orientation]

        picture = image_io.read(source)
        assert picture.rgb.shape == seen.shape
        assert np.abs(picture.rgb.astype(int) - seen).mean() < 3

        image_io.write(target, picture)
        again = image_io.read(target)
        assert again.rgb.shape == seen.shape
        assert np.abs(again.rgb.astype(int) - seen).mean() < 3


class TestConversion:
    def test_palette_png_becomes_colour(self, tmp_path: Path):
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[:4], pixels[4:] = (250, 10, 20), (5, 60, 240)
        vips_image(pixels).pngsave(str(tmp_path / "a.png"), palette=True)
        np.testing.assert_allclose(image_io.read(tmp_path / "a.png").rgb, pixels, atol=1)

    def test_bilevel_png_becomes_black_and_white(self, tmp_path: Path):
        pixels = np.zeros((8, 8, 1), np.uint8)
        pixels[:4] = 255
        vips_image(pixels).pngsave(str(tmp_path / "a.png"), bitdepth=1)
        picture = image_io.read(tmp_path / "a.png")
        assert picture.grey
        np.testing.assert_array_equal(picture.rgb[..., :1], pixels)

    def test_cmyk_jpeg_becomes_rgb(self, tmp_path: Path):
        source, target = tmp_path / "cmyk.jpg", tmp_path / "rgb.png"
        flat = np.full((32, 32, 3), (200, 60, 50), np.uint8)
        vips_image(flat).colourspace("cmyk").write_to_file(str(source))
        assert pyvips.Image.new_from_file(str(source)).interpretation == "cmyk"

        picture = image_io.read(source)
        assert picture.rgb.shape == (32, 32, 3)
        assert picture.alpha is None
        red, green, blue = picture.rgb.reshape(-1, 3).mean(axis=0)
        assert red > green + 60 > blue

        image_io.write(target, picture)
        written = pyvips.Image.new_from_file(str(target))
        assert written.interpretation == "srgb"

    def test_cmyk_profile_is_not_attached_to_rgb(self, tmp_path: Path):
        source, target = tmp_path / "cmyk.jpg", tmp_path / "rgb.png"
        flat = np.full((32, 32, 3), (200, 60, 50), np.uint8)
        vips_image(flat).icc_transform("cmyk", input_profile="srgb").write_to_file(str(source))
        assert pyvips.Image.new_from_file(str(source)).get_typeof("icc-profile-data")

        image_io.write(target, image_io.read(source))

        written = pyvips.Image.new_from_file(str(target))
        if written.get_typeof("icc-profile-data"):
            # Bytes 16 to 19 of a profile name the colour space of its pixels (ICC.1:2022, 7.2.8).
            assert written.get("icc-profile-data")[16:20] == b"RGB "
        colour = written.icc_transform("srgb", embedded=True, input_profile="srgb").numpy().reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(colour, (200, 60, 50), atol=12)


class TestBmp:
    @pytest.mark.parametrize(("name", "mode"), [("a.bmp", "RGB"), ("A.BMP", "RGB"), ("grey.bmp", "L"), ("p.bmp", "P")])
    def test_pixels_are_read_exactly(self, tmp_path: Path, name: str, mode: str):
        drawn = Image.fromarray(random_pixels(3)).convert(mode)
        drawn.save(tmp_path / name, "BMP")
        picture = image_io.read(tmp_path / name)
        np.testing.assert_array_equal(picture.rgb, np.asarray(drawn.convert("RGB")))
        assert picture.grey == (mode == "L")

    @pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
    def test_truncated_file(self, tmp_path: Path, share: float):
        Image.fromarray(random_pixels(3)).save(tmp_path / "whole.bmp")
        whole = (tmp_path / "whole.bmp").read_bytes()
        (tmp_path / "cut.bmp").write_bytes(whole[: int(share * len(whole))])
        assert_refused(tmp_path / "cut.bmp", "whole BMP")


class TestRefusal:
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
    @pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 0.95])
    def test_truncated_file(self, tmp_path: Path, suffix: str, share: float):
        path = tmp_path / f"cut{suffix}"
        vips_image(smooth_pixels()).write_to_file(str(path))
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        assert_refused(path)

    def test_text_with_the_name_of_a_picture(self, tmp_path: Path):
        path = tmp_path / "notes.png"
        path.write_text("no picture at all\n")
        assert_refused(path, "cannot be read")

    def test_empty_file(self, tmp_path: Path):
        (tmp_path / "empty.jpg").touch()
        assert_refused(tmp_path / "empty.jpg")

    def test_missing_file(self, tmp_path: Path):
        assert_refused(tmp_path / "nowhere.png", "does not exist")

    def test_name_too_long_for_any_file(self, tmp_path: Path):
        assert_refused(tmp_path / f"{'x' * 300}.png")

    def test_folder(self, tmp_path: Path):
        (tmp_path / "album.png").mkdir()
        assert_refused(tmp_path / "album.png", "is a folder")

    @pytest.mark.parametrize("name", ["a.gif", "a.png"])
    def test_gif_whatever_its_name(self, tmp_path: Path, name: str):
        vips_image(smooth_pixels()).write_to_file(str(tmp_path / "a.gif"))
        assert_refused((tmp_path / "a.gif").rename(tmp_path / name), "is a GIF file; convert it")

    @pytest.mark.parametrize("name", ["a.ppm", "a.png"])
    def test_ppm_whatever_its_name(self, tmp_path: Path, name: str):
        # Some builds of libvips know the format, others do not; neither may let it through.
        (tmp_path / name).write_bytes(b"P6 4 4 255\n" + bytes(48))
        assert_refused(tmp_path / name)

    @pytest.mark.parametrize("suffix", [".webp", ".tif"])
    def test_several_frames(self, tmp_path: Path, suffix: str):
        path = tmp_path / f"film{suffix}"
        image = vips_image(np.concatenate([smooth_pixels(), smooth_pixels()[::-1]])).copy()
        image.set_type(pyvips.GValue.gint_type, "page-height", 64)
        image.write_to_file(str(path))
        assert_refused(path, "2 (pages or )?frames")

    @pytest.mark.parametrize("sample", ["float", "uint", "short"])
    def test_other_sample_types(self, tmp_path: Path, sample: str):
        path = tmp_path / "deep.tif"
        vips_image(smooth_pixels()).cast(sample).write_to_file(str(path))
        assert_refused(path, "8 or 16 bits")


class TestWrite:
    @pytest.mark.parametrize("name", ["a.gif", "a", "a.", "a.txt"])
    def test_unknown_suffix(self, tmp_path: Path, name: str):
        with pytest.raises(OutputError) as error:
            image_io.write(tmp_path / name, Picture(random_pixels(3)))
        assert ".png" in one_line_about(tmp_path / name, error)
        assert list(tmp_path.iterdir()) == []

    def test_missing_folders_are_made(self, tmp_path: Path):
        image_io.write(tmp_path / "a" / "b" / "c.png", Picture(random_pixels(3)))
        assert image_io.read(tmp_path / "a" / "b" / "c.png").rgb.shape == (HEIGHT, WIDTH, 3)

    def test_nothing_else_is_left_beside_the_file(self, tmp_path: Path):
        image_io.write(tmp_path / "a.png", Picture(random_pixels(3)))
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]

    def test_a_file_where_a_folder_should_be(self, tmp_path: Path):
        (tmp_path / "file").write_text("kept")
        with pytest.raises(OutputError) as error:
            image_io.write(tmp_path / "file" / "a.png", Picture(random_pixels(3)))
        one_line_about(tmp_path / "file" / "a.png", error)
        assert (tmp_path / "file").read_text() == "kept"

    def test_a_folder_where_the_file_should_be(self, tmp_path: Path):
        (tmp_path / "a.png").mkdir()
        with pytest.raises(OutputError) as error:
            image_io.write(tmp_path / "a.png", Picture(random_pixels(3)))
        one_line_about(tmp_path / "a.png", error)
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]

    def test_failure_leaves_the_old_file(self, tmp_path: Path):
        path = tmp_path / "a.jpg"
        image_io.write(path, Picture(random_pixels(3)))
        before = path.read_bytes()
        too_wide = Picture(np.zeros((1, 65536, 3), np.uint8))
        with pytest.raises(OutputError) as error:
            image_io.write(path, too_wide)
        one_line_about(path, error)
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.jpg"]

    def test_a_full_disk_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        path = tmp_path / "a.png"
        path.write_bytes(b"old")

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="No space left on device"):
            image_io.write(path, Picture(random_pixels(3)))
        assert path.read_bytes() == b"old"
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


class TestFind:
    def test_folders_are_searched_in_order(self, tmp_path: Path):
        for name in ("b.JPG", "a.png", "sub/deep/c.tiff", "sub/d.webp", "notes.txt", "sub/.keep"):
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / "in" / "album.png").mkdir()
        places = [place.as_posix() for _, place in image_io.find([tmp_path / "in"])]
        assert places == ["a.png", "b.JPG", "sub/d.webp", "sub/deep/c.tiff"]
        assert all(file == tmp_path / "in" / place for file, place in image_io.find([tmp_path / "in"]))

    def test_files_are_taken_as_given(self, tmp_path: Path):
        files = [tmp_path / "z.png", tmp_path / "scan.dat", tmp_path / "missing.jpg"]
        assert image_io.find(files) == [(file, Path(file.name)) for file in files]

    def test_folder_without_pictures(self, tmp_path: Path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ImageError) as error:
            image_io.find([tmp_path / "empty"])
        assert "holds no pictures" in one_line_about(tmp_path / "empty", error)

    @pytest.mark.parametrize(
        "name", ["Ünïcødé 写真.png", "two  spaces.png", "-dash.png", "a[1].png", "100%d.png", "q'\".png"]
    )
    def test_odd_names(self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
        pixels = random_pixels(3)
        image_io.write(tmp_path / "in" / name, Picture(pixels))
        assert [place.name for _, place in image_io.find([tmp_path / "in"])] == [name]
        np.testing.assert_array_equal(image_io.read(tmp_path / "in" / name).rgb, pixels)

        monkeypatch.chdir(tmp_path / "in")
        np.testing.assert_array_equal(image_io.read(Path(name)).rgb, pixels)
        shutil.rmtree(tmp_path / "in")
        image_io.write(tmp_path / "in[x]" / name, Picture(pixels))
        np.testing.assert_array_equal(image_io.read(tmp_path / "in[x]" / name).rgb, pixels)
