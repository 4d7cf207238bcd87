"""The yardstick computes what the network computes: else comparing their times would mean nothing."""

import copy

import pytest
import torch
from straightforward import Straightforward
from torch import Tensor

from moceir.models.network import MoCEIR
from moceir.training.losses import l1_loss, spectral_l1_loss


def twin_of(network: MoCEIR) -> Straightforward:
    twin = Straightforward(network.config)
    twin.load_state_dict(network.state_dict())
    return twin.train(network.training)


def images(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 72), (37, 51), (1, 9)])
def test_same_pictures_and_routes(spread_nano: MoCEIR, height: int, width: int) -> None:
    degraded = images(3, height, width)
    with torch.inference_mode():
        ours, decisions = spread_nano.restore_with_routing(degraded)
        theirs, their_decisions = twin_of(spread_nano).restore_with_routing(degraded)
    # These weights are as large as random numbers are, and so are the outputs.
    torch.testing.assert_close(theirs / ours.abs().max(), ours / ours.abs().max(), atol=1e-5, rtol=0)
    for mine, other in zip(decisions, their_decisions, strict=True):
        assert torch.equal(mine.experts, other.experts)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (39, 52)])
def test_same_gradients_of_a_training_step(nano: MoCEIR, height: int, width: int) -> None:
    # In double precision, so that it is the formulas that are compared and not the rounding.
    network = copy.deepcopy(nano).double().train()
    degraded, clean = (images(4, height, width, seed).double() for seed in (1, 2))
    noise = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gradients: list[dict[str, Tensor]] = []
    chosen: set[int] = set()
    for model in (network, twin_of(network).double()):
        restored, decisions = model.restore_with_routing(degraded, noise)
        balance = torch.stack([d.balance_loss for d in decisions]).mean()
        pictures = (l1_loss(restored, clean) + 0.1 * spectral_l1_loss(restored, clean)).mean()
        (pictures + 0.01 * balance).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        chosen |= set(torch.cat([d.experts for d in decisions]).flatten().tolist())
    assert len(chosen) > 2
    assert gradients[0].keys() == gradients[1].keys()
    for name, ours in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], ours, atol=1e-5 * float(ours.abs().max()) + 1e-12, rtol=0)


def test_a_training_step_in_single_precision(nano: MoCEIR) -> None:
    degraded, noise = images(2, 64, 64), torch.zeros(3, 2, 4)
    ours, theirs = (model.restore_with_routing(degraded, noise)[0] for model in (nano.train(), twin_of(nano.train())))
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)
