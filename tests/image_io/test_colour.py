"""Colours survive: what the network sees is sRGB, and what comes back is in the colours of the file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from profiles import delta_e, grey_profile, rgb_profile, scanner_profile, to_xyz

from moceir import image_io
from moceir.image_io import Picture
from moceir.image_io.picture import ICC
from moceir.restoration import Restorer

DTYPES = (np.uint8, np.uint16)


def sweep(dtype: type) -> np.ndarray:
    """All corners of the cube and much between them, ``(32, 96, 3)``."""
    levels = np.linspace(0, 1, 32)
    y, x = np.meshgrid(levels, levels, indexing="ij")
    planes = [np.stack([x, y, np.full_like(x, z)], axis=2) for z in (0.0, 0.5, 1.0)]
    return (np.concatenate(planes, axis=1) * np.iinfo(dtype).max).round().astype(dtype)


def tagged(rgb: np.ndarray, profile: bytes, **more: object) -> Picture:
    return Picture(rgb, metadata={ICC: profile}, **more)  # type: ignore[arg-type]


def scaled(pixels: np.ndarray) -> np.ndarray:
    return pixels / np.iinfo(pixels.dtype).max


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["p3", "prophoto"])
def test_the_network_sees_srgb(dtype: type, name: str) -> None:
    picture = tagged(sweep(dtype), rgb_profile(name))
    seen = image_io.to_network(picture)
    assert seen.dtype == np.uint16
    wanted = to_xyz(scaled(picture.rgb), name)
    inside = (seen > 0).all(axis=2) & (seen < 65535).all(axis=2)
    assert inside.mean() > 0.1
    assert delta_e(to_xyz(scaled(seen), "srgb"), wanted)[inside].max() < 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["p3", "prophoto"])
def test_no_change_is_none_in_colours_outside_of_srgb_too(dtype: type, name: str) -> None:
    picture = tagged(sweep(dtype), rgb_profile(name))
    seen = image_io.to_network(picture)
    np.testing.assert_array_equal(image_io.from_network(picture, seen, seen.copy()).rgb, picture.rgb)


@pytest.mark.parametrize("name", ["p3", "prophoto"])
def test_a_change_in_srgb_is_that_change_in_the_colours_of_the_file(name: str) -> None:
    picture = tagged(sweep(np.uint16), rgb_profile(name))
    seen = image_io.to_network(picture)
    changed = (seen * 0.9).astype(np.uint16)
    done = image_io.from_network(picture, seen, changed)
    assert done.metadata == picture.metadata
    inside = (seen > 0).all(axis=2) & (seen < 65535).all(axis=2)
    differs = delta_e(to_xyz(scaled(done.rgb), name), to_xyz(scaled(changed), "srgb"))
    assert differs[inside].max() < 1
    # Outside of sRGB too the picture gets darker, and does not fall back to what sRGB holds.
    before, after = (to_xyz(scaled(rgb), name) for rgb in (picture.rgb, done.rgb))
    assert (after[..., 1] <= before[..., 1] + 1e-4).all()


def test_a_display_p3_file_keeps_its_look(tmp_path: Path) -> None:
    """End to end: the bundled network on a clean wide-gamut picture, 8 and 16 bits; it may not change the light."""
    y, x = np.mgrid[0:1:64j, 0:1:80j]
    smooth = np.stack([0.5 + 0.5 * np.sin(3 * x), 0.3 + 0.3 * np.cos(4 * y), 0.2 + 0.2 * x], axis=2).clip(0, 1)
    restorer = Restorer.from_pretrained("tiny", device="cpu")
    for dtype, suffix in ((np.uint8, ".png"), (np.uint16, ".tif")):
        rgb = (smooth * np.iinfo(dtype).max).round().astype(dtype)
        source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
        image_io.write(source, tagged(rgb, rgb_profile("p3")))
        restorer.restore_file(source, target, keep_tones=True)
        done = image_io.read(target)
        assert done.metadata[ICC] == rgb_profile("p3")
        assert done.rgb.dtype == dtype
        differs = delta_e(to_xyz(scaled(done.rgb), "p3"), to_xyz(scaled(rgb), "p3"))
        assert differs.mean() < 2
        # The reddest fields are outside of sRGB, and stay there.
        outside = image_io.to_srgb(image_io.read(source))[..., 1] == 0
        assert outside.mean() > 0.02
        assert differs[outside].mean() < 2.5


@pytest.mark.parametrize("dtype", DTYPES)
def test_grey_profiles_are_followed_both_ways(dtype: type) -> None:
    ramp = np.linspace(0, np.iinfo(dtype).max, 256).round().astype(dtype)
    rgb = np.repeat(np.tile(ramp, (4, 1))[..., None], 3, axis=2)
    picture = tagged(rgb, grey_profile(1.0), grey=True)
    seen = image_io.to_network(picture)
    # Linear light of 21.4 % is half way up in sRGB.
    half = np.searchsorted(ramp, 0.214 * np.iinfo(dtype).max)
    np.testing.assert_allclose(seen[0, half] / 65535, 0.5, atol=0.01)
    same = image_io.from_network(picture, seen, seen.copy())
    np.testing.assert_array_equal(same.rgb, rgb)
    darker = image_io.from_network(picture, seen, seen // 2)
    assert darker.grey
    expected = ((seen // 2 / 65535 + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(darker.rgb[0, half:, 0] / np.iinfo(dtype).max, expected[0, half:, 0], atol=0.01)


def test_a_profile_that_leads_only_to_srgb_leaves_the_picture_in_srgb(tmp_path: Path) -> None:
    picture = tagged(sweep(np.uint8), scanner_profile())
    seen = image_io.to_network(picture)
    assert (seen // 257 != picture.rgb).any()
    done = image_io.from_network(picture, seen, seen)
    np.testing.assert_allclose(done.rgb, seen / 257, atol=0.51)
    image_io.write(tmp_path / "a.png", done)
    again = image_io.read(tmp_path / "a.png")
    np.testing.assert_allclose(image_io.to_srgb(again) / 257, done.rgb, atol=1)


@pytest.mark.parametrize("junk", [b"", b"not a profile", rgb_profile("p3")[:200], b"\0" * 16 + b"RGB " + b"\0" * 300])
def test_profiles_that_nobody_can_follow_count_as_srgb(junk: bytes) -> None:
    picture = tagged(sweep(np.uint8), junk)
    seen = image_io.to_network(picture)
    np.testing.assert_allclose(scaled(seen), scaled(picture.rgb), atol=0.002)
    half = image_io.from_network(picture, seen, seen // 2)
    np.testing.assert_allclose(half.rgb, picture.rgb / 2, atol=1)
    assert half.metadata.get(ICC) != junk


def test_a_profile_for_other_pixels_is_left_out_and_said(tmp_path: Path) -> None:
    Image.fromarray(sweep(np.uint8)).save(tmp_path / "a.jpg", icc_profile=grey_profile(2.2))
    read = image_io.read(tmp_path / "a.jpg")
    assert ICC not in read.metadata
    assert read.notes == ("unusable ICC profile left out",)


def test_webp_which_has_no_grey_gets_srgb_for_a_grey_profile(tmp_path: Path) -> None:
    ramp = np.repeat(np.tile(np.linspace(0, 255, 64).astype(np.uint8), (16, 1))[..., None], 3, axis=2)
    image_io.write(tmp_path / "a.webp", tagged(ramp, grey_profile(1.0), grey=True))
    read = image_io.read(tmp_path / "a.webp")
    assert ICC not in read.metadata
    expected = image_io.to_srgb(tagged(ramp, grey_profile(1.0), grey=True)) / 257
    assert np.abs(read.rgb - expected).mean() < 2


def test_sixteen_bits_come_back_with_more_levels_than_eight_can_hold(tmp_path: Path, nano) -> None:  # type: ignore[no-untyped-def]
    ramp = np.linspace(20000, 24000, 1024).round().astype(np.uint16)
    rgb = np.repeat(np.tile(ramp, (24, 1))[..., None], 3, axis=2)
    for suffix in (".png", ".tif"):
        for profile in (None, rgb_profile("p3")):
            picture = Picture(rgb, metadata={} if profile is None else {ICC: profile})
            image_io.write(tmp_path / f"in{suffix}", picture)
            Restorer(nano, device="cpu").restore_file(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
            done = image_io.read(tmp_path / f"out{suffix}").rgb
            # 4,000 steps of 16 bits are 16 of 8 bits.
            assert len(np.unique(done[..., 0])) > 512


def test_alpha_and_profile_together() -> None:
    rng = np.random.default_rng(0)
    picture = tagged(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), rgb_profile("p3"))
    picture = dataclasses.replace(picture, alpha=rng.integers(0, 3, (9, 9), dtype=np.uint8) * 127)
    seen = image_io.to_network(picture)
    done = image_io.from_network(picture, seen, seen.copy())
    np.testing.assert_array_equal(done.rgb, picture.rgb)
    np.testing.assert_array_equal(done.alpha, picture.alpha)
