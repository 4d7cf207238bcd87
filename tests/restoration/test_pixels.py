"""What counts as a picture in Python, and that it comes back as what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import rgb_profile

from moceir import image_io
from moceir.errors import ImageError
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    torch.manual_seed(0)
    return Restorer(MoCEIR(preset("nano")), device="cpu")


def picture(height: int, width: int, dtype: str = "uint8", channels: int = 3) -> np.ndarray:
    values = np.random.default_rng(height * 100 + width).random((height, width, channels))
    top = np.iinfo(dtype).max if dtype.startswith("uint") else 1
    return (values * top).astype(dtype)


@pytest.mark.parametrize("shape", [(13, 21), (13, 21, 1), (13, 21, 3), (13, 21, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "float16"])
def test_arrays_keep_shape_type_and_range(restorer: Restorer, dtype: str, shape: tuple[int, ...]) -> None:
    image = picture(13, 21, dtype, (*shape, 1)[2]).reshape(shape)
    before = image.copy()
    restored = restorer.restore(image)
    assert restored.shape == image.shape
    assert restored.dtype == image.dtype
    assert restored.min() >= 0
    assert (restored != image).any()
    np.testing.assert_array_equal(image, before)
    if dtype.startswith("float"):
        assert restored.max() <= 1
    np.testing.assert_allclose(restorer.restore(image, strength=0), image, rtol=1e-7, atol=0)


def test_all_kinds_of_input_agree(restorer: Restorer) -> None:
    image = picture(16, 24)
    expected = restorer.restore(image.astype(np.float32) / 255)
    np.testing.assert_allclose(restorer.restore(image) / 255, expected, atol=0.5 / 255 + 1e-6)
    deep = image.astype(np.uint16) * 257
    np.testing.assert_allclose(restorer.restore(deep) / 65535, expected, atol=0.5 / 65535 + 1e-6)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    np.testing.assert_allclose(restorer.restore(batch)[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)


def test_views_and_odd_strides_are_fine(restorer: Restorer) -> None:
    image = picture(20, 30)
    turned = image[::-1, ::2]
    np.testing.assert_array_equal(restorer.restore(turned), restorer.restore(turned.copy()))


def test_grey_is_the_mean_of_what_the_network_makes_of_three_equal_channels(restorer: Restorer) -> None:
    grey = picture(13, 21, "float32", 1)
    coloured = restorer.restore(np.repeat(grey, 3, axis=2))
    np.testing.assert_allclose(restorer.restore(grey)[..., 0], coloured.mean(axis=2), atol=1e-6)
    np.testing.assert_array_equal(restorer.restore(grey[..., 0]), restorer.restore(grey)[..., 0])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_alpha_stays_and_hidden_colours_have_no_say(restorer: Restorer, dtype: str) -> None:
    rgba = picture(20, 30, dtype, 4)
    rgba[:8, :, 3] = 0
    other = rgba.copy()
    other[:8, :, :3] = 0
    restored, with_other = restorer.restore(rgba), restorer.restore(other)
    np.testing.assert_array_equal(restored[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(restored[:8], rgba[:8])
    np.testing.assert_array_equal(restored[8:], with_other[8:])
    opaque = np.dstack([rgba[..., :3], np.full((20, 30), 1 if dtype == "float32" else 255, dtype)])
    np.testing.assert_array_equal(restorer.restore(opaque)[..., :3], restorer.restore(rgba[..., :3]))


def test_a_batch_gives_each_image_what_it_gets_alone(restorer: Restorer) -> None:
    batch = torch.rand(3, 3, 17, 9, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([restorer.restore(image[None]) for image in batch])
    torch.testing.assert_close(restorer.restore(batch), alone, atol=1e-5, rtol=0)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40))
def test_any_size_comes_back(restorer: Restorer, height: int, width: int) -> None:
    assert restorer.restore(picture(height, width)).shape == (height, width, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_keep_their_type_and_have_no_gradients(restorer: Restorer, dtype: torch.dtype) -> None:
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    for strength in (0.5, 1):
        restored = restorer.restore(images.clone().requires_grad_(), strength=strength)
        assert restored.dtype is dtype
        assert not restored.requires_grad
        weight = torch.ones(1, dtype=dtype, requires_grad=True)
        (restored * weight).sum().backward()  # what comes from inference mode would refuse this
        assert weight.grad is not None


def test_rounding_errors_are_clipped(restorer: Restorer) -> None:
    image = picture(8, 8, "float32")
    image[0, 0] = (0, 1, 0.5)
    off = image.copy()
    off[0, 0] = (-1e-7, 1 + 1e-7, 0.5)
    np.testing.assert_array_equal(restorer.restore(off), restorer.restore(image))
    np.testing.assert_array_equal(restorer.restore(off, strength=0), image)
    batch, batch_off = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (image, off))
    assert torch.equal(restorer.restore(batch_off), restorer.restore(batch))
    half = image.astype(np.float16)
    half[0, 0, 1] = np.nextafter(np.float16(1), np.float16(2))
    assert restorer.restore(half).max() <= 1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 2), dtype=np.uint8),
        np.zeros((4, 4, 5), dtype=np.uint8),
        np.zeros((1, 4, 4, 3), dtype=np.uint8),
        np.zeros(4, dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
        np.zeros((4, 4, 3), dtype=np.int32),
        np.zeros((4, 4, 3), dtype=bool),
        np.zeros((4, 4, 3), dtype=complex),
        np.full((4, 4, 3), 2.0),
        np.full((4, 4, 3), 1.002),
        np.full((4, 4, 3), -0.1),
        np.full((4, 4, 3), np.nan),
        torch.zeros(3, 4, 4),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.full((1, 3, 4, 4), 1.5),
        torch.full((1, 3, 4, 4), torch.nan),
        [[[0, 0, 0]]],
        b"bytes",
        None,
    ],
)
def test_what_is_not_a_picture_is_refused(restorer: Restorer, image: Any) -> None:
    with pytest.raises(ImageError, match=r"expected an array|values in \[0, 1\]"):
        restorer.restore(image)


@pytest.mark.parametrize("path", ["photo.jpg", Path("photo.jpg")])
def test_paths_are_led_to_the_right_method(restorer: Restorer, path: Any) -> None:
    with pytest.raises(ImageError, match=r"for a file, use restore_file"):
        restorer.restore(path)


@pytest.mark.parametrize(
    ("mode", "same_array"),
    [("L", True), ("LA", False), ("RGB", True), ("RGBA", True), ("I;16", True), ("1", False), ("P", False)],
)
def test_pil_images_come_back_as_such(restorer: Restorer, mode: str, same_array: bool) -> None:
    module = pytest.importorskip("PIL.Image")
    colour = module.fromarray(picture(12, 17))
    image = module.fromarray(picture(12, 17, "uint16", 1)[..., 0]) if mode == "I;16" else colour.convert(mode)
    image.info["dpi"] = (300, 300)
    restored = restorer.restore(image)
    assert isinstance(restored, module.Image)
    assert restored.mode == {"1": "L", "P": "RGB"}.get(mode, mode)
    assert restored.size == image.size
    assert restored.info["dpi"] == (300, 300)
    if same_array:
        np.testing.assert_array_equal(np.asarray(restored), restorer.restore(np.asarray(image)))


def test_transparent_colours_of_pil_palettes_become_alpha(restorer: Restorer) -> None:
    module = pytest.importorskip("PIL.Image")
    image = module.fromarray(picture(12, 17)).quantize(8)
    image.info["transparency"] = 3
    restored = restorer.restore(image)
    assert restored.mode == "RGBA"
    assert "transparency" not in restored.info
    np.testing.assert_array_equal(np.asarray(restored)[..., 3] == 0, np.asarray(image) == 3)


def test_pil_images_are_seen_through_their_profile_as_files_are(restorer: Restorer, tmp_path: Path) -> None:
    module = pytest.importorskip("PIL.Image")
    image = module.fromarray(picture(12, 17))
    image.save(tmp_path / "in.png", icc_profile=rgb_profile("p3"))
    restorer.restore_file(tmp_path / "in.png", tmp_path / "out.png")
    with module.open(tmp_path / "in.png") as opened:
        restored = restorer.restore(opened)
    np.testing.assert_array_equal(np.asarray(restored), image_io.read(tmp_path / "out.png").rgb)
    assert (np.asarray(restored) != np.asarray(restorer.restore(image))).any()


def test_pil_modes_that_are_not_pictures_are_refused(restorer: Restorer) -> None:
    module = pytest.importorskip("PIL.Image")
    for image in (module.new("CMYK", (4, 4)), module.new("F", (4, 4)), module.new("RGB", (0, 4))):
        with pytest.raises(ImageError, match="cannot restore a PIL image"):
            restorer.restore(image)
