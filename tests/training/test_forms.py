"""The gate in front of fast steps: what it lets pass, what it refuses, and that trials leave nothing behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moceir.data.synthesis import Sample
from moceir.models.execution import device as device_layers
from moceir.models.execution import for_training
from moceir.models.execution.training import AllAtOnceMixture
from moceir.models.execution.views import view
from moceir.models.network import DecoderBlock, EncoderBlock, MoCEIR
from moceir.recipe import Recipe
from moceir.training import forms
from moceir.training.forms import PLAIN, Form, agreement, choose_step, forms_for, plain_gradients
from moceir.training.learner import Learner
from moceir.training.team import Team

RECIPE = Recipe.model_validate(
    {
        "steps": 1,
        "stages": [{"share": 1, "patch_px": 16, "batch": 2}],
        "tasks": {"noise": 1},
        "optimizer": {"lr": 1e-3, "schedule": "stretches"},
        "ema_decay": 0.5,
    }
)


@pytest.fixture
def learner(nano: MoCEIR) -> Learner:
    return Learner(nano, RECIPE, torch.device("cpu"), Team())


@pytest.fixture
def batch() -> tuple[Sample, Tensor]:
    generator = torch.Generator().manual_seed(0)
    degraded, clean = torch.rand(2, 2, 3, 16, 16, generator=generator)
    return Sample(degraded, clean, torch.zeros(2)), torch.randn(3, 2, 4, generator=generator)


def everything(learner: Learner) -> list[Tensor]:
    state = learner.state(0)
    parts = (state.weights, state.average, state.means, state.squares)
    return [value.clone() for part in parts for value in part.values()] + [learner.totals.clone()]


def test_device_layers_pass_and_their_trial_leaves_nothing(learner: Learner, batch: tuple[Sample, Tensor]) -> None:
    learner.step(*batch)  # moments and average that could be spoilt
    before = everything(learner)
    said: list[str] = []
    step = choose_step(learner, *batch, [Form(adapted=True), PLAIN], said.append)
    assert said[0] == "preparing a step: device layers"
    assert len(said) == 2
    assert said[1].startswith("step: device layers (gradients agree with the plain ones by 1.0000")
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(everything(learner), before, strict=True))
    assert any(isinstance(part, device_layers.WindowProductAttention) for part in learner.view.modules())
    learner.rate.fill_(1e-3)
    step(*batch)
    assert not torch.equal(everything(learner)[0], before[0])


def test_wrong_gradients_are_refused_and_undone(
    learner: Learner, batch: tuple[Sample, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        normed = torch.nn.functional.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, epsilon)
        return normed.permute(0, 3, 1, 2).detach() + 0 * x  # the right values, and no gradient

    monkeypatch.setattr(device_layers, "pixel_norm", wrong)
    said: list[str] = []
    step = choose_step(learner, *batch, [Form(adapted=True), PLAIN], said.append)
    assert step == learner.step
    assert said[1].startswith("step not device layers: gradients agree")
    assert said[2] == "step: plain"
    assert not any(isinstance(part, device_layers.PixelNorm) for part in learner.view.modules())


def test_what_cannot_be_built_gives_way(
    learner: Learner, batch: tuple[Sample, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler here\nand a long trace")

    monkeypatch.setattr(torch.nn.Module, "compile", refuse)
    said: list[str] = []
    chosen = choose_step(learner, *batch, forms_for(torch.device("cpu"), compiled=True), said.append)
    assert chosen == learner.step
    assert said[1:] == ["step not compiled: no compiler here", "step: plain"]
    assert not any(isinstance(part, AllAtOnceMixture) for part in learner.view.modules())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # tracing touches what torch has deprecated
def test_blocks_can_be_compiled_without_a_break(learner: Learner, batch: tuple[Sample, Tensor]) -> None:
    learner.view = view(for_training(learner.network, fixed_shapes=True), device_layers.faster_class)
    blocks = [part for part in learner.view.modules() if isinstance(part, EncoderBlock | DecoderBlock)]
    chosen = [next(block for block in blocks if isinstance(block, kind)) for kind in (EncoderBlock, DecoderBlock)]
    for block in chosen:
        block.compile(dynamic=False, backend="aot_eager", fullgraph=True)
    learner.step(*batch)
    ours = {name: p.grad for name, p in learner.named.items()}
    whole, worst = agreement(ours, plain_gradients(learner, *batch))
    assert whole > 0.9999
    assert worst[1] > 0.999


def test_repeated_pairs_have_the_gradients_of_the_few(
    learner: Learner, batch: tuple[Sample, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "MOST_FOR_GATE", 1)
    said: list[str] = []
    choose_step(learner, *batch, [Form(adapted=True), PLAIN], said.append)
    assert "gradients agree with the plain ones by 1.0000" in said[1]


def test_agreement_finds_the_block_that_differs() -> None:
    generator = torch.Generator().manual_seed(0)
    names = ("patch_embed.weight", "encoder.0.blocks.1.ffn.a", "encoder.0.blocks.1.ffn.b", "latent.2.norm.weight")
    gradients = {name: torch.randn(50, generator=generator) for name in names}
    assert agreement(gradients, gradients) == (pytest.approx(1), ("patch_embed.weight", pytest.approx(1)))
    turned = gradients | {names[2]: -gradients[names[2]]}
    whole, (block, cosine) = agreement(turned, gradients)
    a, b = (gradients[name].square().sum().item() for name in names[1:3])
    assert block == "encoder.0.blocks.1"
    assert cosine == pytest.approx((a - b) / (a + b))
    assert cosine < whole < 1
    broken = gradients | {names[3]: gradients[names[3]] * torch.nan}
    assert agreement(broken, gradients) == (-1, ("latent.2", -1))


def test_forms_of_devices() -> None:
    def names(device: str, **wanted: bool) -> list[str]:
        return [str(form) for form in forms_for(torch.device(device), **wanted)]

    assert names("cpu", compiled=False) == ["plain"]
    assert names("cpu", compiled=True) == ["compiled", "plain"]
    assert names("cuda", compiled=False, adapted=True) == ["one CUDA graph", "plain"]
    compiled = ["compiled, one CUDA graph", "compiled", "one CUDA graph", "plain"]
    assert names("cuda", compiled=True) == compiled
    faster = ["device layers, compiled, one CUDA graph", "device layers, compiled"]
    assert names("cuda", compiled=True, adapted=True) == faster + compiled
