"""What the network sums up over all pixels of a picture, gathered so that parts of the picture can share it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moceir.errors import ConfigError


class Statistics:
    """Sums over the pixels of a picture, or of each picture of a batch: those of attention, of routers and for them.

    All else in the network depends on nearby pixels alone. Given to passes over parts of a picture, this gathers the
    sums of all of them. On a basis, each pass computes with the sums that the basis has gathered: as on a part of that.

    Args:
        basis: What was gathered in earlier passes. None lets each pass compute with its own sums.
    """

    def __init__(self, basis: Statistics | None = None) -> None:
        self._basis = {} if basis is None else basis._sums
        self._sums: dict[nn.Module, Sequence[Tensor]] = {}

    def exchange(self, part: nn.Module, sums: Sequence[Tensor]) -> Sequence[Tensor]:
        """Take in the sums of a part of the network, batch first, and give back those to compute with.

        Raises:
            ConfigError: If those gathered before are of more or fewer pictures.
        """
        gathered, used = self._sums.get(part), self._basis.get(part, sums)
        for others in (gathered or sums, used):
            if len(others[0]) != len(sums[0]):
                msg = f"statistics of {len(others[0])} pictures met parts of {len(sums[0])}; each batch needs its own"
                raise ConfigError(msg)
        self._sums[part] = [a + b for a, b in zip(gathered, sums, strict=True)] if gathered else sums
        return used


def mean_feature(part: nn.Module, x: Tensor, whole: Statistics | None) -> Tensor:
    """Mean over the pixels of ``(B, C, H, W)``, or over those of the picture that these are part of: ``(B, C)``."""
    mean = x.mean(dim=(2, 3))
    if whole is None:
        return mean
    pixels = torch.full_like(mean, x.shape[2] * x.shape[3], dtype=torch.float32)
    total, seen = whole.exchange(part, [mean * pixels, pixels])
    return (total / seen).to(mean.dtype)
