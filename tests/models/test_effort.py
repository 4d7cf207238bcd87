"""Tests of effort: less effort never costs more, in any network, and images of a batch do not affect each other."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moceir.errors import ConfigError
from moceir.models.cost import Route, network_cost
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.models.routing import shifted_decisions, with_effort

SHIFTS = (-1e308, -1e4, -4.0, -1.0, -0.2, 0.0, 0.2, 1.0, 4.0, 1e4, 1e308)
COMPLEXITY = torch.tensor([0.1, 0.25, 0.5, 1.0])


def walk(seed: int, shift: float, top_k: int, blocks: int = 5) -> list[list[int]]:
    """Return the route through a network whose scores depend randomly on the experts of earlier blocks."""
    route, departed = [], torch.zeros(1, dtype=torch.bool)
    for _ in range(blocks):
        generator = torch.Generator().manual_seed(hash((seed, *(tuple(sorted(block)) for block in route))))
        scores = torch.randn(1, 4, generator=generator)
        chosen = scores.topk(top_k).indices
        if shift:
            chosen, departed = with_effort(scores, chosen, COMPLEXITY, shift, departed)
        route.append(chosen[0].tolist())
    return route


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**30),
    top_k=st.integers(1, 4),
    shifts=st.lists(st.floats(-6, 6), min_size=2, max_size=2).map(sorted),
)
def test_less_effort_never_costs_more_however_later_blocks_answer(seed: int, top_k: int, shifts: list[float]) -> None:
    costs = network_cost(preset("tiny").model_copy(update={"top_k": top_k}), 64, 64)
    less, more = (costs.macs(walk(seed, shift, top_k)) for shift in shifts)
    assert less <= more


def diverse_network(seed: int, top_k: int) -> MoCEIR:
    """Create a network with large router weights, so that routes depend on the image and on earlier experts."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = MoCEIR(preset("nano").model_copy(update={"top_k": top_k, "decoder_blocks": (2, 2, 1)})).eval()
        for router in network.routers():
            router.from_features.weight.data.normal_(std=3)
    return network


def images(count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    scale, level = torch.rand(2, count, 3, 1, 1, generator=generator)
    return (level + scale * (torch.rand(count, 3, 16, 16, generator=generator) - 0.5)).clamp(0, 1)


def routes(network: MoCEIR, effort: float) -> list[Route]:
    """Return the route of each image."""
    with torch.inference_mode():
        decisions = network.restore_with_routing(images(), effort=effort)[1]
    return torch.stack([decision.experts for decision in decisions], dim=1).tolist()


@pytest.mark.parametrize(("seed", "top_k"), [(0, 1), (1, 1), (2, 1), (3, 2), (4, 3)])
def test_less_effort_never_costs_more_in_a_network(seed: int, top_k: int) -> None:
    network = diverse_network(seed, top_k)
    cost = network_cost(network.config, 16, 16)
    costs = [[cost.macs(route) for route in routes(network, shift)] for shift in SHIFTS]
    for less, more in pairwise(costs):
        assert all(a <= b for a, b in zip(less, more, strict=True))
    assert len({tuple(row) for row in costs}) >= 4, "most shifts must change something, or this test is weak"
    assert set(costs[0]) == {cost.macs(cost.cheapest)}
    assert set(costs[-1]) == {cost.macs(cost.dearest)}


def test_an_effort_takes_the_best_shifted_score_and_then_the_end_of_the_scale() -> None:
    scores = torch.tensor([[0.0, 0.5, 0.9, 1.0]])
    not_yet = torch.tensor([False])

    def choose(scores: Tensor, own: int, effort: float, departed: Tensor = not_yet) -> tuple[int, Tensor]:
        experts, departed = with_effort(scores, torch.tensor([[own]]), COMPLEXITY, effort, departed)
        return int(experts), departed

    chosen, departed = choose(scores, 3, -0.4)
    assert chosen == 2, "0.9 - 0.2 is above 1.0 - 0.4 and 0.5 - 0.1"
    assert choose(scores, 3, -0.4, departed)[0] == 0
    chosen, departed = choose(scores, 3, 0.5)
    assert (chosen, bool(departed)) == (3, False), "the most expensive expert was chosen already, so nothing changes"
    chosen, departed = choose(scores, 2, 0.5, departed)
    assert (chosen, bool(departed)) == (3, True)
    assert choose(-scores, 0, 0.5, departed)[0] == 3


@pytest.mark.parametrize("effort", [-1.0, -0.1, 0.1, 1.0])
def test_each_image_of_a_batch_is_steered_as_if_alone(effort: float) -> None:
    network = diverse_network(0, 1)
    batch = images()
    with torch.inference_mode():
        together, decisions = network.restore_with_routing(batch, effort=effort)
        for i, image in enumerate(batch):
            alone, own = network.restore_with_routing(image[None], effort=effort)
            assert [d.experts[0].tolist() for d in own] == [d.experts[i].tolist() for d in decisions]
            torch.testing.assert_close(together[i : i + 1], alone, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("effort", [-4.0, -1.0, 1.0, 4.0])
def test_the_routers_own_decisions_tell_what_an_effort_makes_of_them(effort: float) -> None:
    network = diverse_network(0, 1)
    complexities = [router.complexity for router in network.routers()]
    with torch.inference_mode():
        own = network.restore_with_routing(images())[1]
        steered = network.restore_with_routing(images(), effort=effort)[1]
    assert any(not torch.equal(a.experts, b.experts) for a, b in zip(own, steered, strict=True))
    for foretold, decision in zip(shifted_decisions(own, complexities, effort), steered, strict=True):
        assert torch.equal(foretold.experts, decision.experts)


@pytest.mark.parametrize("effort", [-1.0, 0.0, 1.0])
def test_forcing_what_was_chosen_changes_nothing(effort: float) -> None:
    network = diverse_network(0, 2)
    with torch.inference_mode():
        chosen, decisions = network.restore_with_routing(images(), effort=effort)
        route = torch.stack([decision.experts for decision in decisions])
        forced, again = network.restore_with_routing(images(), routes=route)
    assert torch.equal(chosen, forced)
    for one, other in zip(decisions, again, strict=True):
        for name in ("experts", "gates", "logits"):
            assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("effort", [math.nan, math.inf, -math.inf])
def test_an_effort_that_is_no_number_is_refused(effort: float) -> None:
    with pytest.raises(ConfigError, match="finite number"):
        diverse_network(0, 1).restore_with_routing(images(), effort=effort)


def test_routes_leave_nothing_to_an_effort() -> None:
    route = torch.zeros(5, 6, 1, dtype=torch.int64)
    with pytest.raises(ConfigError, match="one of the two"):
        diverse_network(0, 1).restore_with_routing(images(), routes=route, effort=1.0)
