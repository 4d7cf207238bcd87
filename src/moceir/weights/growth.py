"""Growth of a trained network into a larger one that computes the same function at first.

Source: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer" (arXiv 1511.05641), for the width.

Width: each channel is copied, and each layer that reads it takes a share of every copy. For copied inputs, LayerNorm,
the cosines and the softmax of channel attention (copies of a key divide its weight among them) and channelwise products
return copies of their outputs, so no other formula changes. The shares are random: copies that are read with equal
weights would get equal gradients and stay copies.

Depth: the last layers of new blocks start at zero, so that a new block adds nothing at first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.errors import ConfigError
from moceir.models.layers import Wiring
from moceir.models.network import DecoderBlock, EncoderBlock, MoCEIR

KEPT = ("heads", "experts", "top_k", "join", "gate", "scale")
"""Fields that growth does not change, but for the exceptions in ``grow``."""


def grow(network: MoCEIR, config: ModelConfig, *, seed: int = 0) -> MoCEIR:
    """Build a larger network that starts as the same function and can learn more.

    Args:
        network: Smaller network, on the CPU. It is not changed.
        config: Shape of the larger network. Its width is a multiple of the width of ``network``, and each stage has at
            least as many blocks. Heads, experts, ``top_k``, ``join``, ``gate`` and ``scale`` are equal, except that
            ``join`` may change from ``published`` to ``added``, ``gate`` from ``straight_through`` to ``residual``, or
            from ``softmax`` to one of these where ``network`` has the join ``published``, and ``scale`` from 1 to
            another.
        seed: Seed of the weights of new blocks and of the shares of copies.

    Returns:
        Network of the given shape, in evaluation mode. Its output differs from that of ``network`` only by rounding; if
        the scale changes, it begins by enlarging bicubically instead.

    Raises:
        ConfigError: If a network of the given shape cannot be grown from ``network``.
    """
    check_growth(network.config, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        grown = MoCEIR(config)
        own, new = network.state_dict(), grown.state_dict()
        wirings = _wirings(network)
        for key, weight in own.items():
            if key in new and not key.endswith(".complexity"):  # the new shape determines it
                layer = key.rpartition(".")[0]
                new[key] = _widened(weight, new[key].shape, wirings.get(layer, Wiring()))
    grown.load_state_dict(new)
    _silence_new_blocks(grown, own)
    return grown.eval()


def check_growth(old: ModelConfig, new: ModelConfig) -> None:
    """Check that a network of one shape can be grown into another shape.

    Args:
        old: Shape of the smaller network.
        new: Shape of the larger network.

    Raises:
        ConfigError: If the width is not a multiple, a stage has fewer blocks, or heads, experts, ``top_k``,
            ``join``, ``gate`` or ``scale`` differ.
    """
    changes = [(name, getattr(old, name), getattr(new, name)) for name in KEPT]
    exceptions = [("join", "published", "added"), ("scale", 1, new.scale), ("gate", "straight_through", "residual")]
    if old.join == "published":  # softmax differs by a factor for all chosen experts, which this join ignores
        exceptions += [("gate", "softmax", "straight_through"), ("gate", "softmax", "residual")]
    other = [
        f"{name} {here} to {there}"
        for name, here, there in changes
        if here != there and (name, here, there) not in exceptions
    ]
    if new.dim % old.dim:
        other.append(f"dim {old.dim} to {new.dim}")
    if any(there < here for here, there in zip(old.depths, new.depths, strict=True)):
        other.append(f"blocks {old.depths} to {new.depths}")
    if other:
        raise ConfigError(
            f"a network cannot be grown from {'; '.join(other)}: dim may become a multiple and stages may get more "
            "blocks, and the rest must stay the same; start from a smaller network, or leave model out of the recipe"
        )


def _copies(channels: int, times: int, group: int) -> Tensor:
    """Return the index of the old channel that each new channel copies, where groups of channels stay together."""
    return torch.arange(channels).view(-1, 1, group).expand(-1, times, -1).flatten()


def _wirings(network: MoCEIR) -> dict[str, Wiring]:
    """Collect the channels that each layer reads and writes, by the name of the layer. Others use the main stream."""
    return {
        f"{name}.{child}".lstrip("."): wiring
        for name, part in network.named_modules()
        for child, wiring in getattr(part, "wiring", {}).items()
    }


def _widened(weight: Tensor, shape: torch.Size, wiring: Wiring) -> Tensor:
    """Widen a tensor of the state dict to its shape in the larger network."""
    # Pixel shuffling turns four consecutive channels into one, so groups of four stay together in the main stream.
    rows = weight.shape[0]
    widened = weight[_copies(rows, shape[0] // rows, 1 if wiring.writes == "inner" else math.gcd(4, rows))]
    if weight.ndim == 1 or shape[1] == weight.shape[1]:
        return widened
    columns = weight.shape[1]
    times = shape[1] // columns
    if wiring.reads == "joined":  # the upsampled channels, then those of the skip connection
        half = columns // 2
        read = torch.cat([_copies(half, times, 1), half + _copies(half, times, math.gcd(4, half))])
    else:
        read = _copies(columns, times, 1 if wiring.reads == "inner" else math.gcd(4, columns))
    return widened[:, read] * _shares(shape[0], read, times).view(shape[0], -1, *[1] * (weight.ndim - 2))


def _shares(rows: int, read: Tensor, times: int) -> Tensor:
    """Draw the share of each copy that each row reads, ``(rows, len(read))``; those of one channel sum to 1.

    The spread is chosen so that the gradients of two copies are uncorrelated: their shares have a mean product of
    1/times^2 - spread^2 / times^3 = 0. It also keeps the mean square of the rows.
    """
    spread = math.sqrt(times)
    drawn = torch.randn(rows, len(read))
    means = torch.zeros(rows, len(read) // times).index_add(1, read, drawn) / times
    return (1 + spread * (drawn - means[:, read])) / times


def _silence_new_blocks(grown: MoCEIR, own: Mapping[str, Tensor]) -> None:
    """Zero the last layers of new blocks, so that they add nothing to the residual stream."""
    for name, block in grown.named_modules():
        if isinstance(block, EncoderBlock | DecoderBlock) and f"{name}.norm_ffn.weight" not in own:
            mixer = block.attention if isinstance(block, EncoderBlock) else block.cross
            for last in (mixer.out, block.ffn.out):
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)
