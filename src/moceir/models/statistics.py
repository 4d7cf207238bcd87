"""What the network sums up over all pixels of a picture, gathered so that parts of the picture can share it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from moceir.errors import ConfigError


class Statistics:
    """Sums over the pixels of a picture, or of each picture of a batch: those of all attention and all routers.

    All else in the network depends on nearby pixels alone. Given to passes over parts of a picture, this gathers the
    sums of all of them; on a basis, each of these passes computes with the sums that the basis has gathered, as if its
    part were seen together with all that the basis has seen.

    Args:
        basis: What was gathered in earlier passes. None lets each pass compute with its own sums.
    """

    def __init__(self, basis: Statistics | None = None) -> None:
        self._basis = basis
        self._sums: dict[nn.Module, list[Tensor]] = {}

    def exchange(self, part: nn.Module, sums: Sequence[Tensor]) -> Sequence[Tensor]:
        """Take in the sums of a part of the network, batch first, and give back those to compute with.

        Raises:
            ConfigError: If those gathered before are of more or fewer pictures.
        """
        gathered = self._sums.get(part)
        used = sums if self._basis is None else self._basis._sums[part]
        for others in (gathered or sums, used):
            if len(others[0]) != len(sums[0]):
                msg = f"statistics of {len(others[0])} pictures met parts of {len(sums[0])}; each batch needs its own"
                raise ConfigError(msg)
        self._sums[part] = [a + b for a, b in zip(gathered, sums, strict=True)] if gathered else list(sums)
        return used
