"""Tests of the router, the balance loss and the expert mixture against direct implementations."""

import math
from statistics import NormalDist, mean, stdev

import pytest
import torch
from torch import Tensor

from moceir.config import ModelConfig
from moceir.models.execution import for_training
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.models.routing import ExpertMixture, Router, RoutingRequest

COMPLEXITY = [0.1, 0.25, 0.5, 1.0]


def shape(top_k: int = 1, *, bias_to_cheap: bool = True) -> ModelConfig:
    """Create a configuration with eight channels at full resolution and 64 in the frequency embedding."""
    return ModelConfig(dim=8, top_k=top_k, complexity_bias=bias_to_cheap)


def router(top_k: int = 1, *, bias_to_cheap: bool = True) -> Router:
    torch.manual_seed(0)
    return Router(shape(top_k, bias_to_cheap=bias_to_cheap), 0, COMPLEXITY)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def direct_balance_loss(
    logits: list[list[float]], noisy: list[list[float]], top_k: int, weights: list[float], noise_std: float
) -> float:
    """Compute the formulas with plain numbers; rows are images, columns are experts."""

    def squared_variation(values: list[float]) -> float:
        return (stdev(values) / (mean(values) + 1e-8)) ** 2

    experts = range(len(weights))
    shares = [[math.exp(x) / sum(math.exp(y) for y in row) for x in row] for row in logits]
    importance = [weights[e] * sum(row[e] for row in shares) for e in experts]
    thresholds = [sorted(row, reverse=True)[top_k - 1] for row in noisy]
    chances = [
        [1 - NormalDist().cdf((t - x) / noise_std) for x in row] for t, row in zip(thresholds, logits, strict=True)
    ]
    load = [mean(row[e] for row in chances) for e in experts]
    return 0.5 * squared_variation(importance) + 0.5 * squared_variation(load)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("images", [1, 7])
def test_balance_loss_equals_the_formula(images: int, top_k: int, bias: bool) -> None:
    logits = random(images, 4, seed=1)
    noisy = logits + random(images, 4, seed=2) / 4
    ours = router(top_k, bias_to_cheap=bias).balance_loss(logits, noisy).item()
    weights = COMPLEXITY if bias else [1.0] * 4
    assert ours == pytest.approx(direct_balance_loss(logits.tolist(), noisy.tolist(), top_k, weights, 1 / 4), rel=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_forward_gives_the_balance_loss_of_its_own_noise(bias: bool) -> None:
    r = router(bias_to_cheap=bias)
    x, embedding, noise = random(5, 8, 3, 3), random(5, 64, seed=1), random(5, 4, seed=2)
    with torch.no_grad():
        decision = r(x, embedding, RoutingRequest(noise))
    noisy = decision.logits + 0.25 * noise
    weights = COMPLEXITY if bias else [1.0] * 4
    expected = direct_balance_loss(decision.logits.tolist(), noisy.tolist(), 1, weights, 1 / 4)
    assert decision.balance_loss.item() == pytest.approx(expected, rel=1e-5)


def importance_loss(r: Router, shares: list[float]) -> float:
    """Compute the importance part: with very large noise, all experts are equally likely and the load adds nothing."""
    r.noise_std = 1e9
    logits = torch.tensor([shares] * 3, dtype=torch.float64).log()
    return r.double().balance_loss(logits, logits).item()


def test_with_the_bias_equal_weighted_importance_is_the_minimum() -> None:
    total = sum(1 / c for c in COMPLEXITY)
    shares = [1 / c / total for c in COMPLEXITY]
    assert importance_loss(router(), shares) == pytest.approx(0, abs=1e-12)
    for expert in range(4):
        moved = [s * (1.1 if e == expert else 1) for e, s in enumerate(shares)]
        assert importance_loss(router(), moved) > 1e-4
    assert importance_loss(router(), [0.25] * 4) > 0.1


def test_without_the_bias_equal_importance_is_the_minimum() -> None:
    assert importance_loss(router(bias_to_cheap=False), [0.25] * 4) == pytest.approx(0, abs=1e-12)
    assert importance_loss(router(bias_to_cheap=False), [0.4, 0.3, 0.2, 0.1]) > 0.1


def test_balance_loss_has_the_right_gradient() -> None:
    r = router(2).double()
    logits = random(3, 4, seed=1).double().requires_grad_()
    noise = random(3, 4, seed=2).double()
    assert torch.autograd.gradcheck(lambda x: r.balance_loss(x, x + noise / 4), (logits,))


@pytest.mark.parametrize("name", ["nano", "tiny", "small"])
def test_complexity_is_the_share_of_parameters(name: str) -> None:
    mixtures = [m for m in MoCEIR(preset(name)).modules() if isinstance(m, ExpertMixture)]
    assert len(mixtures) == sum(preset(name).decoder_blocks)
    for mixture in mixtures:
        sizes = [sum(p.numel() for p in expert.parameters()) for expert in mixture.experts]
        assert sizes == sorted(set(sizes)), "sizes must increase"
        assert mixture.router.complexity.tolist() == pytest.approx([size / sizes[-1] for size in sizes])


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_router_without_noise_takes_the_best_scores(top_k: int) -> None:
    r = router(top_k)
    x, embedding = random(6, 8, 5, 4), random(6, 64, seed=1)
    with torch.no_grad():
        decision = r(x, embedding, RoutingRequest())
        scores = x.mean(dim=(2, 3)) @ r.from_features.weight.T + embedding @ r.from_frequency.weight.T
    assert torch.allclose(decision.logits, scores, atol=1e-6)
    assert torch.equal(decision.experts[:, 0], scores.argmax(dim=1))
    assert torch.equal(decision.experts, scores.argsort(dim=1, descending=True)[:, :top_k])
    assert torch.allclose(decision.gates, scores.softmax(dim=1).gather(1, decision.experts), atol=1e-6)
    assert decision.balance_loss.item() == 0


def test_noise_can_change_the_choice_but_not_the_scores() -> None:
    r = router()
    x, embedding = random(1, 8, 3, 3), random(1, 64, seed=1)
    with torch.no_grad():
        calm = r(x, embedding, RoutingRequest())
        pushed = torch.zeros(1, 4)
        pushed[0, (int(calm.experts[0, 0]) + 1) % 4] = 100
        disturbed = r(x, embedding, RoutingRequest(pushed))
    assert torch.equal(calm.logits, disturbed.logits)
    assert disturbed.experts[0, 0] == (calm.experts[0, 0] + 1) % 4


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_experts_that_get_the_whole_batch_learn_the_same(top_k: int) -> None:
    torch.manual_seed(0)
    mixture = ExpertMixture(shape(top_k), 0).double()
    x, shared = random(9, 8, 6, 7, seed=1).double(), random(9, 8, 6, 7, seed=2).double()
    embedding, noise = 10 * random(9, 64, seed=3).double(), random(9, 4, seed=4).double()

    def learn(mixture: ExpertMixture) -> list[torch.Tensor]:
        mixture.zero_grad()
        wanted = [t.clone().requires_grad_() for t in (x, shared, embedding)]
        mixed, decision = mixture(*wanted, RoutingRequest(noise))
        assert decision.experts.unique().numel() == 4
        (mixed.square().mean() + decision.balance_loss).backward()
        return [mixed, *(t.grad for t in wanted), *(p.grad for p in mixture.parameters())]

    expected = learn(mixture)
    torch.testing.assert_close(learn(for_training(mixture, fixed_shapes=True)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_mixture_equals_running_each_image_by_hand(top_k: int) -> None:
    torch.manual_seed(0)
    mixture = ExpertMixture(shape(top_k), 0).double()
    x, shared = random(9, 8, 6, 7, seed=1).double(), random(9, 8, 6, 7, seed=2).double()
    embedding = 10 * random(9, 64, seed=3).double()
    with torch.no_grad():
        ours, decision = mixture(x, shared, embedding, RoutingRequest())
        assert len(decision.experts[:, 0].unique()) == 4, "an expert is not used, so the test is weak"
        for b in range(9):
            chances = decision.logits[b].softmax(dim=0)
            chosen = chances.argsort(descending=True)[:top_k].tolist()
            summed = sum(chances[e] * mixture.experts[e](x[b : b + 1], shared[b : b + 1]) for e in chosen)
            assert torch.allclose(ours[b : b + 1], mixture.out(summed), rtol=0, atol=1e-12)
