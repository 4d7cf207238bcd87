"""A grown network computes what it was grown from, and learns more than copies of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.config import ModelConfig
from moceir.errors import ConfigError
from moceir.models.network import MoCEIR
from moceir.weights.growth import grow

SHALLOW = {"encoder_blocks": (1, 0, 1), "latent_blocks": 1, "decoder_blocks": (1, 1, 0), "refinement_blocks": 1}


def network(**changes: object) -> MoCEIR:
    """A network whose every weight counts: not even the scales of its norms are one."""
    torch.manual_seed(0)
    model = MoCEIR(ModelConfig.model_validate({"dim": 8, **SHALLOW, **changes}))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            moved = parameter + 0.2 * torch.randn_like(parameter)
            parameter.data = moved if "router" not in name else 3 * moved
    return model.eval()


def restored(model: MoCEIR, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    with torch.no_grad():
        output, decisions = model.double().restore_with_routing(images.double())
    return output, [decision.experts for decision in decisions]


@settings(max_examples=12, deadline=None)
@given(
    dim=st.sampled_from([8, 16, 24]),
    times=st.integers(1, 3),
    more=st.lists(st.integers(0, 2), min_size=8, max_size=8),
    top_k=st.integers(1, 2),
    seed=st.integers(0, 99),
)
def test_wider_and_deeper_is_the_same_at_first(dim: int, times: int, more: list[int], top_k: int, seed: int) -> None:
    model = network(dim=dim, top_k=top_k)
    was = model.config
    larger = ModelConfig(
        dim=times * dim,
        encoder_blocks=tuple(a + b for a, b in zip(was.encoder_blocks, more[:3], strict=True)),  # type: ignore[arg-type]
        latent_blocks=was.latent_blocks + more[3],
        decoder_blocks=tuple(a + b for a, b in zip(was.decoder_blocks, more[4:7], strict=True)),  # type: ignore[arg-type]
        refinement_blocks=was.refinement_blocks + more[7],
        top_k=top_k,
    )
    grown = grow(model, larger, seed=seed)
    assert grown.config == larger
    images = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(seed))
    before, routes = restored(model, images)
    after, more_routes = restored(grown, images)
    assert (before - images).abs().max() > 0.1
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * float(before.abs().max()))
    if not any(more[4:7]):
        assert all(torch.equal(a, b) for a, b in zip(routes, more_routes, strict=True))


def test_two_experts_of_a_width_that_four_does_not_divide() -> None:
    model = network(dim=10, experts=2, heads=(1, 2, 4, 8))
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    grown = grow(model, model.config.model_copy(update={"dim": 20}))
    before = restored(model, images)[0]
    torch.testing.assert_close(restored(grown, images)[0], before, rtol=0, atol=1e-5 * float(before.abs().max()))


@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("gate", ["straight_through", "residual"])
@pytest.mark.parametrize("join", ["published", "added"])
def test_the_gate_of_the_published_join_becomes_another(join: str, gate: str, top_k: int) -> None:
    model = network(top_k=top_k)
    images = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    grown = grow(model, model.config.model_copy(update={"join": join, "gate": gate}))
    before, routes = restored(model, images)
    after, same = restored(grown, images)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * float(before.abs().max()))
    assert all(torch.equal(a, b) for a, b in zip(routes, same, strict=True))


@pytest.mark.parametrize("gate", ["softmax", "straight_through"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_the_published_join_grows_into_the_added_one_exactly(top_k: int, gate: str) -> None:
    model = network(top_k=top_k, gate=gate)
    images = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    grown = grow(model, model.config.model_copy(update={"join": "added"}))
    before, routes = restored(model, images)
    after, same = restored(grown, images)
    assert torch.equal(after, before)
    assert all(torch.equal(a, b) for a, b in zip(routes, same, strict=True))
    grown.train()
    (grown(images.double()) - images).square().mean().backward()
    assert grown.get_parameter("decoder.0.blocks.0.added.weight").grad.any(), "the new path can wake"


@pytest.mark.parametrize("join", ["published", "added", "values"])
def test_straight_through_gates_become_residual(join: str) -> None:
    model = network(join=join, gate="straight_through")
    images = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    before, routes = restored(model, images)
    after, same = restored(grow(model, model.config.model_copy(update={"gate": "residual"})), images)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5 * float(before.abs().max()))
    assert all(torch.equal(a, b) for a, b in zip(routes, same, strict=True))


@pytest.mark.parametrize("join", ["added", "values"])
def test_other_joins_grow_as_the_published_one(join: str) -> None:
    model = network(join=join)
    larger = model.config.model_copy(update={"dim": 16, "decoder_blocks": (2, 1, 1)})
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    before = restored(model, images)[0]
    torch.testing.assert_close(
        restored(grow(model, larger), images)[0], before, rtol=0, atol=1e-5 * float(before.abs().max())
    )


def test_the_network_it_is_grown_from_and_the_generator_stay_as_they_are() -> None:
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    grow(model, model.config.model_copy(update={"dim": 16}))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_seeds_draw_the_shares() -> None:
    model = network()
    larger = model.config.model_copy(update={"dim": 16})
    first, again, other = (grow(model, larger, seed=seed).state_dict()["output.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_copies_learn_different_things_and_new_blocks_wake() -> None:
    model = network()
    grown = grow(model, model.config.model_copy(update={"dim": 16, "latent_blocks": 2})).train()
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    (grown(images) - images.flip(3)).square().mean().backward()
    gradients = grown.get_parameter("encoder.0.blocks.0.ffn.depthwise.weight").grad.flatten(1)
    likeness = torch.cosine_similarity(gradients[::2], gradients[1::2])
    assert likeness.mean() < 0.5  # 1 where copies are read with equal shares
    for last in ("latent.1.attention.out.weight", "latent.1.ffn.out.weight"):
        assert not grown.get_parameter(last).any()
        assert grown.get_parameter(last).grad.isfinite().all()
        assert grown.get_parameter(last).grad.any()


@pytest.mark.parametrize(
    ("changes", "telling"),
    [
        ({"dim": 8}, "dim 16 to 8"),
        ({"dim": 24}, "dim 16 to 24"),
        ({"dim": 16, "latent_blocks": 0}, r"blocks \(1, 0, 1, 1, 1, 1, 0, 1\) to \(1, 0, 1, 0, 1, 1, 0, 1\)"),
        ({"dim": 16, "heads": (1, 1, 1, 1)}, r"heads \(1, 2, 4, 8\) to \(1, 1, 1, 1\)"),
        ({"dim": 16, "experts": 3}, "experts 4 to 3"),
        ({"dim": 16, "top_k": 2}, "top_k 1 to 2"),
        ({"dim": 8, "scale": 2}, "dim 16 to 8"),
        ({"dim": 16, "join": "values"}, "join published to values"),
    ],
)
def test_shapes_that_cannot_hold_it(changes: dict[str, object], telling: str) -> None:
    model = network(dim=16)
    with pytest.raises(ConfigError, match=telling):
        grow(model, model.config.model_copy(update=changes))


@pytest.mark.parametrize(
    ("own", "other", "telling"),
    [
        ({"join": "added"}, {"gate": "straight_through"}, "gate softmax to straight_through"),
        ({"gate": "straight_through"}, {"gate": "softmax"}, "gate straight_through to softmax"),
    ],
)
def test_other_changes_of_the_gate_are_refused(own: dict[str, object], other: dict[str, object], telling: str) -> None:
    model = network(**own)
    with pytest.raises(ConfigError, match=telling):
        grow(model, model.config.model_copy(update=other))
