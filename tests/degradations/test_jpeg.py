"""JPEG against a real encoder."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from moceir.degradations import Jpeg, degrade


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def psnr_db(first: Tensor, second: Tensor) -> float:
    return -10 * math.log10((first - second).square().mean().item())


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    # One photograph that comes with scikit-image; the odd size makes the last blocks partial.
    return np.ascontiguousarray(data.astronaut()[:203, 100:299])


def real(pixels: np.ndarray, quality: int, *, subsample: bool) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2 if subsample else 0)
    return torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("quality", [5, 10, 30, 60, 95])
@pytest.mark.parametrize("subsample", [True, False])
def test_agrees_with_a_real_encoder(photograph: np.ndarray, quality: int, subsample: bool) -> None:
    images = torch.from_numpy(photograph).permute(2, 0, 1)[None] / 255
    ours = degrade(images, Jpeg(quality=quality, subsample=subsample), seeded(0))
    theirs = real(photograph, quality, subsample=subsample)
    assert psnr_db(ours, theirs) > 38
    # And much nearer to each other than either is to the original.
    assert psnr_db(ours, theirs) > psnr_db(images, theirs) + 8


def test_lower_quality_is_further_from_clean(photograph: np.ndarray) -> None:
    images = torch.from_numpy(photograph).permute(2, 0, 1)[None].repeat(4, 1, 1, 1) / 255
    # Mixed in one batch, subsampled and not.
    params = [Jpeg(quality=q, subsample=q % 20 == 10) for q in (10, 20, 50, 80)]
    degraded = degrade(images, params, seeded(0))
    values = [psnr_db(a, b) for a, b in zip(images, degraded, strict=True)]
    assert values == sorted(values)
    for image, result, p in zip(images, degraded, params, strict=True):
        torch.testing.assert_close(degrade(image[None], p, seeded(0))[0], result)


def test_grey_stays_grey() -> None:
    grey = torch.rand(1, 1, 24, 24, generator=seeded(0)).expand(1, 3, 24, 24)
    degraded = degrade(grey, Jpeg(quality=10), seeded(0))
    torch.testing.assert_close(degraded[:, 0], degraded[:, 2])
