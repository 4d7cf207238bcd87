"""The network written the straightforward way: the yardstick for speed. Not part of the package.

The formulas, parameter names and results are those of ``moceir.MoCEIR``, so it takes the same state dict (a test holds
both to the same outputs and gradients). The manner is that of common restoration code: pictures as contiguous planes
``(B, C, H, W)``, LayerNorm by rearranging to ``(B, H*W, C)`` and back, attention on ``(B, heads, C/heads, H*W)``,
windows rearranged for the FFT, every intermediate whole. Without detours either: the normalisations and convolutions
are torch's own. The router, in which no time is spent, is the package's.

Source: MoCE-IR (arXiv 2411.18466) and, for attention and feed-forward, Restormer (arXiv 2111.09881).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.models.layers import pad_to_multiple
from moceir.models.network import SIZE_MULTIPLE
from moceir.models.routing import Router, RoutingDecision


def conv(inputs: int, outputs: int, kernel: int, *, bias: bool, groups: int = 1) -> nn.Conv2d:
    """Convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)


class LayerNorm(nn.LayerNorm):
    """Over the channels of each pixel."""

    def forward(self, input: Tensor) -> Tensor:
        """Rearrange to ``(B, H*W, C)``, normalise, rearrange back."""
        batch, channels, height, width = input.shape
        normed = super().forward(input.flatten(2).transpose(1, 2))
        return normed.transpose(1, 2).reshape(batch, channels, height, width).contiguous()


def attend(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Attention across the channels of each head."""
    heads = len(temperature)
    q, k, values = (x.reshape(x.shape[0], heads, x.shape[1] // heads, -1) for x in (q, k, v))
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    attention = (q @ k.transpose(-2, -1) * temperature).softmax(dim=-1)
    return (attention @ values).reshape(v.shape)


class SelfAttention(nn.Module):
    """Restormer's MDTA."""

    def __init__(self, channels: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = conv(channels, 3 * channels, 1, bias=bias)
        self.qkv_depthwise = conv(3 * channels, 3 * channels, 3, groups=3 * channels, bias=bias)
        self.out = conv(channels, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        q, k, v = self.qkv_depthwise(self.qkv(x)).chunk(3, dim=1)
        return self.out(attend(q, k, v, self.temperature))


class CrossAttention(nn.Module):
    """Queries from the experts, keys and values from the shared branch."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = conv(channels, channels, 1, bias=False)
        self.q_depthwise = conv(channels, channels, 3, groups=channels, bias=False)
        self.kv = conv(channels, 2 * channels, 1, bias=False)
        self.kv_depthwise = conv(2 * channels, 2 * channels, 7, groups=2 * channels, bias=False)
        self.out = conv(channels, channels, 1, bias=False)

    def forward(self, query: Tensor, context: Tensor) -> Tensor:
        """Keep the shape."""
        k, v = self.kv_depthwise(self.kv(context)).chunk(2, dim=1)
        return self.out(attend(self.q_depthwise(self.q(query)), k, v, self.temperature))


class FeedForward(nn.Module):
    """Restormer's GDFN."""

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        self.expand = conv(channels, 4 * channels, 1, bias=bias)
        self.depthwise = conv(4 * channels, 4 * channels, 3, groups=4 * channels, bias=bias)
        self.out = conv(2 * channels, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        gate, value = self.depthwise(self.expand(x)).chunk(2, dim=1)
        return self.out(F.gelu(gate) * value)


class EncoderBlock(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_ffn = LayerNorm(channels), LayerNorm(channels)
        self.attention = SelfAttention(channels, heads, bias=True)
        self.ffn = FeedForward(channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        x = x + self.attention(self.norm_attention(x))
        return x + self.ffn(self.norm_ffn(x))


class WindowAttention(nn.Module):
    """Queries and keys meet by circular convolution inside each window."""

    def __init__(self, channels: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.q = conv(channels, channels, 1, bias=False)
        self.q_depthwise = conv(channels, channels, 3, groups=channels, bias=True)
        self.kv = conv(channels, 2 * channels, 1, bias=False)
        self.kv_depthwise = conv(2 * channels, 2 * channels, 7, groups=2 * channels, bias=True)
        self.norm = LayerNorm(channels)
        self.out = conv(channels, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        batch, channels, height, width = x.shape
        size = self.window
        q = self.q_depthwise(self.q(x))
        k, v = self.kv_depthwise(self.kv(x)).chunk(2, dim=1)

        def windows(plane: Tensor) -> Tensor:
            padded = F.pad(plane, (0, -width % size, 0, -height % size))
            rows, columns = padded.shape[2] // size, padded.shape[3] // size
            return padded.reshape(batch, channels, rows, size, columns, size).transpose(3, 4).contiguous()

        met = torch.fft.irfft2(torch.fft.rfft2(windows(q)) * torch.fft.rfft2(windows(k)), s=(size, size))
        rows, columns = met.shape[2:4]
        plane = met.transpose(3, 4).reshape(batch, channels, rows * size, columns * size)[..., :height, :width]
        return self.out(self.norm(plane) * v)


class Expert(nn.Module):
    """One complexity expert."""

    def __init__(self, channels: int, rank: int, window: int) -> None:
        super().__init__()
        self.reduce = conv(channels, rank, 1, bias=False)
        self.modulate = conv(channels, rank, 1, bias=False)
        self.expand = conv(rank, channels, 1, bias=False)
        self.attention = WindowAttention(rank, window)

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        """Keep the shape."""
        return x + self.expand(self.attention(self.reduce(x)) * F.silu(self.modulate(shared)))


class Mixture(nn.Module):
    """A router and its experts."""

    def __init__(self, config: ModelConfig, level: int) -> None:
        super().__init__()
        channels = config.channels(level)
        shapes = zip(config.expert_ranks(level), config.expert_windows(), strict=True)
        self.experts = nn.ModuleList(Expert(channels, rank, window) for rank, window in shapes)
        sizes = [sum(p.numel() for p in expert.parameters()) for expert in self.experts]
        self.router = Router(
            channels,
            config.channels(3),
            [size / max(sizes) for size in sizes],
            config.top_k,
            bias_to_cheap=config.complexity_bias,
        )
        self.out = conv(channels, channels, 1, bias=False)

    def forward(
        self, x: Tensor, embedding: Tensor, shared: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, RoutingDecision]:
        """Keep the shape; with the decision."""
        decision = self.router(x, embedding, noise)
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            image, choice = torch.where(decision.experts == number)
            if len(image):
                gate = decision.gates[image, choice][:, None, None, None]
                mixed = mixed.index_add(0, image, gate * expert(x[image], shared[image]))
        return self.out(mixed), decision


class DecoderBlock(nn.Module):
    """Shared attention beside the experts, joined by cross-attention."""

    def __init__(self, config: ModelConfig, level: int) -> None:
        super().__init__()
        channels, heads = config.channels(level), config.heads[level]
        self.norm_attention, self.norm_ffn = LayerNorm(channels), LayerNorm(channels)
        self.to_shared = conv(channels, channels, 1, bias=True)
        self.to_experts = conv(channels, channels, 1, bias=True)
        self.shared = SelfAttention(channels, heads, bias=False)
        self.mixture = Mixture(config, level)
        self.cross = CrossAttention(channels, heads)
        self.ffn = FeedForward(channels, bias=False)

    def forward(self, x: Tensor, embedding: Tensor, noise: Tensor | None) -> tuple[Tensor, RoutingDecision]:
        """Keep the shape; with the decision."""
        normed = self.norm_attention(x)
        shared = self.shared(self.to_shared(normed))
        routed, decision = self.mixture(self.to_experts(normed), embedding, shared, noise)
        x = x + self.cross(routed, shared)
        return x + self.ffn(self.norm_ffn(x)), decision


class FrequencyEmbedding(nn.Module):
    """What the routers know of the latent's fine structure."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.high_pass = conv(channels, channels, 3, groups=channels, bias=False).requires_grad_(requires_grad=False)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, latent: Tensor) -> Tensor:
        """``(B, D, H, W)`` to ``(B, D)``."""
        return self.mlp(F.gelu(self.high_pass(latent)).mean(dim=(2, 3)))


class Stage(nn.Module):
    """Blocks of one level, and the way down or up."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Straightforward(nn.Module):
    """The whole network, with the calls and the state dict of ``moceir.MoCEIR``.

    Its own initialisation means nothing: give it a state dict.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        dims = [config.channels(level) for level in range(4)]

        def blocks(level: int, count: int) -> nn.Sequential:
            return nn.Sequential(*(EncoderBlock(dims[level], config.heads[level]) for _ in range(count)))

        def down(c: int) -> nn.Sequential:
            return nn.Sequential(conv(c, c // 2, 3, bias=False), nn.PixelUnshuffle(2))

        def up(c: int) -> nn.Sequential:
            return nn.Sequential(conv(c, 2 * c, 3, bias=False), nn.PixelShuffle(2))

        self.patch_embed = conv(3, config.dim, 3, bias=False)
        self.encoder = nn.ModuleList(
            Stage(blocks=blocks(level, count), down=down(dims[level]))
            for level, count in enumerate(config.encoder_blocks)
        )
        self.latent = blocks(3, config.latent_blocks)
        self.frequency_embedding = FrequencyEmbedding(dims[3])
        self.decoder = nn.ModuleList(
            Stage(
                up=up(dims[level + 1]),
                fuse=conv(2 * dims[level], dims[level], 1, bias=False),
                blocks=nn.ModuleList(DecoderBlock(config, level) for _ in range(count)),
            )
            for level, count in zip((2, 1, 0), config.decoder_blocks, strict=True)
        )
        self.refinement = blocks(0, config.refinement_blocks)
        self.output = conv(config.dim, 3, 3, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Restore ``(B, 3, H, W)`` in [0, 1]."""
        return self.restore_with_routing(images)[0]

    def restore_with_routing(self, images: Tensor, noise: Tensor | None = None) -> tuple[Tensor, list[RoutingDecision]]:
        """Restore ``(B, 3, H, W)`` in [0, 1]; the noise ``(decoder blocks, B, experts)`` is for training."""
        padded = pad_to_multiple(images, SIZE_MULTIPLE)
        block_noise = iter([None] * sum(self.config.decoder_blocks) if noise is None else noise)
        x = self.patch_embed(padded)
        skips: list[Tensor] = []
        for stage in self.encoder:
            skips.append(stage.blocks(x))
            x = stage.down(skips[-1])
        x = self.latent(x)
        embedding = self.frequency_embedding(x)
        decisions: list[RoutingDecision] = []
        for stage in self.decoder:
            x = stage.fuse(torch.cat([stage.up(x), skips.pop()], dim=1))
            for block in stage.blocks:
                x, decision = block(x, embedding, next(block_noise))
                decisions.append(decision)
        restored = self.output(self.refinement(x)) + padded
        return restored[..., : images.shape[2], : images.shape[3]], decisions
