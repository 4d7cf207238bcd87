"""The protocol of super-resolution: what is made, what is given to which network, and scores on Y."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import build_layout
from scipy.signal import convolve2d
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio
from support import run

from moceir import image_io
from moceir.data.metrics import luma, luma_scores
from moceir.degradations.reduction import resample
from moceir.errors import ConfigError, DataError
from moceir.evaluation import TestSet, benchmark_set, evaluate
from moceir.evaluation.report import to_csv, to_markdown
from moceir.evaluation.sheet import worst_sheet
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.restoration import Restorer
from moceir.weights import ModelFile, save


def without_tail(scale: int) -> Restorer:
    """A network that changes nothing but the size."""
    network = MoCEIR(preset("nano").model_copy(update={"scale": scale}))
    if scale == 1:
        torch.nn.init.zeros_(network.get_parameter("output.weight"))
    return Restorer(network, device="cpu")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((*shape, 3), dtype=np.float32)


def test_luma_is_that_of_skimage_on_8_bits() -> None:
    pixels = noise(9, 7) * 1.2 - 0.1
    expected = rgb2ycbcr(np.rint(pixels.clip(0, 1) * 255).astype(np.uint8))[..., 0]
    np.testing.assert_allclose(luma(pixels), expected, atol=1e-6)


def ssim_of_wang(one: np.ndarray, other: np.ndarray) -> float:
    """The formula of Wang et al. 2004, where the whole window of 11 x 11 lies inside."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(x: np.ndarray) -> np.ndarray:
        return convolve2d(x, window, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu1, mu2 = mean(one), mean(other)
    var1, var2, cov = mean(one**2) - mu1**2, mean(other**2) - mu2**2, mean(one * other) - mu1 * mu2
    return float((((2 * mu1 * mu2 + c1) * (2 * cov + c2)) / ((mu1**2 + mu2**2 + c1) * (var1 + var2 + c2))).mean())


@pytest.mark.parametrize("border", [0, 2, 4])
def test_scores_on_y_agree_with_skimage_and_the_formula(border: int) -> None:
    clean = noise(40, 50)
    restored = (clean + 0.1 * noise(40, 50, seed=1)).clip(0, 1)
    inside = slice(border, -border or None), slice(border, -border or None)
    one, other = (luma(x)[inside] for x in (restored, clean))
    psnr, ssim = luma_scores(restored, clean, border)
    assert psnr == pytest.approx(peak_signal_noise_ratio(other, one, data_range=255), abs=1e-6)
    assert ssim == pytest.approx(ssim_of_wang(one, other), abs=1e-9)


def test_what_is_equal_or_too_small() -> None:
    assert luma_scores(noise(20, 20), noise(20, 20), 2) == (np.inf, pytest.approx(1))
    psnr, ssim = luma_scores(noise(12, 20), noise(12, 20, seed=1), 2)
    assert np.isfinite(psnr)
    assert np.isnan(ssim)
    assert np.isnan(luma_scores(noise(4, 4), noise(4, 4), 2)).all()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pairs_are_cropped_reduced_and_enlarged(tmp_path: Path, scale: int) -> None:
    rgb = (noise(41, 50) * 255).astype(np.uint8)
    image_io.write(tmp_path / "Set5" / "a.png", image_io.Picture(rgb))
    (pair,) = benchmark_set(f"set5-x{scale}", tmp_path).pairs("published", 0, None)
    height, width = 41 // scale * scale, 50 // scale * scale
    np.testing.assert_array_equal(pair.clean, rgb[:height, :width].astype(np.float32) / 255)
    assert pair.small is not None
    assert pair.small.shape == (height // scale, width // scale, 3)
    planes = torch.from_numpy(pair.clean).permute(2, 0, 1)
    expected = resample(planes, 1 / scale).clamp(0, 1).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(pair.small, expected, atol=0.51 / 255)
    assert np.abs(pair.small * 255 - np.rint(pair.small * 255)).max() < 1e-4, "8 bits, as in a file"
    assert pair.degraded.shape == pair.clean.shape


def test_bicubic_scores_what_bicubic_scores(tmp_path: Path) -> None:
    """Networks that add nothing: given the small picture they enlarge it, given the enlarged one they keep it."""
    build_layout(tmp_path, "set5-x4", count=2, size=(64, 80))
    test_set = benchmark_set("set5-x4", tmp_path)
    for scale in (4, 1):
        result = evaluate(without_tail(scale), "bicubic", test_set)
        assert result.mean("y_psnr_db") == pytest.approx(result.mean("input_y_psnr_db"), abs=0.05)
        assert result.mean("y_ssim") == pytest.approx(result.mean("input_y_ssim"), abs=0.002)
        assert result.mean("y_psnr_db") > result.mean("psnr_db"), "colour counts less on Y"


def test_a_network_for_more_is_used_for_less_and_not_the_other_way(tmp_path: Path) -> None:
    build_layout(tmp_path, "set5-x3", count=2, size=(48, 60))
    result = evaluate(without_tail(4), "m", benchmark_set("set5-x3", tmp_path))
    assert result.mean("y_psnr_db") == pytest.approx(result.mean("input_y_psnr_db"), abs=1.5)
    with pytest.raises(ConfigError, match="upscale is 3, but this network enlarges by 2"):
        evaluate(without_tail(2), "m", benchmark_set("set5-x3", tmp_path))


def test_a_picture_smaller_than_the_scale_is_named(tmp_path: Path) -> None:
    image_io.write(tmp_path / "a.png", image_io.Picture(np.zeros((3, 9, 3), np.uint8)))
    with pytest.raises(DataError, match=r"a\.png is smaller than 4 pixels"):
        list(TestSet("mine", [(None, tmp_path / "a.png")], "clean", 4).pairs("published", 0, None))


def test_reports_show_y_beside_the_published_rows(tmp_path: Path) -> None:
    build_layout(tmp_path, "manga109-x4", count=2, size=(48, 64))
    build_layout(tmp_path, "cbsd68-s25", count=2)
    sets = [benchmark_set(name, tmp_path) for name in ("cbsd68-s25", "manga109-x4")]
    restored = [evaluate(without_tail(1), "m", test_set) for test_set in sets]
    table = to_markdown(restored[1:])
    assert "| SwinIR-light | 30.92 / 0.915 |" in table
    assert "difference to bicubic" in table
    assert "28.1 dB on Manga109" in table
    assert "PSNR on Y, dB" in table
    assert "PSNR on Y" not in to_markdown(restored[:1])
    lines = to_csv(restored).splitlines()
    assert len(lines) == 5
    assert len({line.count(",") for line in lines}) == 1
    worst_sheet(without_tail(4), [(sets[1], restored[1])], 1).save(tmp_path / "sheet.png")
    assert image_io.read(tmp_path / "sheet.png").rgb.std() > 10


def test_by_the_command(tmp_path: Path) -> None:
    build_layout(tmp_path, "cbsd68-x2", count=2, size=(40, 48))
    network = without_tail(2).model
    save(network, tmp_path / "model", ModelFile(model=network.config))
    out = tmp_path / "out.json"
    result = run("evaluate", "-m", tmp_path / "model", "--benchmark", "cbsd68-x2", "--data", tmp_path, "--json", out)
    assert result.exit_code == 0
    assert "on Y, bicubic -> ours: PSNR" in result.output
    content = json.loads(out.read_text())
    assert content["y_psnr_db"] == pytest.approx(content["input_y_psnr_db"], abs=0.1)
    assert len(content["rows"]) == 2
