"""The restoration loss: pixels and spectrum (the balance loss comes from the router, see ``models.routing``)."""

from __future__ import annotations

import torch
from torch import Tensor


def l1_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference of each image of two ``(B, C, H, W)`` batches, ``(B,)``."""
    return (restored - clean).abs().mean(dim=(1, 2, 3))


def spectral_l1_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of the 2-D spectra of each image, ``(B,)``.

    The FFT is unnormalised and in float32. Source: MoCE-IR (arXiv 2411.18466), section 4; the spectrum weighs fine
    structure that pixels hardly notice.
    """
    difference = torch.fft.rfft2((restored - clean).float())
    return torch.view_as_real(difference).abs().mean(dim=(1, 2, 3, 4))


def in_proportion(losses: Tensor, floor: float) -> Tensor:
    """``log(loss + floor)``: each image then counts by what it gains in proportion to its own error, as PSNR does.

    Without it, tasks with large errors (haze, low light) decide where the weights go, and tasks with small ones (JPEG,
    blur) stay undone.

    Args:
        losses: One loss per image, ``(B,)``, at least 0.
        floor: Loss below which there is little to gain, above 0; else perfect images would count without bound.

    Returns:
        ``(B,)``.
    """
    return (losses + floor).log()
