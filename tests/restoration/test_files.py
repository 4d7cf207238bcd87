"""The path of a picture file: what the network changes, what it must not, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import write_picture

from moceir import MoceirError, image_io
from moceir.errors import ImageError, OutputError
from moceir.models.network import MoCEIR
from moceir.restoration import Restorer
from moceir.restoration.memory import peak_bytes


@pytest.fixture
def restorer(nano: MoCEIR) -> Restorer:
    return Restorer(nano, device="cpu")


def deep(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).integers(1, 65536, (12, 14, channels), dtype=np.uint16)


def test_files_get_what_arrays_get(restorer: Restorer, tmp_path: Path) -> None:
    rgba = deep(4)
    image_io.write(tmp_path / "in.png", image_io.Picture(rgba[..., :3], rgba[..., 3]))
    result = restorer.restore_file(str(tmp_path / "in.png"), tmp_path / "new" / "out.png")
    assert (result.width, result.height, result.format, result.restored) == (14, 12, "png", None)
    assert (result.source, result.target) == (tmp_path / "in.png", tmp_path / "new" / "out.png")
    assert result.seconds > result.network_seconds > 0
    read = image_io.read(tmp_path / "new" / "out.png")
    assert read.alpha is not None
    np.testing.assert_array_equal(np.dstack([read.rgb, read.alpha]), restorer.restore(rgba))

    grey = deep(1)
    image_io.write(tmp_path / "grey.png", image_io.Picture(np.repeat(grey, 3, axis=2), grey=True))
    result = restorer.restore_file(tmp_path / "grey.png", tmp_path / "grey_out.png")
    read = image_io.read(tmp_path / "grey_out.png")
    assert read.grey
    np.testing.assert_array_equal(read.rgb[..., :1], restorer.restore(grey))
    assert result.report == restorer.run(grey).report


@pytest.mark.parametrize(
    ("suffix", "changes", "expected"),
    [
        (".jpg", {}, ".jpg"),
        (".png", {"strength": 0.5}, ".png"),
        (".tif", {"format": "webp", "quality": 60}, ".webp"),
        (".jpg", {"format": "png", "metadata": "strip"}, ".png"),
    ],
)
def test_bytes_get_what_files_get_to_the_byte(
    restorer: Restorer, tmp_path: Path, suffix: str, changes: dict[str, Any], expected: str
) -> None:
    write_picture(tmp_path / f"in{suffix}")
    result = restorer.restore_bytes((tmp_path / f"in{suffix}").read_bytes(), **changes)
    restorer.restore_file(tmp_path / f"in{suffix}", tmp_path / f"out{expected}", **changes)
    assert result.restored == (tmp_path / f"out{expected}").read_bytes()
    assert result.format == image_io.read(tmp_path / f"out{expected}").format
    assert (result.source, result.target) == (None, None)


def test_what_the_format_cannot_hold_is_noted(restorer: Restorer, tmp_path: Path) -> None:
    rgba = deep(4)
    image_io.write(tmp_path / "in.png", image_io.Picture(rgba[..., :3], rgba[..., 3]))
    expected = ("transparency laid on white", "16 bits became 8")
    assert restorer.restore_file(tmp_path / "in.png", tmp_path / "out.jpg").notes == expected
    assert restorer.restore_bytes((tmp_path / "in.png").read_bytes(), format="jpeg").notes == expected


def test_too_large_for_memory_means_tiles(nano: MoCEIR, tmp_path: Path) -> None:
    rgb = write_picture(tmp_path / "in.png", 280, 300)
    restorer = Restorer(nano, device="cpu", memory_limit=peak_bytes(nano.config, 256, 256) + 24 * 280 * 300)
    assert restorer.restore_file(tmp_path / "in.png", tmp_path / "out.png").tile_px == 256
    with pytest.warns(UserWarning, match="in tiles of 256"):
        np.testing.assert_array_equal(image_io.read(tmp_path / "out.png").rgb, restorer.restore(rgb))


def test_results_are_measured_against_a_clean_picture(restorer: Restorer, tmp_path: Path) -> None:
    rgb = write_picture(tmp_path / "in.png", seed=1)
    clean = image_io.Picture(rgb // 2)
    opened = restorer.open(tmp_path / "in.png")
    answer = restorer.work(opened)
    result = restorer.finish(opened, answer, tmp_path / "out.png", clean=clean)
    assert result.psnr_db is not None
    for picture, measured in zip((rgb, answer.restored), result.psnr_db, strict=True):
        expected = -10 * np.log10(np.square(picture / 255 - clean.rgb / 255).mean())
        assert measured == pytest.approx(expected, abs=0.001)
    with pytest.raises(ImageError, match="differs in size"):
        restorer.finish(opened, answer, tmp_path / "other.png", clean=image_io.Picture(rgb[:-1]))
    assert not (tmp_path / "other.png").exists()


def test_limits_are_options(nano: MoCEIR, tmp_path: Path) -> None:
    write_picture(tmp_path / "in.png")
    data = (tmp_path / "in.png").read_bytes()
    with pytest.raises(ImageError, match=r"the picture claims 40x24 pixels, above the limit of 0\.0005 megapixels"):
        Restorer(nano, device="cpu", max_pixels=500).restore_bytes(data)
    with pytest.raises(ImageError, match="upload is larger than the limit"):
        Restorer(nano, device="cpu").restore_bytes(data, name="upload", max_bytes=1000)
    assert Restorer(nano, device="cpu", max_pixels=40 * 24).restore_bytes(data).width == 40


@pytest.mark.parametrize(
    ("target", "changes", "telling"),
    [
        ("in.png", {}, "is the input itself"),
        ("out.gif", {}, "unknown suffix '.gif'"),
        ("out", {}, "unknown suffix ''"),
        ("out.png", {"format": "jpeg"}, "does not have a suffix of jpeg"),
    ],
)
def test_targets_are_refused_before_the_work(
    restorer: Restorer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    changes: dict[str, Any],
    telling: str,
) -> None:
    write_picture(tmp_path / "in.png")
    monkeypatch.setattr(restorer.model, "restore_with_routing", lambda *_, **__: pytest.fail("the work was done"))
    with pytest.raises(OutputError, match=telling):
        restorer.restore_file(tmp_path / "in.png", tmp_path / target, **changes)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_what_is_neither_path_nor_bytes_is_one_kind_of_error(restorer: Restorer) -> None:
    wrong: Any
    for wrong in (None, 3, b"in.png", ["in.png"]):
        with pytest.raises(MoceirError, match="is not the path of a file"):
            restorer.restore_file(wrong, "out.png")
    for wrong in (None, 3, "in.png", Path("in.png"), ["in.png"]):
        with pytest.raises(MoceirError, match="is not the content of a file"):
            restorer.restore_bytes(wrong)
    with pytest.raises(MoceirError, match="a does not exist"):
        restorer.restore_file("a", "b.png")
    with pytest.raises(MoceirError, match="unknown suffix"):
        restorer.restore_file("a", "b")
    with pytest.raises(MoceirError, match="the picture is empty"):
        restorer.restore_bytes(b"")
