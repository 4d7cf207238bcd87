"""What the ways of joining experts to a block let gates and experts change; docs/experts.md has the derivations."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.models.attention import CrossMDTA, channel_attention
from moceir.models.execution.inference import for_inference
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.models.routing import Router, RoutingRequest

JOINS, GATES = ("published", "added", "values"), ("softmax", "straight_through", "residual")
FORMS = list(product(JOINS, GATES))
every_form = pytest.mark.parametrize(("join", "gate"), FORMS)


def build(join: str, gate: str, top_k: int = 1) -> MoCEIR:
    """A `nano` in double precision whose every part counts and whose routers disagree about pictures."""
    config = ModelConfig.model_validate(preset("nano").model_dump() | {"join": join, "gate": gate, "top_k": top_k})
    torch.manual_seed(0)
    network = MoCEIR(config).double().eval()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.normal_(0, part.weight[0].numel() ** -0.5)
            if isinstance(part, Router):
                part.from_features.weight.normal_(0, 3)
    return network


def pictures(count: int, seed: int = 0) -> Tensor:
    """Pictures of different light."""
    noise = torch.rand(count, 3, 24, 32, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise * torch.linspace(0.2, 1, count, dtype=torch.float64).view(-1, 1, 1, 1)


def restore_with_gates(network: MoCEIR, images: Tensor, factor: float) -> Tensor:
    """Restore with all gates multiplied by a factor."""
    hooks = [
        router.register_forward_hook(
            lambda _router, _inputs, decision: decision._replace(gates=factor * decision.gates)
        )
        for router in network.routers()
    ]
    with torch.no_grad():
        restored = network(images)
    for hook in hooks:
        hook.remove()
    return restored


@pytest.mark.parametrize("top_k", [1, 2])
@every_form
def test_the_size_of_gates_counts_unless_it_scales_queries(join: str, gate: str, top_k: int) -> None:
    network, images = build(join, gate, top_k), pictures(2)
    own = restore_with_gates(network, images, 1)
    change = (restore_with_gates(network, images, 3) - own).abs().max() / (own - images).abs().max()
    assert change < 1e-12 if join == "published" and gate != "residual" else change > 1e-3


@pytest.mark.parametrize("top_k", [1, 2])
@every_form
def test_restoration_teaches_the_routers_where_gates_count(join: str, gate: str, top_k: int) -> None:
    """In the published join, only gates relative to each other or to the input count; one expert's alone does not."""
    network, images = build(join, gate, top_k), pictures(2)
    (network(images) - pictures(2, seed=1)).abs().mean().backward()
    told = {id(weight) for router in network.routers() for weight in router.parameters()}
    norms = {True: 0.0, False: 0.0}
    for weight in network.parameters():
        if weight.grad is not None:
            norms[id(weight) in told] += float(weight.grad.square().sum())
    share = math.sqrt(norms[True] / norms[False])
    assert share < 1e-14 if (join, top_k) == ("published", 1) and gate != "residual" else share > 1e-9


@every_form
def test_each_image_of_a_batch_gets_what_it_gets_alone(join: str, gate: str) -> None:
    network, images = build(join, gate), pictures(6)
    with torch.no_grad():
        together, decisions = network.restore_with_routing(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert any(len(decision.experts.unique()) > 1 for decision in decisions), "all took one route: the test is empty"
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12 * float(together.abs().max()))


@pytest.mark.parametrize("join", ["added", "values"])
def test_values_of_the_experts_reach_the_output_by_pixel(join: str) -> None:
    """Where an expert's features change at a single pixel, the output changes most near that pixel."""
    network = build(join, "softmax")
    block = network.decoder[-1].blocks[0]
    published = build("published", "softmax").decoder[-1].blocks[0]
    maps = torch.randn(2, 1, 16, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = maps[0].clone()
    moved[..., 16, 16] += 1

    def nearby(block: nn.Module) -> float:
        """Share of the change (squared) that lies within 4 pixels."""
        with torch.no_grad():
            results = [
                block.cross(routed, maps[1]) + (block.added(routed) if block.added is not None else 0)
                for routed in (maps[0], moved)
            ]
        change = (results[0] - results[1]).square().sum(dim=1)[0]
        return float(change[12:21, 12:21].sum() / change.sum())

    assert nearby(block) > 0.9
    assert nearby(published) < 0.3, "81 of 1024 pixels are as near"


# --- how far queries can move attention -------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 0.8, 1.0, 2.5, -1.5])
def test_queries_move_the_result_by_at_most_the_bound(temperature: float) -> None:
    """At each pixel by tanh(|temperature|) times the range of the head's values, whatever the queries are."""
    generator = torch.Generator().manual_seed(0)
    k, v = torch.randn(2, 1, 8, 5, 6, generator=generator, dtype=torch.float64)
    factors = torch.full((2, 1, 1), temperature, dtype=torch.float64)
    heads = v.unflatten(1, (2, 4))
    allowed = math.tanh(abs(temperature)) * (heads.amax(dim=2) - heads.amin(dim=2))
    for _ in range(50):
        q, other = torch.randn(2, 1, 8, 5, 6, generator=generator, dtype=torch.float64)
        moved = (channel_attention(q, k, v, factors) - channel_attention(other, k, v, factors)).unflatten(1, (2, 4))
        assert (moved.abs().amax(dim=2) <= allowed).all()


def test_the_bound_is_reached_by_opposite_queries_and_keys() -> None:
    line = torch.arange(1.0, 7.0, dtype=torch.float64).view(1, 1, 2, 3)
    k, v = torch.cat([line, -line], dim=1), torch.cat([torch.ones_like(line), torch.zeros_like(line)], dim=1)
    q = torch.cat([line, line], dim=1)
    temperature = torch.full((1, 1, 1), 0.7, dtype=torch.float64)
    moved = channel_attention(q, k, v, temperature) - channel_attention(-q, k, v, temperature)
    torch.testing.assert_close(moved, torch.full_like(moved, math.tanh(0.7)))


def test_the_gradient_of_queries_is_made_of_keys_and_says_nothing_about_their_length() -> None:
    """Per channel, it is orthogonal to the query and lies in the span of that query and the head's keys."""
    generator = torch.Generator().manual_seed(0)
    routed, shared, wanted = torch.randn(3, 1, 8, 12, 10, generator=generator, dtype=torch.float64)
    cross = CrossMDTA(8, 2).double()
    q, k, v = (part.detach() for part in cross.project(routed, shared))
    q.requires_grad_()
    (channel_attention(q, k, v, cross.temperature) - wanted).abs().mean().backward()
    assert q.grad is not None
    gradients, queries, keys = (x.detach()[0].flatten(1) for x in (q.grad, q, k))
    for channel in range(8):
        gradient, query = gradients[channel], queries[channel]
        length = gradient.norm()
        assert length > 0
        assert abs(gradient @ query) < 1e-12 * length * query.norm()
        head = channel // 4
        span = torch.stack([query, *keys[4 * head : 4 * head + 4]]).T
        rest = gradient - span @ torch.linalg.lstsq(span, gradient[:, None]).solution[:, 0]
        assert rest.norm() < 1e-12 * length


# --- gates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_straight_through_gates_share_one_with_the_gradient_of_the_softmax(top_k: int) -> None:
    x = torch.randn(5, 16, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    embedding = torch.zeros(5, 128, dtype=torch.float64)
    gradients: list[Tensor] = []
    for gate in GATES:
        torch.manual_seed(0)
        config = preset("nano").model_copy(update={"gate": gate, "top_k": top_k})
        router = Router(config, 0, [0.1, 0.2, 0.5, 1]).double()
        decision = router(x, embedding, RoutingRequest())
        chances = decision.logits.softmax(dim=-1).gather(-1, decision.experts)
        expected = chances if gate == "softmax" else chances / chances.sum(dim=-1, keepdim=True)
        torch.testing.assert_close(decision.gates, expected)
        (decision.gates * torch.arange(1, top_k + 1)).sum().backward()
        gradients.append(router.from_features.weight.grad)
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], gradients[2])


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("join", JOINS)
def test_residual_gates_restore_as_straight_through_gates_do(join: str, top_k: int) -> None:
    ways = [build(join, gate, top_k) for gate in ("straight_through", "residual")]
    plain, residual = (network(pictures(3)).detach() for network in ways)
    fast = for_inference(ways[1].requires_grad_(False))(pictures(3))
    close = {"rtol": 0, "atol": 1e-12 * float(plain.abs().max())}
    torch.testing.assert_close(residual, plain, **close)
    torch.testing.assert_close(fast, plain, **close)


@pytest.mark.parametrize("join", JOINS)
def test_residual_gates_learn_from_what_experts_add(join: str) -> None:
    """The gradient of the gate of a single expert is that of a factor of what it adds to its input, and of no more."""
    mixture = build(join, "residual").decoder[-1].blocks[0].mixture
    x, shared, wanted = torch.randn(3, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    embedding = torch.zeros(1, mixture.router.from_frequency.in_features, dtype=torch.float64)
    result, decision = mixture(x, shared, embedding, RoutingRequest())
    (gradient,) = torch.autograd.grad((result * wanted).sum(), decision.gates)
    with torch.no_grad():
        expert = mixture.experts[int(decision.experts)]
        expected = (mixture.out(expert(x, shared) - x) * wanted).sum()
    torch.testing.assert_close(gradient.squeeze(), expected)
