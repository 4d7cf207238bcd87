"""``torch.compile`` on the parts of a network that take the time; on experts in training only.

Parts of one shape share one graph, so that a network makes few of them, whatever its depth.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from moceir.models.attention import MDTA, CrossMDTA
from moceir.models.execution.stripes import stripe_height
from moceir.models.experts import Expert
from moceir.models.layers import GDFN
from moceir.models.network import SIZE_MULTIPLE, DecoderBlock, MoCEIR
from moceir.models.routing import ExpertMixture

ON_EVERY_ROUTE = (MDTA, CrossMDTA, GDFN)
"""What every picture passes, whatever its experts."""

MOST_SIZES = 8
"""Of how many sizes CUDA graphs are kept at most: each holds memory of its own."""


def compile_for_training(network: MoCEIR, sizes: int) -> None:
    """Let ``torch.compile`` work on a network, in place; the first steps then take minutes.

    Experts get the whole batch, whatever the routes, so that no shape changes from step to step. Blocks are not
    compiled whole: torch 2.13 gave wrong gradients on processors for those of the encoder on maps of 2 x 2 pixels.

    Args:
        network: Its parts are compiled when they are called.
        sizes: Of how many sizes the batches will be, with a graph for each.
    """
    parts: list[nn.Module] = [p for p in network.modules() if isinstance(p, (*ON_EVERY_ROUTE, Expert))]
    for part in network.modules():
        if isinstance(part, ExpertMixture):
            part.all_at_once = True
        if isinstance(part, DecoderBlock):  # all other norms are part of what they come before
            parts.append(part.norm_attention)
    _compile(parts, sizes)


def compile_for_inference(network: MoCEIR, *, graphs: bool = False) -> None:
    """Let ``torch.compile`` work on what every picture passes, attention and feed-forward parts, each on its own.

    Experts stay as they are: which of them work changes with every picture. Parts make graphs for any size, which torch
    2.13 can do where no gradients are wanted.

    Args:
        network: Its parts are compiled when they are called.
        graphs: Whether calls are recorded as CUDA graphs (``reduce-overhead``), once for each size.
    """
    parts = [part for part in network.modules() if isinstance(part, ON_EVERY_ROUTE)]
    _compile(parts, None, mode="reduce-overhead" if graphs else None)


def _compile(parts: Sequence[nn.Module], sizes: int | None, mode: str | None = None) -> None:
    """Compile parts for so many sizes, or for all of them; those of one shape share their graphs."""
    # Its compiler uses what torch itself has deprecated: nothing that a user could change.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\._inductor")
    # The spectra inside the experts are left to the library that computes them.
    warnings.filterwarnings("ignore", message="Torchinductor does not support code generation for complex")
    for part in parts:
        part.compile(dynamic=sizes is None, mode=mode)
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
        compile_for_inference(network, graphs=self._graphs)

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
