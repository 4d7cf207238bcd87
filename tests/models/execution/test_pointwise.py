"""Tests of the 1x1 convolutions with their own gradients against torch's convolution."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from moceir.models.execution.pointwise import PIXELS_AT_A_TIME, LinearConv, PixelProductConv, is_conv1x1

LAYOUTS = (torch.channels_last, torch.contiguous_format)


def pair(
    batch: int,
    channels: int,
    height: int,
    width: int,
    *,
    outputs: int,
    bias: bool = True,
    kind: type[nn.Conv2d] = PixelProductConv,
) -> tuple[Tensor, nn.Conv2d]:
    torch.manual_seed(0)
    return torch.randn(batch, channels, height, width).double(), kind(channels, outputs, 1, bias=bias).double()


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*(st.integers(1, top) for top in (3, 9, 17, 23))),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from(LAYOUTS),
    st.sampled_from([LinearConv, PixelProductConv]),
)
def test_results_and_gradients_are_those_of_a_convolution(
    shape: tuple[int, int, int, int], outputs: int, bias: bool, layout: torch.memory_format, kind: type[nn.Conv2d]
) -> None:
    x, layer = pair(*shape, outputs=outputs, bias=bias, kind=kind)
    x = x.to(memory_format=layout).requires_grad_()
    wanted = [x, *layer.parameters()]
    expected = F.conv2d(x, layer.weight, layer.bias)
    grad = torch.randn_like(expected)

    mapped = layer(x)

    torch.testing.assert_close(mapped, expected, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(mapped, wanted, grad)
    for given_, reference in zip(ours, torch.autograd.grad(expected, wanted, grad), strict=True):
        torch.testing.assert_close(given_, reference, rtol=1e-10, atol=1e-12)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pixels", [PIXELS_AT_A_TIME - 1, 3 * PIXELS_AT_A_TIME, 3 * PIXELS_AT_A_TIME + 1])
def test_no_pixel_is_left_out_of_the_gradient_of_the_weights(pixels: int) -> None:
    x, layer = pair(1, 2, 1, pixels, outputs=3)

    layer(x).sum().backward()

    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad[:, :, 0, 0], x.sum(dim=(0, 2, 3)).expand(3, 2))


def test_the_result_has_its_channels_last() -> None:
    x, layer = pair(2, 4, 5, 6, outputs=3)

    assert layer(x.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


def test_only_wanted_gradients_are_computed() -> None:
    x, layer = pair(1, 2, 3, 4, outputs=3)
    layer.requires_grad_(requires_grad=False)
    x.requires_grad_()

    layer(x).sum().backward()

    assert x.grad is not None
    assert layer.weight.grad is None


def test_autocast_chooses_the_precision() -> None:
    x, layer = pair(1, 2, 3, 4, outputs=3)

    with torch.autocast("cpu", torch.bfloat16):
        mapped = layer.float()(x.float())

    assert mapped.dtype is torch.bfloat16
    mapped.sum().backward()
    assert layer.weight.grad is not None


def test_only_plain_1x1_convolutions_are_replaced() -> None:
    assert is_conv1x1(nn.Conv2d(2, 3, 1))
    assert not is_conv1x1(nn.Conv2d(2, 3, 3))
    assert not is_conv1x1(LinearConv(2, 3, 1))
    assert not is_conv1x1(nn.Linear(2, 3))
