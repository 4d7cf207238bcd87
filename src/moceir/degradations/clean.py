"""No degradation at all: the control in a mixture of tasks, and the proof that restoring does no harm."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from moceir.degradations.base import Degradation


class Clean(Degradation):
    """The identity; it has no parameters."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Return the one possible record; `generator` is left alone."""
        del generator
        return cls()

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        del params, generator
        return images.clone()
