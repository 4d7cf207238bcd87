"""Enlarging pictures: sizes, types and alpha of arrays; limits, tiles and notes; and a factor below the network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from moceir import image_io
from moceir.errors import ConfigError, ImageError
from moceir.models.layers import bicubic
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer
from moceir.restoration.memory import needed_bytes, peak_bytes


@pytest.fixture(scope="module")
def fourfold() -> MoCEIR:
    torch.manual_seed(0)
    network = MoCEIR(preset("nano").model_copy(update={"scale": 4})).eval()
    torch.nn.init.normal_(network.get_submodule("output.0").get_parameter("weight"), std=0.02)
    return network


@pytest.fixture(scope="module")
def only_bicubic() -> Restorer:
    """A network whose tail is at its start, so that the results are known."""
    return Restorer(MoCEIR(preset("nano").model_copy(update={"scale": 4})), device="cpu")


def pixels(*shape: int, kind: str = "uint8") -> np.ndarray[Any, Any]:
    values = np.random.default_rng(sum(shape)).random(shape)
    return (values * np.iinfo(kind).max).astype(kind) if kind.startswith("u") else values.astype(kind)


@pytest.mark.parametrize("upscale", [None, 1, 2, 3, 4])
@pytest.mark.parametrize(
    ("shape", "kind"),
    [((1, 1, 3), "uint8"), ((9, 7, 3), "uint16"), ((9, 7), "uint8"), ((9, 7, 4), "uint8"), ((9, 7, 1), "float32")],
)
def test_kind_and_axes_stay_and_sides_grow(
    fourfold: MoCEIR, shape: tuple[int, ...], kind: str, upscale: int | None
) -> None:
    restored = Restorer(fourfold, device="cpu").restore(pixels(*shape, kind=kind), upscale=upscale)
    factor = upscale or 4
    assert restored.dtype == kind
    assert restored.shape == (shape[0] * factor, shape[1] * factor, *shape[2:])


def test_alpha_and_colours_are_enlarged_bicubically(only_bicubic: Restorer) -> None:
    image = pixels(16, 24, 4)
    image[..., 3] = np.maximum(image[..., 3], 1)
    planes = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    expected = bicubic(planes, 4)[0].permute(1, 2, 0).clamp(0, 255).round().numpy()
    np.testing.assert_allclose(only_bicubic.restore(image), expected, atol=1)


def test_strength_and_tones_act_on_the_enlarged_picture(fourfold: MoCEIR) -> None:
    restorer, images = Restorer(fourfold, device="cpu"), torch.rand(1, 3, 24, 32)
    whole, base = restorer.restore(images), bicubic(images, 4).clamp(0, 1)
    torch.testing.assert_close(restorer.restore(images, strength=0.0), base)
    torch.testing.assert_close(restorer.restore(images, strength=0.5), base.lerp(whole, 0.5))
    kept = restorer.restore(images, keep_tones=True)
    cells = [torch.nn.functional.avg_pool2d(x, 32) for x in (kept, whole, base)]
    assert (cells[0] - cells[2]).abs().mean() < (cells[1] - cells[2]).abs().mean()


def test_a_batch_gets_what_each_gets_alone(fourfold: MoCEIR) -> None:
    restorer, images = Restorer(fourfold, device="cpu"), torch.rand(3, 3, 17, 10)
    alone = torch.cat([restorer.restore(image[None]) for image in images])
    torch.testing.assert_close(restorer.restore(images), alone, atol=1e-5, rtol=0)


def test_in_tiles_where_memory_is_short() -> None:
    torch.manual_seed(0)
    network = MoCEIR(preset("nano").model_copy(update={"scale": 2}))
    torch.nn.init.normal_(network.get_submodule("output.0").get_parameter("weight"), std=0.02)
    restorer, images = Restorer(network, device="cpu"), torch.rand(1, 3, 500, 900)
    in_tiles, whole = needed_bytes(network.config, 500, 900, 256, 1, "cpu"), peak_bytes(network.config, 500, 900)
    assert in_tiles < whole
    limit = (in_tiles + whole) // 2
    result = restorer.run(images, memory_limit=limit)
    assert result.tile_px is not None
    assert (result.width, result.height, result.upscale) == (1800, 1000, 2)
    assert (result.restored - restorer.restore(images)).abs().mean() < 0.01
    with pytest.warns(UserWarning, match="900x500 pixels were restored in tiles"):
        restorer.restore(images, memory_limit=limit)


def test_memory_counts_the_result() -> None:
    configs = [preset("nano").model_copy(update={"scale": scale}) for scale in (1, 2, 4)]
    one, two, four = (peak_bytes(config, 1000, 1000) for config in configs)
    assert one <= two < four
    assert four > 16 * 1000 * 1000 * 3 * 4 * 2, "the result, and its copy in [0, 1]"
    assert needed_bytes(configs[2], 1000, 1000, 256, 1, "cpu") > 16 * 1000 * 1000 * 3 * 4 * 2


def test_a_smaller_factor_reduces_the_result(only_bicubic: Restorer) -> None:
    y, x = np.mgrid[0:48, 0:64]
    smooth = np.stack([np.sin(x / 7), np.cos(y / 9), np.sin((x + y) / 11)], axis=-1) / 2 + 0.5
    twice = only_bicubic.restore(smooth, upscale=2)
    y, x = (np.mgrid[0:96, 0:128] - 0.5) / 2
    expected = np.stack([np.sin(x / 7), np.cos(y / 9), np.sin((x + y) / 11)], axis=-1) / 2 + 0.5
    np.testing.assert_allclose(twice[8:-8, 8:-8], expected[8:-8, 8:-8], atol=0.01)


def test_a_larger_factor_than_the_networks_is_refused(fourfold: MoCEIR, nano: MoCEIR) -> None:
    with pytest.raises(ConfigError, match="upscale is 2, but this network enlarges by 1"):
        Restorer(nano, device="cpu", upscale=2)
    with pytest.raises(ConfigError, match=r"wrong options: .*upscale"):
        Restorer(fourfold, device="cpu").restore(pixels(4, 4, 3), upscale=5)


def test_limits_count_the_result(fourfold: MoCEIR, tmp_path: Path) -> None:
    image_io.write(tmp_path / "a.png", image_io.Picture(pixels(10, 10, 3)))
    Restorer(fourfold, device="cpu", max_pixels=1600).restore_file(tmp_path / "a.png", tmp_path / "b.png")
    small = Restorer(fourfold, device="cpu", max_pixels=1599)
    with pytest.raises(ImageError, match="claims 10x10 pixels, 4 times as many each way in the result, above"):
        small.restore_file(tmp_path / "a.png", tmp_path / "c.png")
    small.restore_file(tmp_path / "a.png", tmp_path / "d.png", upscale=3)
    assert image_io.read(tmp_path / "d.png").rgb.shape == (30, 30, 3)


def test_a_clean_picture_to_measure_against_has_the_size_of_the_result(only_bicubic: Restorer, tmp_path: Path) -> None:
    rgb = pixels(8, 8, 3)
    image_io.write(tmp_path / "a.png", image_io.Picture(rgb))
    opened = only_bicubic.open(tmp_path / "a.png")
    clean = image_io.Picture(np.full((32, 32, 3), 128, np.uint8))
    result = only_bicubic.finish(opened, only_bicubic.work(opened), None, clean=clean)
    assert result.psnr_db is not None
    assert result.psnr_db[0] == pytest.approx(result.psnr_db[1], abs=0.05), "the network changes nothing"
    with pytest.raises(ImageError, match="32x32 and 8x8"):
        only_bicubic.finish(opened, only_bicubic.work(opened), None, clean=image_io.Picture(rgb))


def test_pil_images_keep_their_size_on_paper(only_bicubic: Restorer) -> None:
    image = Image.fromarray(pixels(6, 8, 3))
    image.info["dpi"] = (72, 72)
    restored = only_bicubic.restore(image)
    assert restored.size == (32, 24)
    assert restored.info["dpi"] == (288, 288)
