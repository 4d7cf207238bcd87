"""``torch.compile`` on the layers of a network that take the time; on experts in training only.

Layers of one shape share one graph, so a network makes few of them, whatever its depth.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from moceir.models.attention import ChannelAttention
from moceir.models.execution.inference import for_inference
from moceir.models.execution.stripes import stripe_size
from moceir.models.execution.training import for_training
from moceir.models.execution.views import view
from moceir.models.experts import Expert
from moceir.models.layers import GDFN
from moceir.models.network import DecoderBlock, EncoderBlock, MoCEIR

ON_EVERY_ROUTE = (ChannelAttention, GDFN)
"""What every picture passes, whatever its experts."""

MOST_SIZES = 8
"""Most sizes that CUDA graphs are kept for: each holds memory of its own."""


def compiled_for_training(network: MoCEIR, sizes: int) -> MoCEIR:
    """Create a view of a network that ``torch.compile`` works on; its first steps then take minutes.

    Experts get the whole batch, whatever the routes, so that no shape changes from step to step.

    Args:
        network: The network.
        sizes: How many sizes the batches will have, with a graph for each.
    """
    fast = for_training(network, fixed_shapes=True)
    compile_layers(fast, sizes)
    return fast


def compile_layers(network: MoCEIR, sizes: int) -> None:
    """Let ``torch.compile`` work on the layers of a view for training, in place.

    Blocks are not compiled whole: torch 2.13 gave wrong gradients on processors for those of the encoder on maps of
    2 x 2 pixels.

    Args:
        network: A view whose shapes do not depend on routes; see `for_training`.
        sizes: How many sizes the batches will have, with a graph for each.
    """
    blocks = [part for part in network.modules() if isinstance(part, EncoderBlock | DecoderBlock)]
    norms = [norm for block in blocks for norm in (block.norm_attention, block.norm_ffn)]
    parts = [part for part in network.modules() if isinstance(part, (*ON_EVERY_ROUTE, Expert))]
    _compile([*parts, *norms], sizes)


def compiled_for_inference(network: MoCEIR, *, graphs: bool = False) -> MoCEIR:
    """Create a view of a network in which attention and feed-forward layers are compiled, each on its own.

    Experts stay as they are: which of them work changes with every picture. Layers make graphs for any size, which
    torch 2.13 can do where no gradients are wanted.

    Args:
        network: The network.
        graphs: Whether calls are recorded as CUDA graphs (``reduce-overhead``), once for each size.
    """
    fast = view(network, lambda _: None)
    parts = [part for part in fast.modules() if isinstance(part, ON_EVERY_ROUTE)]
    _compile(parts, None, mode="reduce-overhead" if graphs else None)
    return fast


def _compile(parts: Sequence[nn.Module], sizes: int | None, mode: str | None = None) -> None:
    """Compile layers for so many sizes, or for all of them; those of one shape share their graphs."""
    # Its compiler uses what torch itself has deprecated: nothing that a user could change.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\._inductor")
    # The spectra inside the experts are left to the library that computes them.
    warnings.filterwarnings("ignore", message="Torchinductor does not support code generation for complex")
    for part in parts:
        part.compile(dynamic=sizes is None, mode=mode)
    # All layers of a kind share one cache; beyond its limit torch would go on without compiling.
    config: Any = torch._dynamo.config  # pyright: ignore[reportPrivateUsage] - torch documents it so
    config.recompile_limit = max(config.recompile_limit, 2 * (sizes or 2) * len(parts))


class CompiledInference:
    """Chooses between compiled layers, where they pay, and stripes everywhere else.

    They pay for sizes that come again: frames, batches, crops. What is seen for the first time is computed as ever, and
    so is what is cut into stripes or tiles, whose shapes are many.

    Args:
        network: The network, on its device.
    """

    def __init__(self, network: MoCEIR) -> None:
        self._config = network.config
        self._graphs = next(network.parameters()).is_cuda
        self._seen: set[torch.Size] = set()
        self._sizes: set[torch.Size] = set()
        self.striped = for_inference(network)
        self._compiled = compiled_for_inference(network, graphs=self._graphs)

    def chosen_for(self, images: torch.Tensor) -> MoCEIR:
        """Return the view of the network that is to restore whole ``(B, 3, H, W)`` images; remember their size."""
        shape = images.shape
        again = shape in self._sizes or (shape in self._seen and len(self._sizes) < MOST_SIZES)
        self._seen.add(shape)
        if not again or self._is_cut(images):
            return self.striped
        self._sizes.add(shape)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()  # the next restoration may overwrite what the last one left
        return self._compiled

    def _is_cut(self, images: torch.Tensor) -> bool:
        height, width = self._config.padded_size(*images.shape[-2:])
        # Channels times columns are the same at all levels, and the first one has the most rows.
        item = images.element_size()
        size = stripe_size(len(images), self._config.dim, height, width, item, images.device.type)
        return size != (height, width)
