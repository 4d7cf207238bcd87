"""Image quality metrics as usually reported in the literature: PSNR, SSIM and LPIPS on RGB, PSNR and SSIM on Y."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moceir.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SSIM_WINDOW_PX = 11
LPIPS_SMALLEST_PX = 31
"""Smallest side for which AlexNet's strides leave a feature map."""


def psnr_db(restored: Tensor, clean: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio of each picture.

    Args:
        restored: ``(B, 3, H, W)`` in [0, 1].
        clean: The same shape.

    Returns:
        ``(B,)`` in dB; infinite where the two pictures are equal.
    """
    squared = (restored.double() - clean.double()).square().mean(dim=(1, 2, 3))
    return -10 * squared.log10()


def picture_psnr_db(restored: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    """Compute the peak signal-to-noise ratio of two pictures in [0, 1], in dB; infinite where they are equal."""
    squared = float(np.square(restored.astype(np.float64) - clean).mean())
    return -10 * math.log10(squared) if squared else math.inf


def luma(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute Y of ITU-R BT.601, ``(H, W)`` in 16..235, of ``(H, W, 3)`` in [0, 1] rounded to 8 bits.

    As MATLAB's ``rgb2ycbcr``, but not rounded again, as in the common Python versions.
    """
    levels = np.rint(pixels.astype(np.float64).clip(0, 1) * 255)
    return 16 + levels @ np.array([65.481, 128.553, 24.966]) / 255


def luma_scores(restored: NDArray[np.float32], clean: NDArray[np.float32], border_px: int) -> tuple[float, float]:
    """Compute PSNR in dB and SSIM on Y, as is usual for super-resolution.

    Args:
        restored: ``(H, W, 3)`` in [0, 1].
        clean: The same shape.
        border_px: Width of the border to leave out, usually the factor of enlargement.

    Returns:
        PSNR (infinite if the two are equal) and SSIM by Wang et al. 2004, with their covariances. NaN if nothing, or
        too little for the window of SSIM, is left.
    """
    from skimage.metrics import structural_similarity  # noqa: PLC0415 - an extra, needed only for evaluation

    inside = (slice(border_px, -border_px or None),) * 2
    first, second = luma(restored)[inside], luma(clean)[inside]
    if not first.size:
        return float("nan"), float("nan")
    squared = float(np.square(first - second).mean())
    psnr = 10 * math.log10(255**2 / squared) if squared else math.inf
    if min(first.shape) < SSIM_WINDOW_PX:
        return psnr, float("nan")
    similarity: Any = structural_similarity(
        first, second, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    return psnr, float(similarity)


def ssim(restored: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    """Compute the structural similarity of two ``(H, W, 3)`` pictures in [0, 1].

    Uses a Gaussian window with sigma 1.5 (11 taps) and averages over channels (Wang et al. 2004). As in published
    results, covariances are sample covariances: scikit-image's default, 121/120 of those of Wang. The result is NaN
    for pictures smaller than the window, for which the metric is not defined.
    """
    from skimage.metrics import structural_similarity  # noqa: PLC0415 - an extra, needed only for evaluation

    if min(restored.shape[:2]) < SSIM_WINDOW_PX:
        return float("nan")
    value: Any = structural_similarity(
        restored, clean, gaussian_weights=True, sigma=1.5, channel_axis=2, data_range=1.0
    )
    return float(value)


def load_lpips(device: torch.device) -> Callable[[NDArray[np.float32], NDArray[np.float32]], float]:
    """Load LPIPS, the learned perceptual distance of Zhang et al. (arXiv 1801.03924), on AlexNet, version 0.1.

    Requires the extra ``lpips``, whose package in turn needs torchvision. The first use downloads AlexNet's weights.

    Args:
        device: Device that AlexNet runs on.

    Returns:
        A function of two ``(H, W, 3)`` pictures in [0, 1]. It returns 0 for equal pictures, and NaN for pictures with
        a side under 31 pixels, which are too small for AlexNet.

    Raises:
        MissingExtraError: If lpips or torchvision is missing, or torchvision does not match the installed torch.
        DataError: If the weights cannot be fetched.
    """
    import torch  # noqa: PLC0415 - pictures are compared without torch, too

    try:
        # Imported by name because `dev` does not include it: a type checker would report a missing import.
        package = importlib.import_module("lpips")
    except (ImportError, RuntimeError) as error:
        msg = (
            f"LPIPS needs the packages lpips and torchvision ({error}); install them from the index that torch came "
            "from, with: pip install 'moceir[lpips]'"
        )
        raise MissingExtraError(msg) from error
    try:
        network: Any = package.LPIPS(net="alex", verbose=False).to(device).eval()
    except OSError as error:
        msg = f"the weights of AlexNet for LPIPS cannot be fetched ({error}); try again with a connection, or without"
        raise DataError(msg) from error

    def distance(restored: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
        if min(restored.shape[:2]) < LPIPS_SMALLEST_PX:
            return float("nan")
        pair = (torch.from_numpy(picture).permute(2, 0, 1)[None].to(device) * 2 - 1 for picture in (restored, clean))
        with torch.inference_mode():
            return float(network(*pair))

    return distance
