"""Tests of stripes: they do not change results."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from moceir.config import ModelConfig
from moceir.models.execution import for_inference
from moceir.models.execution.stripes import Crop, by_stripes, stripe_rows, stripe_size
from moceir.models.network import MoCEIR
from moceir.models.presets import preset

CONFIGS = {
    "nano": preset("nano"),
    "two experts at once": ModelConfig(
        dim=8,
        encoder_blocks=(2, 0, 1),
        latent_blocks=0,
        decoder_blocks=(0, 1, 2),
        refinement_blocks=0,
        heads=(2, 1, 4, 1),
        top_k=2,
    ),
    "experts added, gates of 1": preset("nano").model_copy(update={"join": "added", "gate": "straight_through"}),
    "residual gates of two experts": preset("nano").model_copy(update={"gate": "residual", "top_k": 2}),
    "values of experts": preset("nano").model_copy(update={"join": "values"}),
    "enlarging by 3": preset("nano").model_copy(update={"scale": 3}),
}


def network(config: ModelConfig) -> MoCEIR:
    """Create a network in which every part matters; with default weights, blocks hardly change their input."""
    torch.manual_seed(0)
    built = MoCEIR(config).eval()
    with torch.no_grad():
        for part in built.modules():
            if isinstance(part, nn.Conv2d):
                fan_in = part.weight[0].numel()
                part.weight.normal_(0, fan_in**-0.5)
                if part.bias is not None:
                    part.bias.normal_(0, 0.3)
    return built


NETWORKS = {name: network(config) for name, config in CONFIGS.items()}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(CONFIGS)),
    batch=st.integers(1, 2),
    height=st.integers(1, 80),
    width=st.integers(1, 40),
    rows=st.integers(1, 40),
    columns=st.integers(0, 40),
    seed=st.integers(0, 2**31),
    free=st.booleans(),
)
def test_stripes_of_any_size_give_the_result_of_the_whole(
    name: str, batch: int, height: int, width: int, rows: int, columns: int, seed: int, free: bool
) -> None:
    model, config = NETWORKS[name], CONFIGS[name]
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, height, width, generator=generator)
    shape = (sum(config.decoder_blocks), batch, config.experts)
    routes = None if free else torch.rand(shape, generator=generator).argsort(dim=-1)[..., : config.top_k]
    before = images.clone()
    with torch.no_grad():
        whole, decided = model.restore_with_routing(images, routes=routes)
        with stripe_rows(rows, columns):
            striped, decisions = for_inference(model).restore_with_routing(images, routes=routes)
    assert torch.equal(images, before)
    for ours, expected in zip(decisions, decided, strict=True):
        assert torch.equal(ours.experts, expected.experts)
        torch.testing.assert_close(ours.gates, expected.gates, atol=1e-5, rtol=0)
    torch.testing.assert_close(striped, whole, atol=1e-5 * max(1.0, float(whole.abs().max())), rtol=0)


# --- the tool ---------------------------------------------------------------------------------------------------------


def noise_map(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("place", [None, "into", "onto"])
@pytest.mark.parametrize("columns", [0, 1, 2, 4, 7])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 11, 12])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_a_convolution_in_stripes(kernel_size: int, rows: int, columns: int, place: str | None) -> None:
    torch.manual_seed(0)
    reach = kernel_size // 2
    conv = nn.Conv2d(3, 3, kernel_size, padding=reach).double()
    x = noise_map(2, 3, 11, 6)
    with torch.no_grad(), stripe_rows(rows, columns):
        expected = x + conv(x)
        given = x.clone()
        places = {place: given} if place else {}
        added = place == "onto"
        ours = by_stripes(lambda crop, x: crop(conv(x) + (0 if added else x)), given, reach=reach, **places)
    assert torch.allclose(ours, expected, rtol=0, atol=1e-12)
    assert torch.equal(given, ours if place and (rows < 11 or 0 < columns < 6) else x), (
        "the map is overwritten only where that is allowed"
    )


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (2, 0), (4, 0), (2, 1), (3, 2), (5, 2)])
def test_finer_maps_beside_and_behind_the_first(rows: int, columns: int) -> None:
    coarse, fine = noise_map(1, 4, 5, 3), noise_map(1, 1, 10, 6, seed=1)
    shuffle = nn.PixelShuffle(2)
    sizes: list[tuple[int, int]] = []

    def function(crop: Crop, coarse: Tensor, fine: Tensor) -> Tensor:
        sizes.append((fine.shape[2], fine.shape[3]))
        return crop(shuffle(coarse)) + crop(fine)

    with torch.no_grad(), stripe_rows(rows, columns):
        ours = by_stripes(function, coarse, fine, reach=1)
    assert torch.equal(ours, shuffle(coarse) + fine)
    assert len(sizes) == -(-5 // rows) * -(-3 // (columns or 3))
    assert all(height <= 2 * (rows + 2) and width <= 2 * ((columns or 3) + 2) for height, width in sizes)


def stripes_of(x: Tensor, **options: int) -> list[tuple[int, int]]:
    """Return the heights and widths of the stripes that a map is cut into."""
    sizes: list[tuple[int, int]] = []

    def function(crop: Crop, x: Tensor) -> Tensor:
        sizes.append((crop(x).shape[2], crop(x).shape[3]))
        return crop(x) + 0

    by_stripes(function, x, **options)
    return sizes


def test_stripes_begin_at_whole_windows() -> None:
    with torch.no_grad():
        with stripe_rows(5):
            assert stripes_of(torch.zeros(1, 1, 27, 2), align=8) == [(8, 2), (8, 2), (8, 2), (3, 2)]
            assert stripes_of(torch.zeros(1, 1, 27, 2), reach=3) == [*5 * [(5, 2)], (2, 2)]
        with stripe_rows(20, 3):
            assert stripes_of(torch.zeros(1, 1, 27, 11), align=4) == [(20, 4), (20, 4), (20, 3), (7, 4), (7, 4), (7, 3)]


def test_maps_stay_whole_with_gradients_and_where_stripes_are_switched_off() -> None:
    x = torch.zeros(1, 1, 9, 2)
    with stripe_rows(4):
        assert stripes_of(x) == [(9, 2)]
        with torch.inference_mode():
            assert stripes_of(x) == [(4, 2), (4, 2), (1, 2)]
            with stripe_rows(0):
                assert stripes_of(x) == [(9, 2)]
            assert stripes_of(x) == [(4, 2), (4, 2), (1, 2)]
            with stripe_rows(None):
                assert stripes_of(x) == [(9, 2)], "too small to be worth it"


def test_large_maps_are_cut_without_being_told() -> None:
    assert stripe_size(1, 16, 3000, 512, 4, "cpu", reach=1) == (32, 512), "4 MiB of 4 * 16 channels of 4 bytes"
    with torch.no_grad():
        assert stripes_of(torch.zeros(1, 16, 70, 512), reach=1) == [(32, 512), (32, 512), (6, 512)]
    assert stripe_size(2, 16, 3000, 512, 4, "cpu", reach=1) == (16, 512)
    assert stripe_size(1, 16, 3000, 2048, 4, "cpu", reach=1) == (8, 2048)
    assert stripe_size(1, 16, 3000, 4096, 4, "cpu", reach=1) == (128, 128), "4 rows would be too low"
    assert stripe_size(1, 16, 3000, 4096, 4, "cpu", reach=3) == (24, 4096), "whole rows"
    assert stripe_size(1, 16, 30, 512, 4, "cpu", reach=1) == (30, 512)
    assert stripe_size(1, 16, 3000, 512, 4, "cuda", reach=1) == (2048, 512)


@pytest.mark.parametrize("reach", [1, 3])
@pytest.mark.parametrize("channels", [16, 64, 256])
@pytest.mark.parametrize("width", [300, 4000, 100_000])
def test_surroundings_stay_the_smaller_part(width: int, channels: int, reach: int) -> None:
    rows, columns = stripe_size(1, channels, 3000, width, 4, "cpu", reach)
    beside = 0 if columns == width else 2 * reach
    assert (rows + 2 * reach) * (columns + beside) <= 1.45 * rows * columns
