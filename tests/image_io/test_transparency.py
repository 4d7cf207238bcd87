"""Pictures with alpha: nothing that cannot be seen gets into what can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir import image_io
from moceir.image_io import Picture
from moceir.image_io.transparency import fill_transparent, over_white
from moceir.restoration import Restorer


def disc(size: int = 64, radius: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """A soft-edged disc of one colour, and alpha; outside it is white but cannot be seen."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    alpha = (np.clip(radius - np.hypot(x, y), 0, 1) * 255).round().astype(np.uint8)
    rgb = np.where(alpha[..., None] > 0, np.array([160, 40, 60]), 255).astype(np.uint8)
    return rgb, alpha


def test_hidden_colours_have_no_say(nano) -> None:  # type: ignore[no-untyped-def]
    rgb, alpha = disc()
    restorer = Restorer(nano, device="cpu")
    results = []
    for hidden in (0, 90, 255):
        picture = np.dstack([np.where(alpha[..., None] > 0, rgb, hidden).astype(np.uint8), alpha])
        results.append(restorer.restore(picture))
        np.testing.assert_array_equal(results[-1][..., 3], alpha)
        # What is hidden is nobody's business: it stays.
        np.testing.assert_array_equal(results[-1][alpha == 0], picture[alpha == 0])
    for other in results[1:]:
        np.testing.assert_array_equal(other[alpha > 0], results[0][alpha > 0])


def test_no_halo_around_an_edge() -> None:
    """With the bundled network a flat disc stays flat up to its edge, though white lies beyond it."""
    rgb, alpha = disc()
    restored = Restorer.from_pretrained("tiny", device="cpu").restore(np.dstack([rgb, alpha]))[..., :3].astype(int)
    y, x = np.mgrid[:64, :64] - 31.5
    edge = (alpha > 0) & (np.hypot(x, y) > 17)
    middle = np.hypot(x, y) < 12
    assert np.abs(restored[edge].mean(axis=0) - restored[middle].mean(axis=0)).max() < 3
    assert np.abs(restored[edge] - rgb[edge]).max() < 12


@settings(max_examples=100, deadline=None, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_filling_keeps_what_is_seen_and_adds_no_new_extremes(
    dtype: type, height: int, width: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    rgb = rng.integers(0, top + 1, (height, width, 3)).astype(dtype)
    alpha = (rng.integers(1, top + 1, (height, width)) * (rng.random((height, width)) < share)).astype(dtype)
    filled = fill_transparent(rgb, alpha)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled[alpha > 0], rgb[alpha > 0])
    if (alpha > 0).any():
        seen = rgb[alpha > 0].reshape(-1, 3).astype(int)
        assert (filled >= seen.min(axis=0) - 1).all()
        assert (filled <= seen.max(axis=0) + 1).all()


def test_filling_takes_the_nearest_colour() -> None:
    rgb = np.zeros((8, 64, 3), np.uint8)
    alpha = np.zeros((8, 64), np.uint8)
    rgb[:, :8], rgb[:, -8:] = 50, 200
    alpha[:, :8] = alpha[:, -8:] = 255
    filled = fill_transparent(rgb, alpha)[0, :, 0].astype(int)
    assert (filled[8:16] == 50).all()
    assert (filled[-16:-8] == 200).all()


def test_jpeg_has_it_on_white(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rgb, alpha = disc()
    black = np.where(alpha[..., None] > 0, rgb, 0).astype(np.uint8)
    picture = Picture(black, alpha)
    assert image_io.losses(picture, ".jpg") == ["transparency laid on white"]
    image_io.write(tmp_path / "a.jpg", picture)
    written = image_io.read(tmp_path / "a.jpg").rgb
    assert written[:6, :6].min() > 250
    np.testing.assert_allclose(written[32, 32], [160, 40, 60], atol=4)
    half = over_white(np.full((1, 1, 3), 100, np.uint8), np.full((1, 1), 128, np.uint8))
    np.testing.assert_allclose(half, 255 - 155 * 128 / 255, atol=0.51)


def test_premultiplied_tiffs_are_read_as_what_they_show(tmp_path) -> None:  # type: ignore[no-untyped-def]
    tifffile = pytest.importorskip("tifffile")
    rgba = np.tile(np.array([100, 50, 25, 128], np.uint8), (8, 8, 1))
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["assocalpha"])
    picture = image_io.read(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.rgb[0, 0], np.array([100, 50, 25]) * 255 / 128, atol=1)
