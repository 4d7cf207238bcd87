"""Tests of views for training: the same results and gradients as the plain network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from moceir.config import ModelConfig
from moceir.models.execution import for_training
from moceir.models.execution.training import CosinesWithGradient
from moceir.models.network import MoCEIR


@pytest.mark.parametrize("gate", ["softmax", "straight_through", "residual"])
@pytest.mark.parametrize("join", ["published", "added", "values"])
@pytest.mark.parametrize("fixed_shapes", [False, True])
def test_gradients_are_those_of_the_plain_network(fixed_shapes: bool, join: str, gate: str) -> None:
    torch.manual_seed(0)
    shape = ModelConfig(dim=8, encoder_blocks=(1, 0, 0), latent_blocks=1, decoder_blocks=(1, 0, 1))
    network = MoCEIR(shape.model_copy(update={"join": join, "gate": gate})).double()
    for name, weight in network.named_parameters():
        if name.endswith("added.weight"):
            nn.init.normal_(weight)  # zeros would hide the gradients behind them
    images, noise = torch.rand(3, 3, 16, 24).double(), torch.randn(2, 3, 4).double()
    results = []
    for each in (network, for_training(network, fixed_shapes=fixed_shapes)):
        network.zero_grad()
        restored, decisions = each.restore_with_routing(images, noise=noise)
        (restored.square().mean() + decisions[0].balance_loss).backward()
        # An expert without images has no gradient or a gradient of zeros.
        gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in network.named_parameters()}
        results.append((restored, gradients))
    torch.testing.assert_close(results[1], results[0], rtol=1e-8, atol=1e-10)


def test_weights_trained_in_a_view_are_those_of_the_network() -> None:
    torch.manual_seed(0)
    network = MoCEIR(ModelConfig(dim=8, encoder_blocks=(0, 0, 0), latent_blocks=0, decoder_blocks=(1, 0, 0)))
    trained = for_training(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images = torch.rand(1, 3, 8, 8)
    before = network(images)
    trained(images).mean().backward()
    optimizer.step()
    after = network(images)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(trained(images), after)


def test_channel_cosines_and_their_gradients_are_those_of_the_formula() -> None:
    q, k = torch.randn(2, 2, 12, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, k = q.requires_grad_(), k.requires_grad_()
    expected = F.normalize(q, dim=1).transpose(1, 2) @ F.normalize(k, dim=1)
    torch.testing.assert_close(CosinesWithGradient.apply(q, k), expected)
    assert torch.autograd.gradcheck(CosinesWithGradient.apply, (q, k))


def test_channel_cosines_of_an_empty_channel_are_zero_with_finite_gradients() -> None:
    q, k = torch.rand(2, 1, 9, 2, generator=torch.Generator().manual_seed(0))
    q[..., 0] = 0
    q.requires_grad_()
    cosines = CosinesWithGradient.apply(q, k)
    cosines.sum().backward()
    assert (cosines[:, 0] == 0).all()
    assert q.grad is not None
    assert q.grad.isfinite().all()
