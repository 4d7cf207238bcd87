"""Tests of the whole network: any size, any batch, deterministic results, gradients for all parameters."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.errors import ConfigError, ImageError
from moceir.models.cost import network_cost
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.training.losses import l1_loss


def pictures(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def mixed_batch(golden: Path) -> Tensor:
    """Load eight different images that take different routes through ``spread_nano``."""
    return load_file(golden / "nano_mixed_batch_eval.safetensors")["input"]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (37, 50), (9, 33)])
def test_each_image_of_a_batch_gets_what_it_gets_alone(
    spread_nano: MoCEIR, mixed_batch: Tensor, height: int, width: int
) -> None:
    images = mixed_batch[..., :height, :width]
    with torch.no_grad():
        together, decisions = spread_nano.restore_with_routing(images)
        assert any(len(d.experts.unique()) > 1 for d in decisions), "all images took one route: the test is weak"
        for i in range(len(images)):
            alone, decided = spread_nano.restore_with_routing(images[i : i + 1])
            assert torch.allclose(together[i : i + 1], alone, rtol=0, atol=2e-5 * float(alone.abs().max()))
            for in_batch, by_itself in zip(decisions, decided, strict=True):
                assert torch.equal(in_batch.experts[i : i + 1], by_itself.experts)
                assert torch.allclose(in_batch.gates[i : i + 1], by_itself.gates, rtol=0, atol=1e-5)


def test_order_of_the_batch_does_not_matter(spread_nano: MoCEIR, mixed_batch: Tensor) -> None:
    order = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])
    with torch.no_grad():
        restored, shuffled = spread_nano(mixed_batch), spread_nano(mixed_batch[order])
    assert torch.allclose(shuffled, restored[order], rtol=0, atol=2e-5 * float(restored.abs().max()))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(batch=st.integers(1, 2), height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_any_size_comes_back_in_that_size(batch: int, height: int, width: int, seed: int) -> None:
    network = MoCEIR(preset("nano")).eval()
    images = pictures(batch, height, width, seed)
    before = images.clone()
    with torch.no_grad():
        restored = network(images)
    assert restored.shape == images.shape
    assert restored.dtype == torch.float32
    assert restored.isfinite().all()
    assert torch.equal(images, before), "the input was changed"


def test_evaluation_neither_reads_nor_moves_the_global_generator(nano: MoCEIR) -> None:
    images = pictures(2, 24, 24)
    results: list[Tensor] = []
    with torch.no_grad():
        for seed in range(3):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            results.append(nano(images))
            assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_evaluation_adds_no_noise_to_the_scores(spread_nano: MoCEIR, mixed_batch: Tensor) -> None:
    with torch.no_grad():
        decisions = spread_nano.restore_with_routing(mixed_batch)[1]
    for d in decisions:
        assert torch.equal(d.experts[:, 0], d.logits.argmax(dim=-1))
        assert torch.allclose(d.gates[:, 0], d.logits.softmax(dim=-1).amax(dim=-1))


def test_training_draws_noise_from_the_global_generator(nano: MoCEIR) -> None:
    nano.train()
    images = pictures(2, 16, 16)

    def gates(seed: int) -> Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return torch.stack([d.gates for d in nano.restore_with_routing(images)[1]])

    assert torch.equal(gates(1), gates(1))
    assert not torch.equal(gates(1), gates(2))


def test_noise_is_scaled_to_one_over_the_number_of_experts(nano: MoCEIR) -> None:
    noise = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        decisions = nano.restore_with_routing(pictures(2, 16, 16), noise=noise)[1]
    for d, drawn in zip(decisions, noise, strict=True):
        scores = (d.logits + drawn / 4).softmax(dim=-1)
        assert torch.equal(d.experts[:, 0], scores.argmax(dim=-1))
        assert torch.allclose(d.gates[:, 0], scores.amax(dim=-1))


def test_every_parameter_gets_a_gradient_except_the_frozen_high_pass() -> None:
    torch.manual_seed(0)
    network = MoCEIR(preset("nano").model_copy(update={"top_k": 4})).train()
    restored, decisions = network.restore_with_routing(pictures(2, 32, 32))
    balance = torch.stack([d.balance_loss for d in decisions]).mean()
    (l1_loss(restored, pictures(2, 32, 32, seed=1)).mean() + 0.01 * balance).backward()
    without = {key for key, p in network.named_parameters() if p.grad is None}
    assert without == {"frequency_embedding.high_pass.weight"}
    for key, p in network.named_parameters():
        if p.grad is not None:
            assert p.grad.isfinite().all(), key
            assert p.grad.any(), f"{key} has a gradient of zero"


def test_balance_loss_alone_moves_only_what_the_router_sees(nano: MoCEIR) -> None:
    nano.train()
    torch.manual_seed(0)
    decisions = nano.restore_with_routing(pictures(4, 16, 16))[1]
    decisions[-1].balance_loss.backward()
    router = nano.decoder[2].blocks[0].mixture.router
    assert router.from_features.weight.grad.any()
    assert router.from_frequency.weight.grad.any()
    assert nano.output.weight.grad is None


@pytest.mark.parametrize(
    ("images", "named"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "uint8"),
        (torch.zeros(3, 8, 8), "(3, 8, 8)"),
        (torch.zeros(1, 4, 8, 8), "(1, 4, 8, 8)"),
        (torch.zeros(1, 1, 8, 8), "(1, 1, 8, 8)"),
        (torch.zeros(1, 3, 0, 8), "(1, 3, 0, 8)"),
        (torch.zeros(0, 3, 8, 8), "(0, 3, 8, 8)"),
    ],
    ids=["uint8", "3-D", "4 channels", "1 channel", "no rows", "no images"],
)
def test_impossible_input_is_refused_with_what_was_given(nano: MoCEIR, images: Tensor, named: str) -> None:
    with pytest.raises(ImageError) as caught:
        nano(images)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_routing_decisions_have_shapes_and_ranges(top_k: int) -> None:
    torch.manual_seed(0)
    config = preset("nano").model_copy(update={"top_k": top_k, "decoder_blocks": (2, 1, 1)})
    with torch.no_grad():
        decisions = MoCEIR(config).eval().restore_with_routing(pictures(3, 16, 24))[1]
    assert len(decisions) == 4
    for d in decisions:
        assert d.experts.shape == d.gates.shape == (3, top_k)
        assert d.logits.shape == (3, 4)
        assert d.experts.dtype == torch.int64
        assert (d.experts >= 0).all()
        assert (d.experts < 4).all()
        assert all(len(set(row)) == top_k for row in d.experts.tolist()), "an expert was chosen twice"
        assert (d.gates > 0).all()
        assert (d.gates.sum(dim=1) <= 1 + 1e-6).all()
        assert (d.gates.diff(dim=1) <= 0).all(), "the best expert must come first"


def test_forcing_the_chosen_routes_changes_nothing(spread_nano: MoCEIR, mixed_batch: Tensor) -> None:
    with torch.no_grad():
        free, chosen = spread_nano.restore_with_routing(mixed_batch)
        forced, decisions = spread_nano.restore_with_routing(
            mixed_batch, routes=torch.stack([d.experts for d in chosen])
        )
    assert torch.equal(free, forced)
    for ours, theirs in zip(decisions, chosen, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("top_k", [1, 2])
def test_forced_experts_work_with_their_own_gates(top_k: int) -> None:
    torch.manual_seed(0)
    network = MoCEIR(preset("nano").model_copy(update={"top_k": top_k})).eval()
    images = pictures(3, 16, 24)
    routes = torch.stack([torch.randperm(4, generator=torch.Generator().manual_seed(s))[:top_k] for s in range(9)])
    with torch.no_grad():
        free = network(images)
        forced, decisions = network.restore_with_routing(images, routes=routes.view(3, 3, top_k))
    assert not torch.equal(free, forced)
    for d, route in zip(decisions, routes.view(3, 3, top_k), strict=True):
        assert torch.equal(d.experts, route)
        assert torch.allclose(d.gates, d.logits.softmax(dim=-1).gather(1, route))


@pytest.mark.parametrize(
    ("routes", "telling"),
    [
        (torch.zeros(3, 1, 2, dtype=torch.int64), "expected (decoder blocks, images, top_k) = (3, 2, 2)"),
        (torch.zeros(3, 2, 2, dtype=torch.int32), "torch.int32"),
        (torch.tensor([0, 4]).expand(3, 2, 2), "from 0 to 4"),
        (torch.tensor([-1, 0]).expand(3, 2, 2), "from -1 to 0"),
        (torch.tensor([2, 2]).expand(3, 2, 2), "twice"),
    ],
    ids=["shape", "type", "too high", "negative", "twice"],
)
def test_impossible_routes_are_refused(routes: Tensor, telling: str) -> None:
    network = MoCEIR(preset("nano").model_copy(update={"top_k": 2})).eval()
    with pytest.raises(ConfigError) as caught:
        network.restore_with_routing(pictures(2, 8, 8), routes=routes)
    assert telling in str(caught.value)


def test_balance_loss_is_zero_outside_training_only(nano: MoCEIR) -> None:
    images = pictures(2, 16, 16)
    assert all(d.balance_loss.item() == 0 for d in nano.restore_with_routing(images)[1])
    nano.train()
    for d in nano.restore_with_routing(images)[1]:
        assert d.balance_loss.shape == ()
        assert d.balance_loss.item() > 0


def test_double_precision_confirms_single_precision(spread_nano: MoCEIR, mixed_batch: Tensor) -> None:
    with torch.no_grad():
        single = spread_nano(mixed_batch)
        double = spread_nano.double()(mixed_batch.double())
    assert double.dtype == torch.float64
    assert (single - double).abs().max() <= 2e-5 * double.abs().max()


def test_training_works_under_bfloat16_autocast(nano: MoCEIR) -> None:
    nano.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        restored = nano(pictures(2, 16, 16))
    assert restored.isfinite().all()


@pytest.mark.parametrize("size", [(24, 40), (13, 21)])
def test_memory_format_of_the_input_does_not_matter(nano: MoCEIR, size: tuple[int, int]) -> None:
    images = pictures(2, *size)
    strided = torch.empty(2, 3, 2 * size[0], size[1])[:, :, ::2]
    strided.copy_(images)
    with torch.no_grad():
        contiguous = nano(images)
        channels_last = nano(images.contiguous(memory_format=torch.channels_last))
        sliced = nano(strided)
    torch.testing.assert_close(contiguous, channels_last, atol=1e-5, rtol=0)
    torch.testing.assert_close(contiguous, sliced, atol=1e-5, rtol=0)


def test_network_starts_from_the_input_image() -> None:
    torch.manual_seed(0)
    network = MoCEIR(preset("nano")).eval()
    nn.init.zeros_(network.output.weight)
    images = pictures(1, 13, 21) * 2 - 0.5
    with torch.no_grad():
        assert torch.equal(network(images), images), "the residual is added to the input, and nothing is clamped"


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(dim=8, encoder_blocks=(0, 0, 0), latent_blocks=0, decoder_blocks=(1, 0, 0), refinement_blocks=0),
        ModelConfig(dim=12, encoder_blocks=(1, 0, 1), latent_blocks=1, decoder_blocks=(0, 1, 2), experts=3, top_k=3),
        ModelConfig(dim=10, encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1), heads=(5, 2, 10, 1), experts=2),
    ],
    ids=["shallow", "three experts", "two experts"],
)
def test_unusual_shapes_work(config: ModelConfig) -> None:
    with torch.no_grad():
        restored, decisions = MoCEIR(config).eval().restore_with_routing(pictures(2, 11, 16))
    assert restored.shape == (2, 3, 11, 16)
    assert len(decisions) == sum(config.decoder_blocks)


# --- presets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count"), [("nano", 1_101_480), ("small", 11_477_752), ("base", 25_353_796)])
def test_parameters_of_the_published_presets(name: str, count: int) -> None:
    with torch.device("meta"):
        network = MoCEIR(preset(name))
    assert sum(p.numel() for p in network.parameters()) == count


def test_tiny_stays_tiny() -> None:
    with torch.device("meta"):
        network = MoCEIR(preset("tiny"))
    assert sum(p.numel() for p in network.parameters()) <= 4_000_000


def test_tiny_costs_at_most_five_giga_macs_on_its_dearest_route() -> None:
    cost = network_cost(preset("tiny"), 224, 224)
    assert cost.macs(cost.dearest) <= 5e9
