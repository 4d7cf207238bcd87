"""What training minimises: pixels, spectrum, and the balance of the experts (see ``models.routing``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moceir.models.routing import Router
from moceir.recipe import LossConfig


class Losses(NamedTuple):
    """Scalars: the loss that is minimised and its parts before they are weighted."""

    total: Tensor
    l1: Tensor
    fft: Tensor
    balance: Tensor


def restoration_losses(restored: Tensor, clean: Tensor, balance: Tensor, weights: LossConfig) -> Losses:
    """Combine the losses of a batch, in float32.

    Args:
        restored: ``(B, 3, H, W)``.
        clean: The same shape.
        balance: Mean balance loss of the routers, a scalar.
        weights: What each part counts.
    """
    restored = restored.float()
    l1, fft = l1_loss(restored, clean), spectral_l1_loss(restored, clean)
    images = l1 + weights.fft * fft
    if weights.proportion_floor is not None:
        images = in_proportion(images, weights.proportion_floor)
    balance = balance.float()
    return Losses(images.mean() + weights.balance * balance, l1.mean(), fft.mean(), balance)


def joint_balance(routers: Sequence[Router], logits: Tensor, noise: Tensor) -> Tensor:
    """Compute the mean balance loss of the routers over the joint batch of several processes.

    It is a ratio of batch statistics, so the mean of the processes' own values would be another loss.

    Args:
        routers: One per decoder block.
        logits: Their scores in each process, ``(processes, blocks, B, n)``.
        noise: Standard normal routing noise of the same shape.
    """
    losses = [
        router.balance_loss(block.flatten(0, 1), (block + draws * router.noise_std).flatten(0, 1))
        for router, block, draws in zip(routers, logits.unbind(1), noise.unbind(1), strict=True)
    ]
    return torch.stack(losses).mean()


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
