"""Tiles cover the picture, blend without seams, and share one route."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.evaluation.profiling import sample_picture
from moceir.models.execution.statistics import Statistics
from moceir.models.layers import bicubic
from moceir.models.network import MoCEIR
from moceir.restoration.tiles import SMALLEST_TILE, STEP, ramp, starts, tile_sides
from moceir.restoration.tiling import PATCH, restore_in_tiles, sample, spread
from moceir.weights import load
from moceir.weights.growth import grow


@settings(max_examples=50, deadline=None, derandomize=True)
@given(side=st.integers(1, 5000), tile=st.integers(2, 10).map(lambda n: n * STEP))
def test_weights_add_up_to_one_on_every_pixel(side: int, tile: int) -> None:
    total = torch.zeros(side)
    for start in starts(side, tile):
        assert start % STEP == 0
        end = min(start + tile, side)
        weights = torch.from_numpy(ramp(start, end - start, side))
        assert (weights >= 0).all()
        total[start:end] += weights
    assert torch.allclose(total, torch.ones(side))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(largest=st.integers(1, 20_000))
def test_sides_to_try_get_smaller_down_to_the_smallest(largest: int) -> None:
    sides = list(tile_sides(largest))
    assert all(side % STEP == 0 for side in sides)
    assert sides == sorted(set(sides), reverse=True)
    assert sides == [] if largest <= SMALLEST_TILE else sides[0] < largest and sides[-1] == SMALLEST_TILE


@settings(max_examples=50, deadline=None, derandomize=True)
@given(length=st.integers(1, 20_000), side=st.integers(2, 10).map(lambda n: n * STEP))
def test_a_sample_sees_all_of_a_side_in_equal_distances(length: int, side: int) -> None:
    picked = spread(length, side)
    assert len(picked) == min(length, side)
    assert (picked.diff() > 0).all(), "no pixel twice, none out of order"
    assert picked[0] >= 0
    assert picked[-1] < length
    gaps = torch.cat([picked[:1], picked.diff() - 1, length - 1 - picked[-1:]])
    patches = max(side // PATCH, 1)
    assert gaps.max() <= max(length - len(picked), 0) / patches + 1


def test_a_sample_is_made_of_the_pictures_own_pixels() -> None:
    images = torch.arange(300 * 900).view(1, 1, 300, 900)
    taken = sample(images, SMALLEST_TILE)
    assert taken.shape == (1, 1, SMALLEST_TILE, SMALLEST_TILE)
    patch = taken[..., :PATCH, :PATCH]
    top, left = divmod(int(patch[0, 0, 0, 0]), 900)
    assert torch.equal(patch, images[..., top : top + PATCH, left : left + PATCH])
    assert torch.equal(sample(images[..., :256], SMALLEST_TILE)[..., 0, :], images[..., spread(300, 256)[0], :256])


def test_tiles_are_close_to_the_whole() -> None:
    network = load("tiny")
    images = sample_picture(420, 280)
    with torch.inference_mode():
        whole, _ = network.restore_with_routing(images)
        tiled, _ = restore_in_tiles(network, images, SMALLEST_TILE)
    assert tiled.shape == images.shape
    assert float((tiled - whole).abs().mean()) < 0.05 * float((whole - images).abs().mean())


def test_enlarged_tiles_are_close_to_the_whole() -> None:
    tiny = load("tiny")
    network = grow(tiny, tiny.config.model_copy(update={"scale": 2}))
    tail = network.get_submodule("output.0").get_parameter("weight")
    tail.data.normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
    images = sample_picture(420, 280)
    with torch.inference_mode():
        whole, _ = network.restore_with_routing(images)
        tiled, _ = restore_in_tiles(network, images, SMALLEST_TILE)
    assert tiled.shape == (1, 3, 2 * images.shape[2], 2 * images.shape[3])
    added = float((whole - bicubic(images, 2)).abs().mean())
    assert 0 < float((tiled - whole).abs().mean()) < 0.05 * added


def dusk() -> torch.Tensor:
    """Dark in one corner, bright in the other."""
    light = torch.linspace(0, 1, 280).view(-1, 1) * torch.linspace(0, 1, 420)
    return sample_picture(420, 280) * (0.1 + 0.9 * light)


def test_tiles_show_no_seams_even_where_they_differ() -> None:
    """Dark on one side, bright on the other: tiles are brightened by different amounts (0.1 at the border if cut)."""
    network, images = load("tiny"), dusk()
    with torch.inference_mode():
        tiled, decisions = restore_in_tiles(network, images, SMALLEST_TILE)
        routes = torch.stack([d.experts for d in decisions])
        whole, _ = network.restore_with_routing(images, routes=routes)
    # A seam is a jump of the difference from one row or column to the next, all along it.
    difference = (tiled - whole).mean(dim=1)[0]
    for across, along in ((0, 1), (1, 0)):
        assert float(difference.diff(dim=across).mean(dim=along).abs().max()) < 0.008, "two steps of eight bits"


@torch.inference_mode()
def test_shared_statistics_bring_tiles_nearer_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = load("tiny"), dusk()
    whole, _ = network.restore_with_routing(images)
    shared, _ = restore_in_tiles(network, images, SMALLEST_TILE)
    monkeypatch.setattr(Statistics, "exchange", lambda _self, _part, sums: sums)
    own, _ = restore_in_tiles(network, images, SMALLEST_TILE)
    assert float((shared - whole).abs().mean()) < 0.5 * float((own - whole).abs().mean())


def test_all_tiles_take_the_same_experts(spread_nano: MoCEIR, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves that each want experts of their own get those of the sample; no pass sees more than a tile."""
    halves = [sample_picture(256, 64) * 0.02, sample_picture(256, 64)]
    images = torch.cat(halves, dim=3)
    taken: list[torch.Tensor] = []
    widths: list[int] = []
    plain = spread_nano.restore_with_routing

    def record(images: torch.Tensor, **options: Any) -> Any:
        result = plain(images, **options)
        taken.append(torch.stack([d.experts for d in result[1]]))
        widths.append(images.shape[-1])
        return result

    monkeypatch.setattr(spread_nano, "restore_with_routing", record)
    with torch.inference_mode():
        _, decisions = restore_in_tiles(spread_nano, images, SMALLEST_TILE)
        wanted = [torch.stack([d.experts for d in plain(half)[1]]) for half in halves]
    assert widths == [256] * (1 + 2 + len(starts(512, SMALLEST_TILE)))
    assert not torch.equal(*wanted), "the halves agree: the test is empty"
    route = torch.stack([d.experts for d in decisions])
    assert all(torch.equal(route, other) for other in taken)


def test_forced_routes_stay(spread_nano: MoCEIR) -> None:
    routes = torch.tensor([3, 0, 2]).view(3, 1, 1)
    with torch.inference_mode():
        _, decisions = restore_in_tiles(spread_nano, sample_picture(300, 16), SMALLEST_TILE, routes)
    assert torch.equal(torch.stack([d.experts for d in decisions]), routes)
    for decision in decisions:
        assert torch.allclose(decision.gates, decision.logits.softmax(dim=-1).gather(-1, decision.experts))
