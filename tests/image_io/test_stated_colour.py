"""What a colour-managed viewer shows before and after, whatever way a file states its colours in.

Before: arithmetic on the statement. After: Pillow's LittleCMS on the profile of the result.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import odd_files as odd
import pytest
from PIL import Image, ImageCms
from profiles import D50, delta_e, rgb_profile, srgb_to_linear, to_xyz

from moceir import image_io
from moceir.errors import ImageError
from moceir.image_io.picture import ICC

SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
ADOBE = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def adapted_xyz(linear: np.ndarray, xy: tuple[float, ...]) -> np.ndarray:
    """XYZ for D50 of linear light of primaries (Lindbloom)."""
    white, red, green, blue = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(xy[::2], xy[1::2], strict=True))
    columns = np.stack([red, green, blue], axis=1)
    columns = columns * np.linalg.solve(columns, white)
    cone = np.diag((BRADFORD @ np.array(D50)) / (BRADFORD @ white))
    return linear @ (np.linalg.inv(BRADFORD) @ cone @ BRADFORD @ columns).T


def shown(data: bytes) -> np.ndarray:
    """What a viewer shows of a file: XYZ by its profile, or as sRGB."""
    with Image.open(io.BytesIO(data)) as opened:
        profile = opened.info.get("icc_profile")
        pixels = image_io.decode(data, "a file").rgb
        levels = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
        if profile is None:
            return to_xyz(levels / 255, "srgb")
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "L" if source.profile.xcolor_space.strip() == "GRAY" else "RGB"
        way = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        picture = Image.fromarray(levels[..., 0] if mode == "L" else levels)
        return to_xyz(np.asarray(ImageCms.applyTransform(picture, way)) / 255, "srgb")


def same_look(data: bytes, wanted: np.ndarray, tolerance: float = 1.5) -> None:
    """All formats, with and without metadata, show what is wanted; so does what the network is given."""
    picture = image_io.decode(data, "a file")
    seen = image_io.to_network(picture)
    inside = (seen > 0).all(axis=2) & (seen < np.iinfo(seen.dtype).max).all(axis=2)
    assert inside.mean() > 0.5
    assert delta_e(to_xyz(seen / np.iinfo(seen.dtype).max, "srgb"), wanted)[inside].max() < tolerance
    for kind in ("png", "tiff", "jpeg", "webp"):
        for strip in (False, True):
            after = shown(image_io.encode(picture, kind, quality=100, strip=strip))
            assert delta_e(fields(after), fields(wanted)).max() < tolerance, (kind, strip)


def fields(xyz: np.ndarray) -> np.ndarray:
    """Mean light of fields of 8x8 pixels, which lossy formats keep."""
    height, width, _ = xyz.shape
    return xyz.reshape(height // 8, 8, width // 8, 8, 3).mean(axis=(1, 3))


def light(dtype: type = np.uint8) -> np.ndarray:
    return odd.drawn(dtype) / np.iinfo(dtype).max


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_linear_gamma(dtype: type) -> None:
    same_look(odd.png(odd.gamma(1.0), pixels=odd.drawn(dtype)), adapted_xyz(light(dtype), SRGB))


@pytest.mark.parametrize("gamma", [0.55, 0.35])
def test_any_gamma(gamma: float) -> None:
    same_look(odd.png(odd.gamma(gamma)), adapted_xyz(light() ** (1 / gamma), SRGB))


@pytest.mark.parametrize("xy", [ADOBE, P3])
def test_primaries_with_a_gamma(xy: tuple[float, ...]) -> None:
    chunks = odd.gamma(1 / 2.2), odd.chromaticities(*xy)
    same_look(odd.png(*chunks), adapted_xyz(light() ** (1 / 0.45455), xy))


def test_primaries_without_a_gamma() -> None:
    same_look(odd.png(odd.chromaticities(*ADOBE)), adapted_xyz(srgb_to_linear(light()), ADOBE))


def test_a_grey_picture_with_a_gamma() -> None:
    pixels = odd.drawn(bands=1)
    same_look(odd.png(odd.gamma(1.0), pixels=pixels), adapted_xyz((pixels / 255).repeat(3, axis=2), SRGB))


@pytest.mark.parametrize(("primaries", "xy"), [(12, P3), (1, SRGB)])
def test_cicp(primaries: int, xy: tuple[float, ...]) -> None:
    data = odd.png(odd.chunk(b"cICP", bytes([primaries, 13, 0, 1])))
    same_look(data, adapted_xyz(srgb_to_linear(light()), xy))


def test_cicp_of_linear_light() -> None:
    same_look(odd.png(odd.chunk(b"cICP", bytes([1, 8, 0, 1]))), adapted_xyz(light(), SRGB))


def test_the_usual_chunks_of_srgb_cost_no_profile_and_stay() -> None:
    """Many programs write them; a profile would make all of these pictures larger and slower."""
    data = odd.png(odd.gamma(0.45455), odd.chromaticities(*SRGB))
    picture = image_io.decode(data, "a file")
    assert ICC not in picture.metadata
    assert image_io.to_network(picture) is picture.rgb
    for strip in (False, True):
        written = odd.chunks_of(image_io.encode(picture, "png", strip=strip))
        assert {b"gAMA", b"cHRM"} <= {name for name, _ in written}
    # Where there are no such chunks, a profile says the same.
    wanted = adapted_xyz(light() ** (1 / 0.45455), SRGB)
    for kind in ("tiff", "webp", "jpeg"):
        assert delta_e(fields(shown(image_io.encode(picture, kind, quality=100))), fields(wanted)).max() < 1.5


def icc_chunk() -> bytes:
    return odd.chunk(b"iCCP", b"p\0\0" + zlib.compress(rgb_profile("p3")))


def test_the_order_of_precedence_in_png() -> None:
    """cICP before iCCP before sRGB before gAMA and cHRM before EXIF."""
    cicp, srgb = odd.chunk(b"cICP", bytes([12, 13, 0, 1])), odd.chunk(b"sRGB", b"\0")
    exif = odd.chunk(b"eXIf", odd.exif_block({271: "A"}, {40961: 65535}, "R03"))
    stated = {
        "cicp": [cicp, icc_chunk(), odd.gamma(1.0), exif],
        "icc": [icc_chunk(), odd.gamma(1.0), exif],
        "srgb": [srgb, odd.gamma(1.0), exif],
        "gamma": [odd.gamma(1.0), exif],
        "exif": [exif],
    }
    wanted = {
        "cicp": adapted_xyz(srgb_to_linear(light()), P3),
        "icc": to_xyz(light(), "p3"),
        "srgb": to_xyz(light(), "srgb"),
        "gamma": adapted_xyz(light(), SRGB),
        "exif": adapted_xyz(light() ** (563 / 256), ADOBE),
    }
    for name, chunks in stated.items():
        same_look(odd.png(*chunks), wanted[name])
    assert image_io.decode(odd.png(*stated["cicp"]), "a file").notes == ("left out: ICC profile that cICP overrules",)


@pytest.mark.parametrize(("space", "index"), [(65535, "R03"), (2, "")])
@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_adobe_rgb_by_exif(kind: str, space: int, index: str) -> None:
    block = odd.exif_block({271: "A"}, {40961: space}, index)
    data = odd.webp((b"EXIF", block)) if kind == "webp" else odd.jpeg(odd.segment(0xE1, b"Exif\0\0" + block))
    stored = image_io.decode(data, "a file").rgb / 255
    same_look(data, adapted_xyz(stored ** (563 / 256), ADOBE))


@pytest.mark.parametrize(("space", "index"), [(1, "R98"), (65535, "R98"), (65535, "")])
def test_srgb_or_nothing_by_exif(space: int, index: str) -> None:
    data = odd.jpeg(odd.segment(0xE1, b"Exif\0\0" + odd.exif_block({271: "A"}, {40961: space}, index)))
    assert ICC not in image_io.decode(data, "a file").metadata


def rationals(*values: float) -> tuple[int, list[int]]:
    return 5, [part for value in values for part in (round(value * 10_000), 10_000)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_primaries_and_curve_of_tiff(order: str) -> None:
    curve = [round((level / 255) ** 1.8 * 65535) for level in range(256)]
    tags: dict[str, Any] = {"t318": rationals(*P3[:2]), "t319": rationals(*P3[2:]), "t301": (3, curve)}
    data = odd.tiff([odd.page(odd.drawn(), order, **tags)], order=order)
    same_look(data, adapted_xyz(light() ** 1.8, P3))


def test_primaries_alone_of_tiff() -> None:
    data = odd.tiff([odd.page(odd.drawn(), t318=rationals(*ADOBE[:2]), t319=rationals(*ADOBE[2:]))])
    same_look(data, adapted_xyz(srgb_to_linear(light()), ADOBE))


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_high_dynamic_range_is_refused(transfer: int, dtype: type) -> None:
    files = [
        odd.png(odd.chunk(b"cICP", bytes([9, transfer, 0, 1])), pixels=odd.drawn(dtype)),
        odd.avif(primaries=9, transfer=transfer),
    ]
    for data in files:
        with pytest.raises(ImageError, match=r"high dynamic range \((PQ|HLG)\).*convert it"):
            image_io.decode(data, "a file")


def test_the_colours_of_avif() -> None:
    data = odd.avif(primaries=12, transfer=13)
    same_look(data, adapted_xyz(srgb_to_linear(image_io.decode(data, "a file").rgb / 255), P3))
    assert ICC not in image_io.decode(odd.avif(primaries=1, transfer=1), "a file").metadata
    assert ICC not in image_io.decode(odd.avif(primaries=2, transfer=2), "a file").metadata


@pytest.mark.parametrize(
    ("chunk", "note"),
    [
        (odd.chunk(b"cICP", bytes([99, 13, 0, 1])), "left out: cICP of an unknown kind (99/13/0/1)"),
        (odd.chunk(b"cICP", bytes([1, 13, 0, 0])), "left out: cICP of an unknown kind (1/13/0/0)"),
        (odd.gamma(0), "left out: unusable chunk gAMA, 4 bytes"),
        (odd.chromaticities(*[0.3, 0.3] * 4), "left out: unusable primaries"),
        (odd.chunk(b"cHRM", struct.pack(">8i", *[-1] * 8)), "left out: unusable primaries"),
        (odd.gamma(40000), "left out: unusable primaries"),
    ],
)
def test_what_makes_no_sense_is_said(chunk: bytes, note: str) -> None:
    picture = image_io.decode(odd.png(chunk), "a file")
    assert picture.notes == (note,)
    np.testing.assert_array_equal(image_io.to_network(picture), odd.drawn())
