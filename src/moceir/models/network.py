"""MoCE-IR: a U-Net of channel-attention blocks whose decoder routes each image to complexity experts.

Source: Zamfir et al., "Complexity Experts are Task-Discriminative Learners for Any Image Restoration", CVPR 2025,
arXiv 2411.18466. Shapes below are for an input of ``(B, 3, H, W)`` and width C = ``config.dim``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.errors import ConfigError, ImageError
from moceir.models.attention import MDTA, CrossMDTA
from moceir.models.execution.pointwise import Pointwise
from moceir.models.execution.statistics import Statistics, mean_feature
from moceir.models.execution.stripes import Crop, by_stripes
from moceir.models.layers import (
    GDFN,
    ChannelLayerNorm,
    Downsample,
    Upsample,
    conv3x3,
    depthwise,
    pad_to_multiple,
)
from moceir.models.routing import Effort, ExpertMixture, Router, RoutingDecision, Steering, check_routes

SIZE_MULTIPLE = 8
"""Three halvings: sides inside the network are multiples of 8 pixels; other sizes are padded by reflection."""


class EncoderBlock(nn.Module):
    """``x + MDTA(norm(x))``, then ``x + GDFN(norm(x))``."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = ChannelLayerNorm(channels)
        self.attention = MDTA(channels, heads, bias=True)
        self.norm_ffn = ChannelLayerNorm(channels)
        self.ffn = GDFN(channels, bias=True)

    def forward(self, x: Tensor, whole: Statistics | None = None) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape; in stripes, in place."""
        x = self.attention(x, before=self.norm_attention, onto=x, whole=whole)
        return self.ffn(x, before=self.norm_ffn, onto=x)


class DecoderBlock(nn.Module):
    """Shared attention and routed experts side by side, joined by cross-attention (paper, figure 2)."""

    def __init__(self, config: ModelConfig, level: int) -> None:
        super().__init__()
        channels, heads = config.channels(level), config.heads[level]
        self.norm_attention = ChannelLayerNorm(channels)
        self.to_shared = Pointwise(channels, channels, bias=True)
        self.to_experts = Pointwise(channels, channels, bias=True)
        self.shared = MDTA(channels, heads, bias=False)
        self.mixture = ExpertMixture(
            channels,
            config.channels(3),
            config.expert_ranks(level),
            config.expert_windows(),
            config.top_k,
            bias_to_cheap=config.complexity_bias,
            straight_through=config.gate == "straight_through",
        )
        self.cross = CrossMDTA(channels, heads, values_from_query=config.join == "values")
        self.added = Pointwise(channels, channels, bias=False) if config.join == "added" else None
        if self.added is not None:
            nn.init.zeros_(self.added.weight)
        self.norm_ffn = ChannelLayerNorm(channels)
        self.ffn = GDFN(channels, bias=False)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        noise: Tensor | None,
        steering: Steering,
        whole: Statistics | None = None,
    ) -> tuple[Tensor, RoutingDecision]:
        """Map ``(B, C, H, W)`` to the same shape, with the routing decision of each image; in stripes, in place."""
        normed = self.norm_attention(x)
        shared = self.shared(normed, before=self.to_shared, whole=whole)
        for_experts = by_stripes(lambda _, x: self.to_experts(x), normed, into=normed)
        routed, decision = self.mixture(for_experts, embedding, shared, noise, steering, whole)
        if self.added is not None:
            x = by_stripes(lambda _, routed: cast("Pointwise", self.added)(routed), routed, onto=x)
        x = self.cross(routed, shared, onto=x, whole=whole)
        return self.ffn(x, before=self.norm_ffn, onto=x), decision


class FrequencyEmbedding(nn.Module):
    """One vector per image that tells the routers how much fine structure the latent holds: ``(B, D)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.high_pass = depthwise(channels, 3, bias=False)
        laplacian = torch.full((3, 3), -1.0)
        laplacian[1, 1] = 8.0
        self.high_pass.weight = nn.Parameter(laplacian.expand(channels, 1, 3, 3).clone(), requires_grad=False)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, latent: Tensor, whole: Statistics | None = None) -> Tensor:
        """Embed ``(B, D, H/8, W/8)``, or the pictures that these are parts of."""
        return self.mlp(mean_feature(self, F.gelu(self.high_pass(latent)), whole))


class EncoderStage(nn.Module):
    """Blocks at one resolution; their output is the skip connection, its half-size version goes on down."""

    def __init__(self, config: ModelConfig, level: int) -> None:
        super().__init__()
        channels, heads = config.channels(level), config.heads[level]
        self.blocks = nn.Sequential(*(EncoderBlock(channels, heads) for _ in range(config.encoder_blocks[level])))
        self.down = Downsample(channels)

    def forward(self, x: Tensor, whole: Statistics | None = None) -> tuple[Tensor, Tensor]:
        """Map ``(B, C, H, W)`` to ``(B, 2C, H/2, W/2)`` and the skip ``(B, C, H, W)``."""
        for block in self.blocks:
            x = block(x, whole)
        return self.down(x), x


class DecoderStage(nn.Module):
    """Double the size, join the skip connection, run the routed blocks."""

    def __init__(self, config: ModelConfig, level: int, blocks: int) -> None:
        super().__init__()
        channels = config.channels(level)
        self.up = Upsample(2 * channels)
        self.fuse = Pointwise(2 * channels, channels, bias=False)
        self.blocks = nn.ModuleList(DecoderBlock(config, level) for _ in range(blocks))

    def join(self, x: Tensor, skip: Tensor) -> Tensor:
        """Bring ``(B, 2C, H/2, W/2)`` and its skip to ``(B, C, H, W)``; in stripes, in the place of the skip."""

        def rows(crop: Crop, x: Tensor, skip: Tensor) -> Tensor:
            return self.fuse(torch.cat([crop(self.up(x)), crop(skip)], dim=1))

        return by_stripes(rows, x, skip, reach=1, into=skip)

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        noise: Sequence[Tensor | None],
        steering: Sequence[Steering],
        whole: Statistics | None = None,
    ) -> tuple[Tensor, list[RoutingDecision]]:
        """Map what ``join`` made, ``(B, C, H, W)``, to the same shape, with one decision per block."""
        decisions: list[RoutingDecision] = []
        for block, block_noise, block_steering in zip(self.blocks, noise, steering, strict=True):
            x, decision = block(x, embedding, block_noise, block_steering, whole)
            decisions.append(decision)
        return x, decisions


class MoCEIR(nn.Module):
    """The whole network.

    Call it on ``(B, 3, H, W)`` float RGB in [0, 1], any H and W from 1, and it returns the restored batch in the same
    shape, not clamped. ``restore_with_routing`` returns the routing decisions as well. In evaluation mode the result is
    deterministic and each image of a batch gets what it would get alone; in training mode routing noise is drawn from
    torch's global generator.

    Args:
        config: Shape of the network; ``moceir.preset("small")`` is the one of the paper's MoCE-IR-S.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = conv3x3(3, config.dim, bias=False)
        self.encoder = nn.ModuleList(EncoderStage(config, level) for level in range(3))
        latent_channels = config.channels(3)
        self.latent = nn.Sequential(
            *(EncoderBlock(latent_channels, config.heads[3]) for _ in range(config.latent_blocks))
        )
        self.frequency_embedding = FrequencyEmbedding(latent_channels)
        self.decoder = nn.ModuleList(
            DecoderStage(config, level, blocks) for level, blocks in zip((2, 1, 0), config.decoder_blocks, strict=True)
        )
        self.refinement = nn.Sequential(
            *(EncoderBlock(config.dim, config.heads[0]) for _ in range(config.refinement_blocks))
        )
        self.output = conv3x3(config.dim, 3, bias=False)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stubs lack this overload

    def routers(self) -> list[Router]:
        """The routers of all decoder blocks, in order of execution (deep first)."""
        return [part for part in self.decoder.modules() if isinstance(part, Router)]

    def forward(self, images: Tensor) -> Tensor:
        """Restore ``(B, 3, H, W)`` float RGB in [0, 1]; same shape out.

        Raises:
            ImageError: If the input is not a floating ``(B, 3, H, W)`` with at least one pixel.
        """
        return self.restore_with_routing(images)[0]

    def restore_with_routing(
        self,
        images: Tensor,
        noise: Tensor | None = None,
        routes: Tensor | None = None,
        effort: float = 0.0,
        whole: Statistics | None = None,
    ) -> tuple[Tensor, list[RoutingDecision]]:
        """Restore a batch and say which experts worked on it.

        Args:
            images: ``(B, 3, H, W)`` float RGB in [0, 1].
            noise: Standard normal routing noise, ``(decoder blocks, B, experts)``. None draws it in training mode
                and means no noise in evaluation mode.
            routes: Experts to use instead of the routers' choice, ``(decoder blocks, B, top_k)`` int64 in
                0..experts-1. The gates are still the routers' softmax values of those experts, so that forcing what
                was chosen changes nothing.
            effort: Shift of the routers' choices towards cheap (below 0) or dear experts (above 0); see `Effort`.
            whole: Statistics of the pictures that the images are parts of; not where gradients are wanted.

        Returns:
            The restored batch, same shape, and one decision per decoder block in order of execution (deep first).

        Raises:
            ImageError: If the input is not a floating ``(B, 3, H, W)`` with at least one pixel.
            ConfigError: If the routes have another shape or type, or name an expert that is not there or name one
                twice for the same image; if the effort is no finite number, or there are routes beside it; if the
                statistics are of another number of pictures, or gradients are on.
        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.numel() or not images.is_floating_point():
            msg = (
                f"the network takes float images (B, 3, H, W) in [0, 1], got {tuple(images.shape)} of {images.dtype}; "
                "use moceir.Restorer for uint8 arrays and single pictures"
            )
            raise ImageError(msg)
        routers = sum(self.config.decoder_blocks)
        if noise is None and self.training:
            noise = torch.randn(routers, images.shape[0], self.config.experts, device=images.device)
        block_noise: list[Tensor | None] = [None] * routers if noise is None else list(noise)
        if routes is not None:
            routes = check_routes(routes, self.config, images.shape[0]).to(images.device)
        if routes is not None and effort:
            raise ConfigError("routes that are given leave nothing to an effort; give one of the two")
        if whole is not None and torch.is_grad_enabled():
            raise ConfigError("statistics of a picture have no gradients; use torch.no_grad() or inference_mode()")
        # One effort for all blocks: it remembers which images have left the routers' own route.
        steering: list[Steering] = [Effort(effort) if effort else None] * routers if routes is None else [*routes]

        padded = pad_to_multiple(images, SIZE_MULTIPLE).contiguous(memory_format=torch.channels_last)
        x = self.patch_embed(padded)
        skips: list[Tensor] = []
        for stage in self.encoder:
            x, skip = stage(x, whole)
            skips.append(skip)
            del skip  # so that the decoder gives it up with its place in the list
        for block in self.latent:
            x = block(x, whole)
        embedding = self.frequency_embedding(x, whole)
        decisions: list[RoutingDecision] = []
        for stage, blocks in zip(self.decoder, self.config.decoder_blocks, strict=True):
            done = len(decisions)
            these = slice(done, done + blocks)
            x = cast("DecoderStage", stage).join(x, skips.pop())
            x, decided = stage(x, embedding, block_noise[these], steering[these], whole)
            decisions += decided
        for block in self.refinement:
            x = block(x, whole)
        restored = self.output(x) + padded
        return restored[..., : images.shape[2], : images.shape[3]], decisions
