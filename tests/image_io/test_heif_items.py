"""What AVIF and HEIC files hold beside their picture, from boxes made by the specification."""

from __future__ import annotations

import odd_files as odd
import pytest

from moceir.image_io.containers import TornError, survey

ALPHA = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"
DEPTH = b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth\0"
APPLE_GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap\0"
APPLE_MATTE = b"urn:com:apple:photo:2018:aux:portraiteffectsmatte\0"


def notes(*arguments: object, **options: bytes) -> list[str]:
    found = survey(odd.heif_items(*arguments, **options))  # type: ignore[arg-type]
    assert found is not None
    assert found.refusal == ""
    return found.notes


@pytest.mark.parametrize(
    ("urn", "expected"),
    [
        (ALPHA, []),
        (DEPTH, ["left out: depth map, 100 bytes"]),
        (APPLE_GAIN_MAP, ["left out: HDR gain map, 100 bytes"]),
        (APPLE_MATTE, ["left out: auxiliary picture, 100 bytes"]),
    ],
)
def test_auxiliary_pictures(urn: bytes, expected: list[str]) -> None:
    properties = [(2, odd.box(b"auxC", urn, version=0))]
    assert notes({1: b"av01", 2: b"av01"}, [(b"auxl", 2, 1)], properties) == expected


def test_thumbnails_metadata_and_further_pictures() -> None:
    kinds = {1: b"av01", 2: b"av01", 3: b"Exif", 4: b"mime", 5: b"av01", 6: b"what"}
    references = [(b"thmb", 2, 1), (b"cdsc", 3, 1), (b"cdsc", 4, 1)]
    assert notes(kinds, references) == [
        "left out: thumbnail, 100 bytes",
        "left out: another picture in the same file, 100 bytes",
        "left out: box or item what, 100 bytes",
    ]


def test_the_tiles_of_a_picture_and_of_its_alpha_belong_to_it() -> None:
    kinds = {1: b"grid", 2: b"av01", 3: b"av01", 4: b"grid", 5: b"av01"}
    references = [(b"dimg", 1, 2), (b"dimg", 1, 3), (b"auxl", 4, 1), (b"dimg", 4, 5)]
    assert notes(kinds, references, [(4, odd.box(b"auxC", ALPHA, version=0))]) == []


def test_a_tone_map_and_its_gain_map() -> None:
    kinds = {1: b"av01", 2: b"av01", 3: b"tmap"}
    assert notes(kinds, [(b"dimg", 3, 1), (b"dimg", 3, 2)]) == ["left out: HDR gain map, 200 bytes"]


@pytest.mark.parametrize(("across", "expected"), [(1, []), (2, ["left out: shape of the pixels, 8 bytes"])])
def test_the_shape_of_pixels(across: int, expected: list[str]) -> None:
    shape = odd.box(b"pasp", across.to_bytes(4, "big") + (1).to_bytes(4, "big"))
    assert notes({1: b"av01"}, [], [(1, shape)]) == expected


@pytest.mark.parametrize("kinds", [{1: b"hvc1"}, {1: b"grid", 2: b"hvc1"}])
def test_the_codec_tells_heic_from_avif(kinds: dict[int, bytes]) -> None:
    found = survey(odd.heif_items(kinds, [(b"dimg", 1, item) for item in kinds if item > 1], brand=b"mif1"))
    assert found is not None
    assert found.format == "heic"


@pytest.mark.parametrize("brand", [b"avis", b"msf1", b"hevc"])
def test_a_film_in_the_file_makes_it_an_animation(brand: bytes) -> None:
    found = survey(odd.heif_items({1: b"av01"}, brand=brand) + odd.box(b"moov", bytes(40)))
    assert found is not None
    assert "is an animated" in found.refusal


@pytest.mark.parametrize(
    "damage",
    [
        odd.box(b"meta", odd.box(b"iloc", b"\x44\0\xff\xff" + bytes(20), version=0), version=0),
        odd.box(b"meta", odd.box(b"iref", odd.box(b"dimg", b"\0\1\xff\xff"), version=0), version=0),
        b"\xff\xff\xff\xffmdat",
        b"\0\0\0\1mdat" + b"\xff" * 8,
    ],
)
def test_sizes_that_are_not_there_are_not_believed(damage: bytes) -> None:
    with pytest.raises(TornError):
        survey(odd.box(b"ftyp", b"avif" + bytes(4)) + damage)
