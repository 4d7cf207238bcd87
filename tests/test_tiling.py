"""Tiles cover the picture, blend without seams, and share one route."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.models.network import MoCEIR
from moceir.profiling import sample_picture
from moceir.tiling import PROBES, SMALLEST_TILE, STEP, ramp, restore_in_tiles, spread, starts, tile_sides
from moceir.weights import load


@settings(max_examples=50, deadline=None, derandomize=True)
@given(side=st.integers(1, 5000), tile=st.integers(2, 10).map(lambda n: n * STEP))
def test_weights_add_up_to_one_on_every_pixel(side: int, tile: int) -> None:
    total = torch.zeros(side)
    for start in starts(side, tile):
        assert start % STEP == 0
        end = min(start + tile, side)
        weights = ramp(start, end - start, side)
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
@given(rows=st.integers(1, 30), columns=st.integers(1, 30))
def test_probes_are_spread_over_both_sides(rows: int, columns: int) -> None:
    probes = spread(list(range(rows)), list(range(columns)))
    assert len({y for y, _ in probes}) == min(rows, PROBES) or rows < PROBES
    assert len({x for _, x in probes}) == min(columns, PROBES) or columns < PROBES
    assert all(0 <= y < rows and 0 <= x < columns for y, x in probes)


def test_tiles_are_close_to_the_whole() -> None:
    network = load("tiny")
    images = sample_picture(420, 280)
    with torch.inference_mode():
        whole, _ = network.restore_with_routing(images)
        tiled, _ = restore_in_tiles(network, images, SMALLEST_TILE)
    assert tiled.shape == images.shape
    assert float((tiled - whole).abs().mean()) < 0.05 * float((whole - images).abs().mean())


def test_tiles_show_no_seams_even_where_they_differ() -> None:
    """Dark on one side, bright on the other: tiles are brightened by different amounts (0.1 at the border if cut)."""
    network = load("tiny")
    light = torch.linspace(0, 1, 280).view(-1, 1) * torch.linspace(0, 1, 420)
    images = sample_picture(420, 280) * (0.1 + 0.9 * light)
    with torch.inference_mode():
        tiled, decisions = restore_in_tiles(network, images, SMALLEST_TILE)
        routes = torch.stack([d.experts for d in decisions])
        whole, _ = network.restore_with_routing(images, routes=routes)
    # A seam is a jump of the difference from one row or column to the next, all along it.
    difference = (tiled - whole).mean(dim=1)[0]
    for across, along in ((0, 1), (1, 0)):
        assert float(difference.diff(dim=across).mean(dim=along).abs().max()) < 0.008, "two steps of eight bits"


def test_all_tiles_take_the_same_experts(spread_nano: MoCEIR, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves that each want experts of their own get those of the mean scores."""
    halves = [sample_picture(256, 64) * 0.02, sample_picture(256, 64)]
    images = torch.cat(halves, dim=3)
    taken: list[torch.Tensor] = []
    plain = spread_nano.restore_with_routing

    def record(images: torch.Tensor, routes: torch.Tensor | None = None):  # type: ignore[no-untyped-def]
        result = plain(images, routes=routes)
        taken.append(torch.stack([d.experts for d in result[1]]))
        return result

    monkeypatch.setattr(spread_nano, "restore_with_routing", record)
    with torch.inference_mode():
        _, decisions = restore_in_tiles(spread_nano, images, SMALLEST_TILE)
    tiles = len(starts(512, SMALLEST_TILE))
    assert len(taken) == 2 * tiles
    assert any(not torch.equal(taken[0], other) for other in taken[:tiles]), "all tiles agree: the test is empty"
    route = torch.stack([d.experts for d in decisions])
    assert all(torch.equal(route, other) for other in taken[tiles:])


def test_forced_routes_stay(spread_nano: MoCEIR) -> None:
    routes = torch.tensor([3, 0, 2]).view(3, 1, 1)
    with torch.inference_mode():
        _, decisions = restore_in_tiles(spread_nano, sample_picture(300, 16), SMALLEST_TILE, routes)
    assert torch.equal(torch.stack([d.experts for d in decisions]), routes)
    for decision in decisions:
        assert torch.allclose(decision.gates, decision.logits.softmax(dim=-1).gather(-1, decision.experts))
