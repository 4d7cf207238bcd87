"""The restoration loss: pixels and spectrum (the balance loss comes from the router, see ``models.routing``)."""

from __future__ import annotations

import torch
from torch import Tensor


def l1_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference of two ``(B, C, H, W)`` batches."""
    return (restored - clean).abs().mean()


def spectral_l1_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of the 2-D spectra (unnormalised FFT, in float32).

    Source: MoCE-IR (arXiv 2411.18466), section 4; the spectrum weighs fine structure that pixels hardly notice.
    """
    difference = torch.fft.rfft2((restored - clean).float())
    return torch.view_as_real(difference).abs().mean()
