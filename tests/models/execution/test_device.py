"""Layers for compilers of accelerators compute what the usual ones do, gradients included."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from moceir.models.execution import device
from moceir.models.execution.views import view
from moceir.models.experts import WindowFFTAttention, window_convolution
from moceir.models.layers import ChannelLayerNorm, depthwise
from moceir.models.network import MoCEIR


def map_of(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def assert_same(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
    """Compare results and gradients of all inputs and parameters."""
    results = [function(*inputs) for function in (ours, theirs)]
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
    probe = map_of(*results[0].shape, seed=9).detach()
    parameters = [list(f.parameters()) if isinstance(f, nn.Module) else [] for f in (ours, theirs)]
    gradients = [
        torch.autograd.grad((result * probe).sum(), [*inputs, *own])
        for result, own in zip(results, parameters, strict=True)
    ]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def adapted(layer: nn.Module) -> tuple[nn.Module, nn.Module]:
    layer = layer.double()
    ours = view(layer, device.faster_class)
    assert type(ours) is not type(layer)
    return ours, layer


@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("bias", [True, False])
def test_depthwise_convolutions(size: int, bias: bool) -> None:
    ours, theirs = adapted(depthwise(6, size, bias=bias))
    assert isinstance(ours, device.ShiftedDepthwise)
    for height, width in ((9, 12), (2, 3)):
        assert_same(ours, theirs, [map_of(2, 6, height, width)])


def test_norms() -> None:
    layer = ChannelLayerNorm(5)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    assert_same(*adapted(layer), [map_of(2, 5, 4, 3)])


@pytest.mark.parametrize("window", [4, 8, 16, 32])
@pytest.mark.parametrize(("height", "width"), [(32, 64), (20, 9)])
def test_windows(window: int, height: int, width: int) -> None:
    inputs = [map_of(2, 3, height, width, seed=seed) for seed in (1, 2)]
    assert_same(
        lambda q, k: device.window_products(q, k, window), lambda q, k: window_convolution(q, k, window), inputs
    )


def test_attention_within_windows() -> None:
    assert_same(*adapted(WindowFFTAttention(4, 8)), [map_of(2, 4, 16, 8)])


def test_half_precision_stays_and_sums_are_wide() -> None:
    x = map_of(1, 4, 8, 8).detach().bfloat16()
    layer = depthwise(4, 7, bias=True)
    exact = layer(x.float())
    ours = device.shifted_products(x, layer.weight, layer.bias)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, device.shifted_products(x.float(), layer.weight, layer.bias).bfloat16())
    torch.testing.assert_close(ours.float(), exact, rtol=2**-8, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        windows = device.window_products(x, x, 8)
    assert windows.dtype == torch.bfloat16
    torch.testing.assert_close(windows.float(), window_convolution(x.float(), x.float(), 8), rtol=2**-8, atol=1e-5)


def test_gates_without_indexing() -> None:
    experts = torch.tensor([[2, 0], [1, 3]])
    gates = map_of(2, 2)
    expected = torch.zeros(2, 4, dtype=torch.float64).scatter(1, experts, gates)
    assert torch.equal(device.dense_gates(experts, gates, 4), expected)


def test_the_whole_network(nano: MoCEIR) -> None:
    ours = view(copy.deepcopy(nano).double(), device.faster_class)
    kinds = {type(part) for part in ours.modules()}
    assert {device.ShiftedDepthwise, device.PixelNorm, device.WindowProductAttention} <= kinds
    images = map_of(2, 3, 16, 16).detach()
    theirs = nano.double()
    results = [network(images) for network in (ours, theirs)]
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    for result in results:
        result.square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-7, atol=1e-9)
