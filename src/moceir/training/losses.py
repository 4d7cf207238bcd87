"""Training losses: pixels, spectrum, and the balance of the experts (see ``models.routing``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moceir.models.routing import Router
from moceir.recipe import LossConfig


class Losses(NamedTuple):
    """The total loss that is minimised and its unweighted parts, as scalars."""

    total: Tensor
    l1: Tensor
    fft: Tensor
    balance: Tensor


def restoration_losses(restored: Tensor, clean: Tensor, balance: Tensor, weights: LossConfig) -> Losses:
    """Combine the losses of a batch, in float32.

    Args:
        restored: Restored pictures ``(B, 3, H, W)``.
        clean: Clean pictures of the same shape.
        balance: Mean balance loss of the routers, a scalar.
        weights: Weights of the parts.
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

    The loss is a ratio of batch statistics, so averaging the values of the processes would give a different loss.

    Args:
        routers: One router per decoder block.
        logits: Scores of the routers in each process, ``(processes, blocks, B, n)``.
        noise: Standard normal routing noise of the same shape.
    """
    losses = [
        router.balance_loss(block.flatten(0, 1), (block + draws * router.noise_std).flatten(0, 1))
        for router, block, draws in zip(routers, logits.unbind(1), noise.unbind(1), strict=True)
    ]
    return torch.stack(losses).mean()


def l1_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Compute the mean absolute difference of each image of two ``(B, C, H, W)`` batches, ``(B,)``."""
    return (restored - clean).abs().mean(dim=(1, 2, 3))


def spectral_l1_loss(restored: Tensor, clean: Tensor) -> Tensor:
    """Compute the mean absolute difference of the 2-D spectra (real and imaginary parts) of each image, ``(B,)``.

    The FFT is unnormalised and in float32. Source: MoCE-IR (arXiv 2411.18466), section 4. The spectrum emphasises fine
    structure that hardly affects the loss on pixels.
    """
    difference = torch.fft.rfft2((restored - clean).float())
    return torch.view_as_real(difference).abs().mean(dim=(1, 2, 3, 4))


def in_proportion(losses: Tensor, floor: float) -> Tensor:
    """Compute ``log(loss + floor)``, so that improvements count relative to each image's own error, as in PSNR.

    Without it, tasks with large errors (haze, low light) dominate the training, and tasks with small errors (JPEG,
    blur) are neglected.

    Args:
        losses: One loss per image, ``(B,)``, at least 0.
        floor: Loss below which there is little to gain, above 0; it bounds the weight of perfect images.

    Returns:
        Logarithmic losses ``(B,)``.
    """
    return (losses + floor).log()
