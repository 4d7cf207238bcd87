"""Tests of shared statistics: parts of a picture get the same result as the whole picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from moceir.errors import ConfigError
from moceir.models.execution import Statistics, for_inference, stripe_rows
from moceir.models.execution.statistics import mean_feature
from moceir.models.network import EncoderBlock, MoCEIR
from moceir.models.routing import RoutingDecision


def pictures(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["published", "added", "values"])
def joined(request: pytest.FixtureRequest, spread_nano: MoCEIR) -> MoCEIR:
    """A network of each form; what the published one lacks has random weights."""
    config = spread_nano.config.model_copy(update={"join": request.param})
    torch.manual_seed(0)
    network = MoCEIR(config).eval()
    for name, weight in network.named_parameters():
        if name.endswith("added.weight"):
            nn.init.normal_(weight, std=0.3)
    network.load_state_dict(spread_nano.state_dict(), strict=False)
    return network


@pytest.mark.parametrize("rows", [0, 5])
@pytest.mark.parametrize("forced", [False, True])
def test_what_a_picture_gave_changes_nothing_on_that_picture(joined: MoCEIR, forced: bool, rows: int) -> None:
    images, others = pictures(2, 37, 50), 0.02 * pictures(2, 37, 50, seed=1)
    routes = torch.tensor([[[1], [3]], [[0], [2]], [[2], [2]]]) if forced else None

    def restore(images: Tensor, whole: Statistics | None = None) -> tuple[Tensor, list[RoutingDecision]]:
        with torch.no_grad(), stripe_rows(rows):
            return for_inference(joined, whole).restore_with_routing(images, routes=routes)

    gathered = Statistics()
    plain, decided = restore(images)
    first, _ = restore(images, gathered)
    again, decisions = restore(images, Statistics(gathered))
    assert torch.equal(first, plain), "gathering statistics has no effect"
    torch.testing.assert_close(again, plain, atol=1e-5, rtol=0)
    as_part, shared = restore(others, Statistics(gathered))
    assert not torch.allclose(as_part, restore(others)[0], atol=1e-3), "statistics must change the result"
    for expected, *ours in zip(decided, decisions, shared, strict=True):
        for decision in ours:
            assert torch.equal(decision.experts, expected.experts)
            torch.testing.assert_close(decision.gates, expected.gates, atol=1e-5, rtol=0)


def test_attention_of_parts_is_that_of_the_whole() -> None:
    """Compare parts with the whole in a block where pixels depend on each other only through attention."""
    torch.manual_seed(0)
    block = EncoderBlock(4, 2).double()
    with torch.no_grad():
        for kernel in (block.attention.qkv_depthwise.weight, block.ffn.depthwise.weight):
            centre = torch.zeros_like(kernel)
            centre[:, :, 1, 1] = kernel[:, :, 1, 1]
            kernel.copy_(centre)
    x = torch.randn(2, 4, 9, 5, dtype=torch.float64) * torch.linspace(0.1, 3, 9, dtype=torch.float64).view(-1, 1)

    def run(x: Tensor, statistics: Statistics | None = None) -> Tensor:
        return for_inference(block, statistics)(x.clone(memory_format=torch.channels_last))

    parts = x.split([2, 3, 4], dim=2)
    gathered = Statistics()
    with torch.no_grad():
        alone = torch.cat([run(part, gathered) for part in parts], dim=2)
        shared = torch.cat([run(part, Statistics(gathered)) for part in parts], dim=2)
        expected = block(x)
    torch.testing.assert_close(shared, expected, atol=1e-12, rtol=0)
    assert not torch.allclose(alone, expected, atol=1e-2)


@torch.no_grad()
def test_the_mean_of_parts_is_that_of_the_whole() -> None:
    x, owner = torch.rand(2, 4, 6, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(1)
    gathered = Statistics()
    for rows in x.split([1, 2, 3], dim=2):
        torch.testing.assert_close(mean_feature(rows, owner, gathered), rows.mean(dim=(2, 3)))
    for rows in x.split(2, dim=2):
        torch.testing.assert_close(mean_feature(rows, owner, Statistics(gathered)), x.mean(dim=(2, 3)))


@torch.no_grad()
def test_statistics_of_another_batch_are_refused(nano: MoCEIR) -> None:
    gathered = Statistics()
    for_inference(nano, gathered)(pictures(2, 8, 8))
    for statistics in (gathered, Statistics(gathered)):
        with pytest.raises(ConfigError, match="statistics of 2 pictures met parts of 1"):
            for_inference(nano, statistics)(pictures(1, 8, 8))


def test_statistics_beside_gradients_are_refused(nano: MoCEIR) -> None:
    with pytest.raises(ConfigError, match="have no gradients"):
        for_inference(nano, Statistics())(pictures(1, 8, 8))
