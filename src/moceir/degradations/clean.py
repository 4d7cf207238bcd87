"""Identity, used as a control: restoration should not harm clean pictures."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from moceir.degradations.base import Degradation


class Clean(Degradation):
    """Identity without parameters."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Return the only possible record; ``generator`` is not used."""
        del generator
        return cls()

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        del params, generator
        return images.clone()
