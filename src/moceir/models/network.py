"""MoCE-IR: a U-Net of channel-attention blocks whose decoder routes each image to complexity experts.

Source: Zamfir et al., "Complexity Experts are Task-Discriminative Learners for Any Image Restoration", CVPR 2025,
arXiv 2411.18466. Shapes below are for an input of ``(B, 3, H, W)`` and width C = ``config.dim``. This is the network as
the paper has it; ``moceir.models.execution`` runs the same layers fast and in little memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.models.attention import MDTA, CrossMDTA
from moceir.models.layers import (
    GDFN,
    ChannelLayerNorm,
    Downsample,
    Enlargement,
    FrequencyEmbedding,
    Upsample,
    Wiring,
    bicubic,
    check_images,
    conv1x1,
    conv3x3,
    pad_to_multiple,
)
from moceir.models.pretrained import Pretrained
from moceir.models.routing import ExpertMixture, Router, RoutingDecision, RoutingRequest, routing_requests


class EncoderBlock(nn.Module):
    """Channel attention, then feed-forward, each added to its input."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = ChannelLayerNorm(channels)
        self.attention = MDTA(channels, heads, bias=True)
        self.norm_ffn = ChannelLayerNorm(channels)
        self.ffn = GDFN(channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        x = x + self.attention(self.norm_attention(x))
        return x + self.ffn(self.norm_ffn(x))


class DecoderBlock(nn.Module):
    """Shared attention and routed experts side by side, joined by cross-attention (paper, figure 2)."""

    def __init__(self, config: ModelConfig, level: int) -> None:
        super().__init__()
        channels, heads = config.channels(level), config.heads[level]
        self.norm_attention = ChannelLayerNorm(channels)
        self.to_shared = conv1x1(channels, channels, bias=True)
        self.to_experts = conv1x1(channels, channels, bias=True)
        self.shared = MDTA(channels, heads, bias=False)
        self.mixture = ExpertMixture(config, level)
        self.cross = CrossMDTA(channels, heads, values_from_query=config.join == "values")
        self.added = conv1x1(channels, channels, bias=False) if config.join == "added" else None
        if self.added is not None:
            nn.init.zeros_(self.added.weight)
        self.norm_ffn = ChannelLayerNorm(channels)
        self.ffn = GDFN(channels, bias=False)

    def forward(self, x: Tensor, embedding: Tensor, request: RoutingRequest) -> tuple[Tensor, RoutingDecision]:
        """Map ``(B, C, H, W)`` to the same shape, with the routing decision of each image."""
        normed = self.norm_attention(x)
        shared = self.shared(self.to_shared(normed))
        routed, decision = self.mixture(self.to_experts(normed), shared, embedding, request)
        x = x + self.cross(routed, shared)
        if self.added is not None:
            x = x + self.added(routed)
        return x + self.ffn(self.norm_ffn(x)), decision


class EncoderStage(nn.Module):
    """Blocks at one resolution; their output is the skip connection, and ``down`` halves it for the next stage."""

    def __init__(self, config: ModelConfig, level: int, blocks: int) -> None:
        super().__init__()
        channels = config.channels(level)
        self.blocks = nn.Sequential(*(EncoderBlock(channels, config.heads[level]) for _ in range(blocks)))
        self.down = Downsample(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        return self.blocks(x)


class DecoderStage(nn.Module):
    """Double the size, join the skip connection, run the routed blocks."""

    wiring: ClassVar = {"fuse": Wiring("joined", "stream")}

    def __init__(self, config: ModelConfig, level: int, blocks: int) -> None:
        super().__init__()
        channels = config.channels(level)
        self.up = Upsample(2 * channels)
        self.fuse = conv1x1(2 * channels, channels, bias=False)
        self.blocks = nn.ModuleList(DecoderBlock(config, level) for _ in range(blocks))

    def join(self, x: Tensor, skip: Tensor) -> Tensor:
        """Bring ``(B, 2C, H/2, W/2)`` and its skip connection together in ``(B, C, H, W)``."""
        return self.fuse(torch.cat([self.up(x), skip], dim=1))


class MoCEIR(Pretrained, nn.Module):
    """The whole network.

    Call it on ``(B, 3, H, W)`` float RGB in [0, 1], any H and W from 1, and it returns the restored batch, not clamped:
    ``(B, 3, sH, sW)`` with s = ``config.scale``, which is 1 in the paper. In evaluation mode the result is
    deterministic, and each image of a batch gets what it would get alone; in training mode routing noise is drawn from
    torch's global generator.

    Args:
        config: Shape of the network; ``moceir.preset("small")`` is the one of the paper's MoCE-IR-S.
    """

    wiring: ClassVar = {"output": Wiring("stream", "inner")}

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = conv3x3(3, config.dim, bias=False)
        self.encoder = nn.ModuleList(EncoderStage(config, *stage) for stage in config.encoder_stages)
        self.latent = nn.Sequential(
            *(EncoderBlock(config.channels(3), config.heads[3]) for _ in range(config.latent_blocks))
        )
        self.frequency_embedding = FrequencyEmbedding(config.channels(3))
        self.decoder = nn.ModuleList(DecoderStage(config, *stage) for stage in config.decoder_stages)
        self.refinement = nn.Sequential(
            *(EncoderBlock(config.dim, config.heads[0]) for _ in range(config.refinement_blocks))
        )
        self.output = conv3x3(config.dim, 3, bias=False) if config.scale == 1 else Enlargement(config.dim, config.scale)

    def routers(self) -> list[Router]:
        """List the routers of all decoder blocks in order of execution (deep first)."""
        return [part for part in self.decoder.modules() if isinstance(part, Router)]

    def forward(self, images: Tensor) -> Tensor:
        """Restore ``(B, 3, H, W)`` float RGB in [0, 1]; ``(B, 3, sH, sW)`` out.

        Raises:
            ImageError: If the input is not a floating ``(B, 3, H, W)`` with at least one pixel.
        """
        return self.restore_with_routing(images)[0]

    def restore_with_routing(
        self, images: Tensor, *, noise: Tensor | None = None, routes: Tensor | None = None, effort: float = 0.0
    ) -> tuple[Tensor, list[RoutingDecision]]:
        """Restore a batch, and say which experts worked on it.

        Args:
            images: ``(B, 3, H, W)`` float RGB in [0, 1].
            noise: Standard normal routing noise, ``(decoder blocks, B, experts)``. None draws it in training mode
                and means no noise in evaluation mode.
            routes: Experts to use instead of the routers' choice, ``(decoder blocks, B, top_k)`` int64 in
                0..experts-1. The gates are still the routers' values for those experts, so forcing what was chosen
                changes nothing.
            effort: Shift of the routers' choices towards cheap (below 0) or costly experts (above 0).

        Returns:
            The restored batch ``(B, 3, sH, sW)``, and one decision per decoder block in order of execution (deep
            first).

        Raises:
            ImageError: If the input is not a floating ``(B, 3, H, W)`` with at least one pixel.
            ConfigError: If routes or effort do not fit; see `moceir.models.routing.routing_requests`.
        """
        batch = len(check_images(images))
        if noise is None and self.training:
            noise = torch.randn(self.config.routed_blocks, batch, self.config.experts, device=images.device)
        requests = routing_requests(self.config, batch, noise, routes, effort)
        features, decisions = self.features(pad_to_multiple(images, self.config.size_multiple), requests)
        return self.enlarge(features, images), decisions

    def features(self, padded: Tensor, requests: Sequence[RoutingRequest]) -> tuple[Tensor, list[RoutingDecision]]:
        """Compute the features ``(B, C, H, W)`` that the output is made from; sides are multiples of 8."""
        x = self.patch_embed(padded)
        skips: list[Tensor] = []
        for stage in cast("list[EncoderStage]", self.encoder):
            skips.append(stage(x))
            x = stage.down(skips[-1])
        x = self.latent(x)
        embedding = self.frequency_embedding(x)
        decisions: list[RoutingDecision] = []
        for stage in cast("list[DecoderStage]", self.decoder):
            x = stage.join(x, skips.pop())
            for block in stage.blocks:
                request = requests[len(decisions)]
                if decisions:
                    request = request._replace(departed=decisions[-1].departed)
                x, decision = block(x, embedding, request)
                decisions.append(decision)
        return self.refinement(x), decisions

    def enlarge(self, features: Tensor, images: Tensor) -> Tensor:
        """Add what the features of padded images say to the images ``(B, 3, H, W)``, enlarged: ``(B, 3, sH, sW)``."""
        height, width = self.config.output_size(*images.shape[-2:])
        return self.output(features)[..., :height, :width] + bicubic(images, self.config.scale)
