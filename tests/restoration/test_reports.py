"""Routing reports say what the network decided, what it cost and how far experts see; usage counts it over pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from moceir.config import ModelConfig
from moceir.models.cost import network_cost
from moceir.models.execution import for_inference
from moceir.models.experts import Expert
from moceir.models.network import MoCEIR
from moceir.restoration import Restorer
from moceir.restoration.reports import ExpertUsage, routing_reports


def test_routing_reports_say_what_the_network_decided(golden: Path, spread_nano: MoCEIR) -> None:
    images = load_file(golden / "nano_mixed_batch_eval.safetensors")["input"]
    with torch.no_grad():
        decisions = for_inference(spread_nano).restore_with_routing(images)[1]
    free = Restorer(spread_nano, device="cpu")
    batch, reports = free.restore(images, return_routing=True)
    assert torch.equal(batch, free.restore(images))
    assert len(reports) == len(images)
    assert len({report.experts for report in reports}) > 1
    cost = network_cost(spread_nano.config, *images.shape[-2:])
    for i, report in enumerate(reports):
        assert [list(block) for block in report.experts] == [d.experts[i].tolist() for d in decisions]
        for block, decision, macs in zip(report.blocks, decisions, cost.expert_macs, strict=True):
            assert torch.allclose(torch.tensor(block.probabilities), decision.logits[i].softmax(dim=0))
            assert block.gmacs == tuple(value / 1e9 for value in macs)
        assert report.gate_vector == tuple(torch.cat([decision.logits[i] for decision in decisions]).tolist())
        assert report.gmacs == cost.macs(report.experts) / 1e9
        assert report.cheapest_gmacs == cost.macs(cost.cheapest) / 1e9
        assert report.dearest_gmacs == cost.macs(cost.dearest) / 1e9
        assert 0 <= report.cost_position <= 1
        again = json.loads(json.dumps(report.to_json()))
        assert [block["experts"] for block in again["blocks"]] == [list(block) for block in report.experts]
        assert again["gmacs"] == report.gmacs
    one = images[0].permute(1, 2, 0).numpy()
    assert free.restore(one, return_routing=True)[1].experts == reports[0].experts


@pytest.mark.parametrize("expert", range(4))
def test_the_reach_is_how_far_an_expert_sees(expert: int) -> None:
    """The gradient of one of its pixels reaches exactly the stated square (here in its own resolution, level 0)."""
    config = ModelConfig(dim=32, encoder_blocks=(0, 0, 0), latent_blocks=0, decoder_blocks=(0, 0, 1))
    rank, window = config.expert_ranks(0)[expert], config.expert_windows()[expert]
    torch.manual_seed(0)
    module = Expert(32, rank, window).double()
    side = 3 * window
    x = torch.rand(1, 32, side, side, dtype=torch.double, requires_grad=True)
    # The pixel in the corner of the middle window: what a window brings together does not depend on where in it.
    module(x, torch.rand(1, 32, side, side, dtype=torch.double))[0, :, window, window].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0) > 0
    sides = [int(seen.any(dim=axis).sum()) for axis in (0, 1)]
    decision = MoCEIR(config).eval().restore_with_routing(torch.rand(1, 3, 8, 8))[1]
    report = routing_reports(config, decision, 8, 8)[0]
    assert sides == [report.blocks[0].reach_px[expert]] * 2
    assert report.blocks[0].ranks[expert] == rank


def test_deeper_blocks_reach_further(nano: MoCEIR) -> None:
    report = Restorer(nano, device="cpu").restore(torch.rand(1, 3, 16, 16), return_routing=True)[1][0]
    assert [block.level for block in report.blocks] == [2, 1, 0]
    assert report.blocks[0].reach_px == tuple(4 * reach for reach in report.blocks[2].reach_px)


def test_usage_counts_shares_and_evenness() -> None:
    routes = {
        "rain": [((0,), (1,)), ((0,), (2,)), ((0,), (1,)), ((0,), (2,))],
        "haze": [((1,), (1,)), ((1,), (1,))],
    }
    usage = ExpertUsage.of_routes(routes, 4)
    assert usage.counts == {"rain": [[4, 0, 0, 0], [0, 2, 2, 0]], "haze": [[0, 2, 0, 0], [0, 2, 0, 0]]}
    assert usage.shares("rain") == [[1, 0, 0, 0], [0, 0.5, 0.5, 0]]
    assert usage.percent_rows()[0] == ["rain", "100 / 0 / 0 / 0", "0 / 50 / 50 / 0"]
    assert usage.entropy_bits("rain") == [0, 1]
    assert usage.dead() == [(0, 2), (0, 3), (1, 0), (1, 3)]
    even = ExpertUsage.of_routes({"all": [((e,),) for e in range(4)]}, 4)
    assert even.entropy_bits("all") == [2]
    assert even.dead() == []
    assert json.loads(json.dumps(usage.to_json()))["haze"]["shares"] == [[0, 1, 0, 0], [0, 1, 0, 0]]


def test_usage_with_several_experts_per_block() -> None:
    usage = ExpertUsage.of_routes({"x": [((0, 3),), ((1, 3),)]}, 4)
    assert usage.counts == {"x": [[1, 1, 0, 2]]}
    assert math.isclose(usage.entropy_bits("x")[0], 1.5)


def test_reports_can_be_drawn(nano: MoCEIR) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    report = Restorer(nano, device="cpu").restore(torch.rand(1, 3, 16, 16), return_routing=True)[1][0]
    axes = report.plot(Figure().subplots())
    assert len(axes.patches) == 3, "the choice of each block is outlined"
    assert {text.get_text().split("\n")[0] for text in axes.texts} == {
        f"{share:.0%}" for block in report.blocks for share in block.probabilities
    }
