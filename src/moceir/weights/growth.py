"""A larger network that begins by computing what a smaller, trained one computes.

Source: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer" (arXiv 1511.05641), for width; new blocks
add nothing at first, so that depth comes for free.

Width: each channel is there several times, and what reads it takes a share of each copy. LayerNorm, the cosines of
channel attention, its softmax (copies of a key divide its share among them) and products channel by channel give copies
of what they gave, so no other formula changes. The shares are random, since copies that are read alike get the same
gradient and stay copies.
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


def grow(network: MoCEIR, config: ModelConfig, *, seed: int = 0) -> MoCEIR:
    """Build a larger network that restores as ``network`` does, and can learn more.

    Args:
        network: The smaller one, on the CPU; it stays as it is.
        config: Shape of the larger one: a multiple of the width, as many blocks or more in each stage; heads, experts
            and ``top_k`` the same.
        seed: Of the new blocks' weights and of the shares of copies.

    Returns:
        A network of that shape in evaluation mode, whose output differs from that of ``network`` by rounding alone.

    Raises:
        ConfigError: If the shape cannot hold the network.
    """
    check_growth(network.config, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        grown = MoCEIR(config)
        own, new = network.state_dict(), grown.state_dict()
        wirings = _wirings(network)
        for key, weight in own.items():
            if not key.endswith(".complexity"):  # which follows from the new shape
                layer = key.rpartition(".")[0]
                new[key] = _widened(weight, new[key].shape, wirings.get(layer, Wiring()))
    grown.load_state_dict(new)
    _silence_new_blocks(grown, own)
    return grown.eval()


def check_growth(old: ModelConfig, new: ModelConfig) -> None:
    """Refuse a shape that cannot hold a network of another one.

    Raises:
        ConfigError: If the new shape is narrower or shallower somewhere, no multiple, or has other heads or experts.
    """
    kept = [(name, getattr(old, name), getattr(new, name)) for name in ("heads", "experts", "top_k", "join", "gate")]
    other = [
        f"{name} {here} to {there}"
        for name, here, there in kept
        if here != there and (name, here, there) != ("join", "published", "added")
    ]
    if new.dim % old.dim:
        other.append(f"dim {old.dim} to {new.dim}")
    if any(there < here for here, there in zip(old.depths, new.depths, strict=True)):
        other.append(f"blocks {old.depths} to {new.depths}")
    if other:
        raise ConfigError(
            f"a network cannot be grown from {'; '.join(other)}: dim may be multiplied and blocks added, in each stage "
            "as many or more, and nothing else; start from a smaller network, or leave model out of the recipe"
        )


def _copies(channels: int, times: int, group: int) -> Tensor:
    """Which old channel each new one is a copy of, where groups of channels are repeated as a whole."""
    return torch.arange(channels).view(-1, 1, group).expand(-1, times, -1).flatten()


def _wirings(network: MoCEIR) -> dict[str, Wiring]:
    """Collect which channels each layer reads and writes, by the name of the layer; others keep to the stream."""
    return {
        f"{name}.{child}".lstrip("."): wiring
        for name, part in network.named_modules()
        for child, wiring in getattr(part, "wiring", {}).items()
    }


def _widened(weight: Tensor, shape: torch.Size, wiring: Wiring) -> Tensor:
    """Widen a tensor of the state dict to the shape that it has in the larger network."""
    # Pixel-shuffling makes a channel of each four that follow each other: in the stream, these stay together.
    rows = weight.shape[0]
    widened = weight[_copies(rows, shape[0] // rows, 1 if wiring.writes == "inner" else math.gcd(4, rows))]
    if weight.ndim == 1 or shape[1] == weight.shape[1]:
        return widened
    columns = weight.shape[1]
    times = shape[1] // columns
    if wiring.reads == "joined":  # what was shuffled up and, behind it, the skip connection
        half = columns // 2
        read = torch.cat([_copies(half, times, 1), half + _copies(half, times, math.gcd(4, half))])
    else:
        read = _copies(columns, times, 1 if wiring.reads == "inner" else math.gcd(4, columns))
    return widened[:, read] * _shares(shape[0], read, times).view(shape[0], -1, *[1] * (weight.ndim - 2))


def _shares(rows: int, read: Tensor, times: int) -> Tensor:
    """What part of each copy is read, random and summing to 1 for all copies of a channel: ``(rows, len(read))``.

    They spread so far that gradients of two copies are uncorrelated: the covariance of their shares is 1/times^2 less
    spread^2 / times^3. Rows keep their mean square, too.
    """
    spread = math.sqrt(times)
    drawn = torch.randn(rows, len(read))
    means = torch.zeros(rows, len(read) // times).index_add(1, read, drawn) / times
    return (1 + spread * (drawn - means[:, read])) / times


def _silence_new_blocks(grown: MoCEIR, own: Mapping[str, Tensor]) -> None:
    """Make blocks that the smaller network did not have add nothing to what passes them."""
    for name, block in grown.named_modules():
        if isinstance(block, EncoderBlock | DecoderBlock) and f"{name}.norm_ffn.weight" not in own:
            mixer = block.attention if isinstance(block, EncoderBlock) else block.cross
            for last in (mixer.out, block.ffn.out):
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)
