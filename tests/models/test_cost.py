"""Tests of the cost in closed form against torch's counter of convolutions and matrix products."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from moceir.config import ModelConfig
from moceir.models.cost import NetworkCost, Route, network_cost
from moceir.models.execution import for_inference, stripe_rows
from moceir.models.network import MoCEIR
from moceir.models.presets import preset

CONFIGS = {
    "nano": preset("nano"),
    "tiny": preset("tiny"),
    "small": preset("small"),
    "top 2": preset("nano").model_copy(update={"top_k": 2, "decoder_blocks": (2, 1, 1)}),
    "three experts": ModelConfig(dim=12, encoder_blocks=(1, 0, 2), latent_blocks=1, experts=3, heads=(3, 2, 4, 1)),
    "added": preset("nano").model_copy(update={"join": "added"}),
    "values": preset("nano").model_copy(update={"join": "values"}),
    "enlarging": preset("nano").model_copy(update={"scale": 4}),
}


def counted_macs(config: ModelConfig, route: Route, height: int, width: int) -> float:
    """Count the MACs with torch while the network runs."""
    torch.manual_seed(0)
    network = for_inference(MoCEIR(config).eval())
    routes = torch.tensor(route).unsqueeze(1)
    with torch.no_grad(), stripe_rows(0), FlopCounterMode(display=False) as counter:
        network.restore_with_routing(torch.rand(1, 3, height, width), routes=routes)
    return counter.get_total_flops() / 2


def some_route(config: ModelConfig, seed: int) -> Route:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randperm(config.experts, generator=generator)[: config.top_k].tolist()
        for _ in range(sum(config.decoder_blocks))
    ]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("nano", (64, 64)),
        ("nano", (1, 1)),
        ("nano", (33, 50)),
        ("tiny", (40, 90)),
        ("small", (48, 32)),
        ("top 2", (24, 41)),
        ("three experts", (16, 72)),
        ("added", (24, 40)),
        ("values", (24, 40)),
        ("enlarging", (24, 41)),
    ],
)
def test_macs_are_those_that_torch_counts(name: str, size: tuple[int, int]) -> None:
    config = CONFIGS[name]
    cost = network_cost(config, *size)
    for route in (cost.cheapest, cost.dearest, some_route(config, 1)):
        assert cost.macs(route) == pytest.approx(counted_macs(config, route, *size), rel=1e-9)


def test_the_published_networks_cost_what_is_published() -> None:
    """Compare with 33.4 and 73.0 GMACs at 224x224, measured with an untrained published network."""
    for name, published in (("small", 33.4e9), ("base", 73.0e9)):
        cost = network_cost(preset(name), 224, 224)
        assert cost.macs(cost.cheapest) < published < cost.macs(cost.dearest) < 1.1 * published


@pytest.mark.parametrize("shape", ["nano", "tiny"])
def test_other_joins_cost_at_most_three_percent_more(shape: str) -> None:
    macs: dict[str, int] = {}
    for join in ("published", "added", "values"):
        cost = network_cost(preset(shape).model_copy(update={"join": join}), 128, 128)
        macs[join] = cost.macs(cost.cheapest)
    assert macs["values"] == macs["published"]
    assert 0 < macs["added"] / macs["published"] - 1 < 0.03


@pytest.mark.parametrize("name", CONFIGS)
def test_cheapest_and_dearest_are_the_ends_of_all_routes(name: str) -> None:
    config = CONFIGS[name]
    cost = network_cost(config, 50, 70)
    assert len(cost.expert_macs) == len(cost.cheapest) == len(cost.dearest) == sum(config.decoder_blocks)
    for seed in range(10):
        route = some_route(config, seed)
        assert cost.macs(cost.cheapest) <= cost.macs(route) <= cost.macs(cost.dearest)
        assert cost.fft_ops(cost.cheapest) <= cost.fft_ops(route) <= cost.fft_ops(cost.dearest)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_sizes_count_as_they_are_padded(height: int, width: int) -> None:
    padded = (math.ceil(height / 8) * 8, math.ceil(width / 8) * 8)
    assert network_cost(preset("tiny"), height, width) == network_cost(preset("tiny"), *padded)


def test_fft_operations_of_one_block() -> None:
    """Count a 4x4 window of one channel by hand: three transforms of 2.5 * 16 * 4 operations, and 12 products of 6."""
    config = ModelConfig(
        dim=8, encoder_blocks=(0, 0, 0), latent_blocks=0, decoder_blocks=(0, 0, 1), refinement_blocks=0
    )
    cost: NetworkCost = network_cost(config, 8, 8)
    assert cost.expert_fft_ops[0][0] == 4 * (3 * 160 + 12 * 6), "rank 1, two by two windows"
    # A window of 32 around 8x8 pixels is transformed as a whole, in each of 8 channels.
    assert cost.expert_fft_ops[0][3] == 8 * (3 * 2.5 * 1024 * 10 + 32 * 17 * 6)
