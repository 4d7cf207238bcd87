"""Sums over all pixels of a picture, gathered so that parts of the picture can share them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moceir.errors import ConfigError


class Statistics:
    """Sums over the pixels of a picture, or of each picture of a batch: those of attention, of routers and for them.

    Everything else in the network depends on nearby pixels only. Given to passes over parts of a picture, this gathers
    the sums of all parts. With a basis, each pass computes with the sums that the basis has gathered, so as on a part
    of that picture.

    Args:
        basis: What earlier passes gathered. None lets each pass compute with its own sums.
    """

    def __init__(self, basis: Statistics | None = None) -> None:
        self._basis = {} if basis is None else basis._sums
        self._sums: dict[Tensor, Sequence[Tensor]] = {}

    def exchange(self, owner: Tensor, sums: Sequence[Tensor]) -> Sequence[Tensor]:
        """Take in the sums of a layer, batch first, and return those to compute with.

        Args:
            owner: A parameter of the layer, by which its sums are known.
            sums: The sums.

        Raises:
            ConfigError: If those gathered before are of more or fewer pictures, or gradients are on.
        """
        if torch.is_grad_enabled():
            raise ConfigError("statistics of a picture have no gradients; use torch.no_grad() or inference_mode()")
        gathered, used = self._sums.get(owner), self._basis.get(owner, sums)
        for others in (gathered or sums, used):
            if len(others[0]) != len(sums[0]):
                msg = f"statistics of {len(others[0])} pictures met parts of {len(sums[0])}; each batch needs its own"
                raise ConfigError(msg)
        self._sums[owner] = [a + b for a, b in zip(gathered, sums, strict=True)] if gathered else sums
        return used


def mean_feature(x: Tensor, owner: Tensor, statistics: Statistics | None) -> Tensor:
    """Average ``(B, C, H, W)`` over its pixels, or over those of the picture it is a part of: ``(B, C)``."""
    mean = x.mean(dim=(2, 3))
    if statistics is None:
        return mean
    pixels = torch.full_like(mean, x.shape[2] * x.shape[3], dtype=torch.float32)
    total, seen = statistics.exchange(owner, [mean * pixels, pixels])
    return (total / seen).to(mean.dtype)
