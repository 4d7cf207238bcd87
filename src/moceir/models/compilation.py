"""``torch.compile`` on what every picture passes: attention and feed-forward parts, each on its own.

Experts stay as they are: how many pictures one has changes with every batch, and which ones work with every picture.
Parts of one shape share one graph, so that a network makes few of them, whatever its depth.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from moceir.models.attention import MDTA, CrossMDTA
from moceir.models.layers import GDFN
from moceir.models.network import SIZE_MULTIPLE, MoCEIR
from moceir.models.stripes import stripe_height

MOST_SIZES = 8
"""Of how many sizes CUDA graphs are kept at most: each holds memory of its own."""


def compile_parts(network: MoCEIR, sizes: int | None, *, graphs: bool = False) -> None:
    """Let ``torch.compile`` work on a network, in place; the first calls then take minutes.

    Args:
        network: Its parts are compiled when they are called.
        sizes: Of how many sizes the maps will be, with a graph for each; None makes graphs for any size, which torch
            2.13 can do where no gradients are wanted.
        graphs: Whether calls are recorded as CUDA graphs (``reduce-overhead``), once for each size.
    """
    # Its compiler uses what torch itself has deprecated: nothing that a user could change.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\._inductor")
    parts = [part for part in network.modules() if isinstance(part, (MDTA, CrossMDTA, GDFN))]
    for part in parts:
        part.compile(dynamic=sizes is None, mode="reduce-overhead" if graphs else None)
    # All parts of a kind share one cache; beyond its limit torch would go on without compiling.
    config: Any = torch._dynamo.config  # pyright: ignore[reportPrivateUsage] - torch documents it so
    config.recompile_limit = max(config.recompile_limit, 2 * (sizes or 2) * len(parts))


class CompiledInference:
    """A network that restores with compiled parts where that pays, and as it is everywhere else.

    It pays for sizes that come again: frames, batches, crops. What is seen for the first time is computed as ever, and
    so is what is cut into stripes or tiles, whose shapes are many.
    """

    def __init__(self, network: MoCEIR, device: torch.device) -> None:
        self._width = network.config.dim
        self._graphs = device.type == "cuda"
        self._seen: set[torch.Size] = set()
        self._compiled: set[torch.Size] = set()
        compile_parts(network, sizes=None, graphs=self._graphs)

    def chosen_for(self, images: torch.Tensor) -> bool:
        """Whether compiled parts are to restore these ``(B, 3, H, W)`` images; remembers their size."""
        shape = images.shape
        again = shape in self._compiled or (shape in self._seen and len(self._compiled) < MOST_SIZES)
        self._seen.add(shape)
        if not again or self._is_cut(images):
            return False
        self._compiled.add(shape)
        return True

    def _is_cut(self, images: torch.Tensor) -> bool:
        height, width = (-(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE for side in images.shape[-2:])
        # Channels times columns are the same at all levels, and the first one has the most rows.
        return stripe_height(len(images), self._width, width, images.element_size(), images.device.type) < height

    def on(self, images: torch.Tensor, *, whole: bool) -> AbstractContextManager[Any]:
        """A context for one restoration of the images, ``whole`` or in tiles."""
        if not (whole and self.chosen_for(images)):
            return torch.compiler.set_stance("force_eager")
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()  # what the last restoration left may be written over
        return nullcontext()
