"""Inference in stripes: the same layers, with wide intermediates that never exist whole.

Maps are channels_last: LayerNorm and the many 1x1 convolutions then read memory in order. Residuals are added in place,
and maps that nothing needs any more give their memory to the next one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.models.attention import ChannelAttention
from moceir.models.execution.attention import ChannelCosines, mix, mixing_matrix
from moceir.models.execution.pointwise import LinearConv, is_conv1x1
from moceir.models.execution.statistics import Statistics, mean_feature
from moceir.models.execution.stripes import Crop, by_stripes
from moceir.models.execution.views import Network, view
from moceir.models.experts import EXPERT_REACH, Expert
from moceir.models.layers import BICUBIC_REACH, FrequencyEmbedding, bicubic
from moceir.models.network import DecoderBlock, DecoderStage, EncoderBlock, MoCEIR
from moceir.models.routing import ExpertMixture, Router, RoutingDecision, RoutingRequest


def for_inference(network: Network, statistics: Statistics | None = None) -> Network:
    """Create a view of a network that restores fast and in little memory, where no gradients are wanted.

    Args:
        network: The network, or a part of it. Its weights become channels_last, which changes no value.
        statistics: Statistics of the pictures that the images given to the view are parts of.
    """
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's stubs lack this overload
    fast = view(network, _striped).eval()
    for part in fast.modules():
        if isinstance(part, _Sharing):
            part.statistics = statistics
    return fast


def _striped(part: nn.Module) -> type[nn.Module] | None:
    if is_conv1x1(part) and part.weight.is_cuda:
        return LinearConv
    return next((striped for plain, striped in _STRIPED.items() if type(part) is plain), None)


class _Sharing:
    """A layer that sums up over the picture, and so may have to share the sums with other parts of it."""

    statistics: Statistics | None


class _StripedEncoderBlock(_Sharing, EncoderBlock):
    def forward(self, x: Tensor) -> Tensor:
        x = _attend(self.attention, x, before=self.norm_attention, onto=x, statistics=self.statistics)
        return _feed_forward(self, x)


class _StripedDecoderBlock(_Sharing, DecoderBlock):
    def forward(self, x: Tensor, embedding: Tensor, request: RoutingRequest) -> tuple[Tensor, RoutingDecision]:
        normed = self.norm_attention(x)
        shared = _attend(self.shared, normed, before=self.to_shared, statistics=self.statistics)
        for_experts = by_stripes(lambda _, normed: self.to_experts(normed), normed, into=normed)
        routed, decision = self.mixture(for_experts, shared, embedding, request)
        if self.added is not None:
            added = self.added
            x = by_stripes(lambda _, routed: added(routed), routed, onto=x)
        x = _attend(self.cross, routed, shared, onto=x, values_into=routed, statistics=self.statistics)
        return _feed_forward(self, x), decision


class _StripedMixture(ExpertMixture):
    def forward(
        self, x: Tensor, shared: Tensor, embedding: Tensor, request: RoutingRequest
    ) -> tuple[Tensor, RoutingDecision]:
        decision = self.router(x, embedding, request)
        shares: list[tuple[Any, Tensor, Tensor]] = []  # the expert, its images, their gates
        for number, expert in enumerate(self.experts):
            image, choice = torch.where(decision.experts == number)
            if image.numel():
                shares.append((expert, image, decision.gates[image, choice].view(-1, 1, 1, 1)))

        def rows(crop: Crop, x: Tensor, shared: Tensor) -> Tensor:
            if len(shares) == 1 and len(shares[0][1]) == len(x):  # nothing to select or to put back
                expert, _, gate = shares[0]
                return self.out(gate * _expert_rows(expert, crop, x, shared))
            mixed = torch.zeros_like(crop(x))
            for expert, image, gate in shares:
                refined = gate * _expert_rows(expert, crop, x[image], shared[image])
                mixed = mixed.index_add(0, image, refined.to(mixed.dtype))  # types may differ under autocast
            return self.out(mixed)

        window = max(expert.attention.window for expert, _, _ in shares)
        return by_stripes(rows, x, shared, reach=EXPERT_REACH, align=window, into=x), decision


class _SharingRouter(_Sharing, Router):
    def forward(self, x: Tensor, embedding: Tensor, request: RoutingRequest) -> RoutingDecision:
        return self.decide(mean_feature(x, self.from_features.weight, self.statistics), embedding, request)


class _SharingEmbedding(_Sharing, FrequencyEmbedding):
    def forward(self, latent: Tensor) -> Tensor:
        return self.mlp(mean_feature(self.detail(latent), self.high_pass.weight, self.statistics))


class _StripedDecoderStage(DecoderStage):
    def join(self, x: Tensor, skip: Tensor) -> Tensor:
        def rows(crop: Crop, x: Tensor, skip: Tensor) -> Tensor:
            return self.fuse(torch.cat([crop(self.up(x)), crop(skip)], dim=1))

        return by_stripes(rows, x, skip, reach=1, into=skip)


class _StripedNetwork(MoCEIR):
    def enlarge(self, features: Tensor, images: Tensor) -> Tensor:
        scale = self.config.scale
        if scale == 1:
            return super().enlarge(features, images)
        below, beside = (whole - own for whole, own in zip(features.shape[2:], images.shape[2:], strict=True))
        # Beyond the border of the picture, ``bicubic`` repeats pixels as well.
        extended = F.pad(images, (0, beside, 0, below), mode="replicate")

        def rows(crop: Crop, features: Tensor, images: Tensor) -> Tensor:
            return crop(self.output(features)) + crop(bicubic(images, scale))

        height, width = self.config.output_size(*images.shape[2:])
        return by_stripes(rows, features, extended, reach=BICUBIC_REACH)[..., :height, :width]


_STRIPED: dict[type[nn.Module], type[nn.Module]] = {
    EncoderBlock: _StripedEncoderBlock,
    DecoderBlock: _StripedDecoderBlock,
    ExpertMixture: _StripedMixture,
    Router: _SharingRouter,
    FrequencyEmbedding: _SharingEmbedding,
    DecoderStage: _StripedDecoderStage,
    MoCEIR: _StripedNetwork,
}


def _feed_forward(block: EncoderBlock | DecoderBlock, x: Tensor) -> Tensor:
    """Compute ``x + ffn(norm_ffn(x))``; in stripes, in place."""
    ffn = block.ffn

    def rows(crop: Crop, x: Tensor) -> Tensor:
        return ffn.contract(crop(ffn.depthwise(ffn.expand(block.norm_ffn(x)))))

    return by_stripes(rows, x, reach=1, onto=x)


def _expert_rows(expert: Expert, crop: Crop, x: Tensor, shared: Tensor) -> Tensor:
    """Compute the part of an expert's result that ``crop`` leaves; windows begin at its top left."""
    q, k, v = map(crop, expert.attention.project(expert.reduce(x)))
    return expert.refine(crop(x), crop(shared), expert.attention.attend(q, k, v))


def _attend(
    attention: ChannelAttention,
    *maps: Tensor,
    before: nn.Module | None = None,
    onto: Tensor | None = None,
    values_into: Tensor | None = None,
    statistics: Statistics | None = None,
) -> Tensor:
    """Compute ``onto + attention(before(*maps))`` in two passes of stripes: the sums, then the mixing.

    Args:
        attention: The layer.
        *maps: What it attends to, ``(B, C, H, W)`` each.
        before: What each pixel of the first map passes first.
        onto: What the result is added to; in stripes, in place.
        values_into: One of the maps that nothing needs any more: in stripes, the values take its place.
        statistics: What gathers the sums and may put others in their place.
    """
    cosines = ChannelCosines()

    def values(crop: Crop, first: Tensor, *others: Tensor) -> Tensor:
        q, k, v = map(crop, attention.project(first if before is None else before(first), *others))
        cosines.add(q, k)
        return v

    v = by_stripes(values, *maps, reach=attention.reach, into=values_into)
    if statistics is not None:
        cosines.sums = statistics.exchange(attention.temperature, cosines.sums)
    mixing = mixing_matrix(cosines.matrix(), attention.temperature, attention.out)
    return by_stripes(lambda _, v: mix(v, mixing, attention.out), v, into=v, onto=onto)
