"""Losses against numpy; PSNR and SSIM against scikit-image, SSIM also against the formula of its paper."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from moceir.data.metrics import load_lpips, picture_psnr_db, psnr_db, ssim
from moceir.errors import DataError, MissingExtraError
from moceir.training.losses import in_proportion, l1_loss, spectral_l1_loss


def pair(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(batch, 3, height, width, generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    strength = torch.arange(1, batch + 1).view(-1, 1, 1, 1) / 20
    return (clean + strength * noise).clamp(0, 1), clean


# --- losses -----------------------------------------------------------------------------------------------------------


def test_l1_loss_is_the_mean_absolute_difference_of_each_image() -> None:
    restored, clean = pair(2, 9, 7)
    expected = np.abs(restored.numpy().astype(np.float64) - clean.numpy()).mean(axis=(1, 2, 3))
    assert l1_loss(restored, clean).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 7), (8, 13), (1, 1)])
def test_spectral_loss_compares_real_and_imaginary_parts(height: int, width: int) -> None:
    restored, clean = pair(2, height, width)
    spectra = [np.fft.rfft2(x.numpy().astype(np.float64), axes=(2, 3)) for x in (restored, clean)]
    difference = spectra[0] - spectra[1]
    expected = (np.abs(difference.real) + np.abs(difference.imag)).mean(axis=(1, 2, 3)) / 2
    assert spectral_l1_loss(restored, clean).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [l1_loss, spectral_l1_loss])
def test_losses_are_zero_for_equal_pictures_and_have_a_gradient(loss: object) -> None:
    assert callable(loss)
    restored, clean = pair(1, 8, 8)
    assert loss(clean, clean).tolist() == [0]
    restored.requires_grad_()
    loss(restored, clean).sum().backward()
    assert restored.grad is not None
    assert restored.grad.any()


def test_in_proportion_each_image_counts_by_its_own_error() -> None:
    clean = torch.full((2, 3, 4, 4), 0.5)
    restored = (clean + torch.tensor([0.01, 0.2]).view(2, 1, 1, 1)).requires_grad_()
    in_proportion(l1_loss(restored, clean), floor=1e-9).sum().backward()
    assert restored.grad is not None
    # d log(e) / de = 1 / e, shared by the pixels: a tenth less of a small error is worth as much as of a large one.
    per_image = restored.grad.sum(dim=(1, 2, 3))
    assert per_image.tolist() == pytest.approx([100, 5], rel=1e-4)
    assert in_proportion(torch.zeros(1), floor=0.01).item() == pytest.approx(math.log(0.01))


def test_spectral_loss_takes_half_precision() -> None:
    restored, clean = pair(1, 8, 8)
    loss = spectral_l1_loss(restored.bfloat16(), clean.bfloat16())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(spectral_l1_loss(restored, clean).item(), rel=0.05)


# --- PSNR -------------------------------------------------------------------------------------------------------------


def test_psnr_equals_scikit_image_for_each_picture() -> None:
    restored, clean = pair(3, 20, 31)
    ours = psnr_db(restored, clean)
    assert ours.shape == (3,)
    for i in range(3):
        expected = peak_signal_noise_ratio(clean[i].double().numpy(), restored[i].double().numpy(), data_range=1)
        assert ours[i].item() == pytest.approx(expected, abs=1e-9)
    assert ours[0] > ours[1] > ours[2], "each picture has its own value, not the mean of the batch"


def test_psnr_of_a_known_error() -> None:
    clean = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    assert psnr_db(clean + 0.1, clean).item() == pytest.approx(20)
    assert psnr_db(clean + 25 / 255, clean).item() == pytest.approx(20 * math.log10(255 / 25))


def test_psnr_of_equal_pictures_is_infinite_and_only_theirs() -> None:
    restored, clean = pair(2, 8, 8)
    restored[1] = clean[1]
    ours = psnr_db(restored, clean)
    assert math.isfinite(ours[0].item())
    assert ours[1].item() == math.inf


def test_psnr_of_one_picture_equals_scikit_image() -> None:
    restored, clean = (batch[0].numpy().transpose(1, 2, 0) for batch in pair(1, 20, 31))
    expected = peak_signal_noise_ratio(clean.astype(np.float64), restored.astype(np.float64), data_range=1)
    assert picture_psnr_db(restored, clean) == pytest.approx(expected, abs=1e-9)
    assert picture_psnr_db(clean, clean) == math.inf


# --- SSIM -------------------------------------------------------------------------------------------------------------


def direct_ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Wang et al. 2004, equations 13 to 16: 11 x 11 Gaussian, sigma 1.5, whole windows only, mean of channels.

    As in published results the covariances are those of a sample, 121/120 of Wang's.
    """
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    c1, c2 = 0.01**2, 0.03**2

    def local_mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        windows = np.lib.stride_tricks.sliding_window_view(x, (11, 11), axis=(0, 1))
        return (windows * kernel).sum(axis=(-2, -1))

    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a = (local_mean(a * a) - mean_a**2) * 121 / 120
    variance_b = (local_mean(b * b) - mean_b**2) * 121 / 120
    covariance = (local_mean(a * b) - mean_a * mean_b) * 121 / 120
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return float((luminance * structure).mean())


def rgb_pair(height: int, width: int, contrast: float, sigma: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    generator = np.random.Generator(np.random.PCG64(0))
    y, x = np.mgrid[:height, :width]
    clean = 0.5 + contrast * np.stack([np.sin(x / 4), np.cos(y / 5), np.sin((x + y) / 7)], axis=-1)
    restored = np.clip(clean + sigma * generator.standard_normal(clean.shape), 0, 1)
    return restored.astype(np.float32), clean.astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (11, 11), (11, 30), (23, 17)])
@pytest.mark.parametrize(("contrast", "sigma"), [(0.4, 0.1), (0.05, 0.02), (0.0, 0.05)])
def test_ssim_is_that_of_wang(height: int, width: int, contrast: float, sigma: float) -> None:
    restored, clean = rgb_pair(height, width, contrast, sigma)
    expected = direct_ssim(restored.astype(np.float64), clean.astype(np.float64))
    assert ssim(restored, clean) == pytest.approx(expected, abs=2e-5)


def published_ssim(restored: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    return float(
        structural_similarity(
            restored.astype(np.float64), clean.astype(np.float64), gaussian_weights=True, data_range=1, channel_axis=-1
        )
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 2**31), levels=st.integers(1, 256))
def test_psnr_and_ssim_are_those_of_scikit_image(height: int, width: int, seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    clean = (generator.integers(0, levels, (height, width, 3)) / 255).astype(np.float32)
    restored = np.clip(clean + generator.normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
    as_batch = [torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in (restored, clean)]
    expected = peak_signal_noise_ratio(clean.astype(np.float64), restored.astype(np.float64), data_range=1)
    assert psnr_db(*as_batch).item() == pytest.approx(expected, abs=1e-6)
    if min(height, width) < 11:
        with pytest.raises(ValueError, match="win_size"):
            published_ssim(restored, clean)
        assert math.isnan(ssim(restored, clean))
    else:
        assert ssim(restored, clean) == pytest.approx(published_ssim(restored, clean), abs=1e-6)


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.2, 0.7), (0.5, 0.5)])
def test_constant_pictures(first: float, second: float) -> None:
    a, b = (np.full((16, 20, 3), value, dtype=np.float32) for value in (first, second))
    assert ssim(a, b) == pytest.approx(published_ssim(a, b), abs=1e-6)
    # What is left of the formula without variance: the luminance term.
    expected = (2 * first * second + 1e-4) / (first**2 + second**2 + 1e-4)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)
    tensors = [torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in (a, b)]
    ours = psnr_db(*tensors).item()
    assert ours == (math.inf if first == second else pytest.approx(-20 * math.log10(abs(first - second)), abs=1e-6))


def test_ssim_of_equal_pictures_is_one() -> None:
    _, clean = rgb_pair(16, 16, 0.4, 0.1)
    assert ssim(clean, clean) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(10, 11), (11, 10), (1, 1), (10, 200)])
def test_ssim_is_not_defined_for_pictures_smaller_than_its_window(shape: tuple[int, int]) -> None:
    picture = np.zeros((*shape, 3), dtype=np.float32)
    assert math.isnan(ssim(picture, picture))


# --- LPIPS ------------------------------------------------------------------------------------------------------------


class StandInLPIPS(torch.nn.Module):
    """The interface of lpips.LPIPS with the mean absolute difference in place of AlexNet."""

    def __init__(self, net: str, verbose: bool) -> None:
        super().__init__()
        assert (net, verbose) == ("alex", False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        assert first.min() < 0, "LPIPS takes values in [-1, 1]"
        return (first - second).abs().mean().view(1, 1, 1, 1)


def install(monkeypatch: pytest.MonkeyPatch, network: object) -> None:
    package = ModuleType("lpips")
    package.LPIPS = network
    monkeypatch.setitem(sys.modules, "lpips", package)


def test_lpips_gets_batches_in_its_own_range(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, StandInLPIPS)
    distance = load_lpips(torch.device("cpu"))
    restored, clean = rgb_pair(31, 40, 0.4, 0.1)
    assert distance(restored, clean) == pytest.approx(2 * np.abs(restored - clean).mean(), rel=1e-5)
    assert distance(clean, clean) == 0
    assert math.isnan(distance(restored[:30], clean[:30]))


def test_without_lpips_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'moceir\[lpips\]'"):
        load_lpips(torch.device("cpu"))


def test_weights_that_cannot_be_fetched_are_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: object) -> None:
        raise OSError("name or service not known")

    install(monkeypatch, offline)
    with pytest.raises(DataError, match="AlexNet"):
        load_lpips(torch.device("cpu"))
