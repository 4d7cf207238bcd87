"""Tests of layers, attention and window convolution against direct implementations of their formulas."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from moceir.models.attention import MDTA, CrossMDTA, channel_attention
from moceir.models.experts import Expert, WindowFFTAttention, window_convolution
from moceir.models.layers import GDFN, ChannelLayerNorm, Downsample, Upsample, pad_to_multiple


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multiple", [8, 16])
@pytest.mark.parametrize("size", range(1, 21))
def test_padding_is_reflection_that_bounces(size: int, multiple: int) -> None:
    other = 21 - size
    image = random(2, 3, size, other)
    missing = (-size % multiple, -other % multiple)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (0, missing[0]), (0, missing[1])), mode="reflect")
    assert np.array_equal(pad_to_multiple(image, multiple).numpy(), expected)


def test_padding_of_whole_multiples_returns_the_image_itself() -> None:
    image = random(1, 3, 16, 24)
    assert pad_to_multiple(image, 8) is image


# --- window convolution -----------------------------------------------------------------------------------------------


def direct_window_convolution(q: NDArray[np.float64], k: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    height, width = q.shape[-2:]
    pad = ((0, 0), (0, 0), (0, -height % window), (0, -width % window))
    q, k = np.pad(q, pad), np.pad(k, pad)
    result = np.zeros_like(q)
    for top in range(0, q.shape[2], window):
        for left in range(0, q.shape[3], window):
            part = np.s_[:, :, top : top + window, left : left + window]
            for i in range(window):
                for j in range(window):
                    shifted = np.roll(k[part], (i, j), axis=(2, 3))
                    result[part] += q[part][:, :, i : i + 1, j : j + 1] * shifted
    return result[:, :, :height, :width]


@pytest.mark.parametrize(
    ("height", "width", "window"), [(8, 8, 4), (5, 7, 4), (1, 1, 4), (3, 17, 8), (16, 8, 8), (9, 20, 16), (8, 40, 32)]
)
def test_window_convolution_is_circular_in_each_window(height: int, width: int, window: int) -> None:
    q, k = random(2, 3, height, width, seed=1), random(2, 3, height, width, seed=2)
    expected = direct_window_convolution(q.numpy(), k.numpy(), window)
    ours = window_convolution(q, k, window)
    assert ours.shape == q.shape
    assert np.allclose(ours.numpy(), expected, rtol=0, atol=1e-10)


def test_window_convolution_in_single_precision() -> None:
    q, k = random(1, 2, 20, 33, seed=1), random(1, 2, 20, 33, seed=2)
    expected = direct_window_convolution(q.numpy(), k.numpy(), 16)
    assert np.allclose(window_convolution(q.float(), k.float(), 16).numpy(), expected, rtol=0, atol=1e-4)


def test_window_convolution_has_the_right_gradient() -> None:
    q, k = random(1, 2, 5, 6, seed=1).requires_grad_(), random(1, 2, 5, 6, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, k: window_convolution(q, k, 4), (q, k))


# --- channel attention ------------------------------------------------------------------------------------------------


def direct_channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Compute channel attention directly, one image and one head at a time."""
    heads = len(temperature)
    attended = torch.empty_like(v)
    for b in range(len(q)):
        split = [x[b].flatten(1).chunk(heads) for x in (q, k, v)]
        per_head: list[Tensor] = []
        for h, (q_h, k_h, v_h) in enumerate(zip(*split, strict=True)):
            q_unit = q_h / q_h.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-12)
            k_unit = k_h / k_h.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-12)
            scores = q_unit @ k_unit.T * temperature[h].item()
            per_head.append(scores.exp() / scores.exp().sum(dim=1, keepdim=True) @ v_h)
        attended[b] = torch.cat(per_head).view_as(v[b])
    return attended


@pytest.mark.parametrize(("heads", "channels"), [(1, 4), (2, 6), (4, 4), (3, 12)])
def test_channel_attention_equals_the_formula(heads: int, channels: int) -> None:
    q, k, v = (random(2, channels, 5, 7, seed=s) + 0.3 for s in range(3))
    temperature = random(heads, 1, 1, seed=4) * 3
    expected = direct_channel_attention(q, k, v, temperature)
    assert torch.allclose(channel_attention(q, k, v, temperature), expected, rtol=0, atol=1e-12)


def test_channel_attention_survives_channels_of_zeros() -> None:
    q = torch.zeros(1, 4, 3, 3)
    assert channel_attention(q, q, q, torch.ones(2, 1, 1)).isfinite().all()


def test_mdta_splits_queries_keys_and_values_in_this_order() -> None:
    torch.manual_seed(0)
    block = MDTA(6, 2, bias=True).double()
    x = random(2, 6, 5, 4)
    with torch.no_grad():
        mixed = block.qkv_depthwise(block.qkv(x))
        attended = direct_channel_attention(mixed[:, :6], mixed[:, 6:12], mixed[:, 12:], block.temperature)
        assert torch.allclose(block(x), block.out(attended), rtol=0, atol=1e-12)


def test_cross_attention_takes_queries_from_one_map_and_the_rest_from_the_other() -> None:
    torch.manual_seed(0)
    block = CrossMDTA(6, 2).double()
    query, context = random(2, 6, 9, 8, seed=1), random(2, 6, 9, 8, seed=2)
    assert block.q_depthwise.kernel_size == (3, 3)
    assert block.kv_depthwise.kernel_size == (7, 7)
    assert all(m.bias is None for m in (block.q, block.q_depthwise, block.kv, block.kv_depthwise, block.out))
    with torch.no_grad():
        q, kv = block.q_depthwise(block.q(query)), block.kv_depthwise(block.kv(context))
        attended = direct_channel_attention(q, kv[:, :6], kv[:, 6:], block.temperature)
        assert torch.allclose(block(query, context), block.out(attended), rtol=0, atol=1e-12)


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_layer_norm_is_over_the_channels_of_each_pixel() -> None:
    norm = ChannelLayerNorm(5).double()
    with torch.no_grad():
        norm.weight.copy_(random(5, seed=1))
        norm.bias.copy_(random(5, seed=2))
    x = random(2, 5, 3, 4)
    x[0, :, 0, 0] = 2.5  # for a pixel without variance, eps matters
    mean = x.mean(dim=1, keepdim=True)
    variance = (x - mean).square().mean(dim=1, keepdim=True)
    expected = (x - mean) / (variance + 1e-5).sqrt() * norm.weight.view(1, 5, 1, 1) + norm.bias.view(1, 5, 1, 1)
    assert torch.allclose(norm(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_feed_forward_gates_one_half_with_the_other(bias: bool) -> None:
    torch.manual_seed(0)
    block = GDFN(4, bias=bias).double()
    assert block.expand.weight.shape == (16, 4, 1, 1)
    assert block.depthwise.weight.shape == (16, 1, 3, 3)
    assert block.out.weight.shape == (4, 8, 1, 1)
    assert all((m.bias is not None) == bias for m in (block.expand, block.depthwise, block.out))
    x = random(2, 4, 5, 6)
    with torch.no_grad():
        wide = block.depthwise(block.expand(x))
        a, b = wide[:, :8], wide[:, 8:]
        gelu = 0.5 * a * (1 + torch.erf(a / 2**0.5))
        assert torch.allclose(block(x), block.out(gelu * b), rtol=0, atol=1e-12)


def test_up_and_downsampling_are_inverse_in_shape() -> None:
    x = random(2, 8, 6, 10).float()
    down = Downsample(8)(x)
    assert down.shape == (2, 16, 3, 5)
    assert Upsample(16)(down).shape == x.shape
    assert Upsample(8)(x).shape == (2, 4, 12, 20)


def test_downsampling_puts_the_pixels_of_a_square_side_by_side() -> None:
    block = Downsample(4).double()
    x = random(1, 4, 4, 6)
    with torch.no_grad():
        reduced = block[0](x)
        expected = torch.stack([reduced[:, c, i::2, j::2] for c in range(2) for i in range(2) for j in range(2)], dim=1)
        assert torch.equal(block(x), expected)


def test_expert_follows_its_formula() -> None:
    torch.manual_seed(0)
    expert = Expert(8, rank=2, window=4).double()
    x, shared = random(2, 8, 6, 5, seed=1), random(2, 8, 6, 5, seed=2)
    attention = expert.attention
    with torch.no_grad():
        reduced = expert.reduce(x)
        q = attention.q_depthwise(attention.q(reduced))
        kv = attention.kv_depthwise(attention.kv(reduced))
        met = torch.from_numpy(direct_window_convolution(q.numpy(), kv[:, :2].contiguous().numpy(), 4))
        attended = attention.out(attention.norm(met) * kv[:, 2:])
        guide = expert.modulate(shared)
        expected = x + expert.expand(attended * guide * guide.sigmoid())
        assert torch.allclose(expert(x, shared), expected, rtol=0, atol=1e-10)


def test_biases_of_an_expert_are_where_the_published_layout_has_them() -> None:
    attention = WindowFFTAttention(2, 4)
    biased = {key.removesuffix(".bias") for key, _ in attention.named_parameters() if key.endswith(".bias")}
    assert biased == {"q_depthwise", "kv_depthwise", "norm", "out"}
    assert not [key for key, _ in Expert(8, 2, 4).named_parameters() if key in {"reduce.bias", "expand.bias"}]
