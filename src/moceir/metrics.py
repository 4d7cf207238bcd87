"""Image quality: PSNR and SSIM as the field reports them, on full RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def psnr_db(restored: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per picture.

    Args:
        restored: ``(B, 3, H, W)`` in [0, 1].
        clean: The same shape.

    Returns:
        ``(B,)`` in dB; infinite where the two are equal.
    """
    squared = (restored.double() - clean.double()).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(squared)


def ssim(restored: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    """Structural similarity of two ``(H, W, 3)`` pictures in [0, 1].

    Gaussian window of sigma 1.5 (11 taps), channels averaged (Wang et al. 2004). Pictures smaller than the window give
    NaN: the measure is not defined for them.
    """
    from skimage.metrics import structural_similarity  # noqa: PLC0415 - an extra, needed for evaluation alone

    if min(restored.shape[:2]) < 11:
        return float("nan")
    value: Any = structural_similarity(
        restored, clean, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2, data_range=1.0
    )
    return float(value)
