"""Tests of compiled networks: the same results as without compilation, and few graphs."""

import copy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import moceir
from moceir.config import ModelConfig
from moceir.models.execution.compilation import MOST_SIZES, CompiledInference, compiled_for_training
from moceir.models.execution.stripes import stripe_size

# Importing torch's compiler uses deprecated parts of torch.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

compiles = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
    # The compiler uses deprecated parts of torch.
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning"
    ),
]


@pytest.fixture(autouse=True)
def dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(recompile_limit=8):  # the code under test raises it for the process
        yield
    torch._dynamo.reset()


@pytest.fixture
def network() -> moceir.MoCEIR:
    torch.manual_seed(0)
    return moceir.MoCEIR(
        ModelConfig(dim=8, encoder_blocks=(0, 0, 0), latent_blocks=0, decoder_blocks=(1, 0, 0), refinement_blocks=0)
    )


def graphs() -> int:
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def marked(*marks: Any) -> Any:
    def mark(test: Any) -> Any:
        for each in marks:
            test = each(test)
        return test

    return mark


@marked(*compiles)
def test_training_with_compiled_parts_and_experts_at_once_has_the_same_gradients(network: moceir.MoCEIR) -> None:
    network = moceir.MoCEIR(network.config.model_copy(update={"experts": 2})).double()
    images, noise = torch.rand(2, 3, 16, 16).double(), torch.randn(1, 2, 2).double()
    results = []
    for each in (compiled_for_training(network, sizes=2), network):
        network.zero_grad()
        restored, _ = each.restore_with_routing(images, noise=noise)
        restored.square().mean().backward()
        # An expert without images has no gradient or a gradient of zeros.
        results.append((restored, [torch.zeros_like(p) if p.grad is None else p.grad for p in each.parameters()]))

    assert graphs() == 6, "norm, attention twice, feed-forward and two experts, one graph each"
    torch.testing.assert_close(results[0], results[1], atol=1e-9, rtol=1e-6)


@marked(*compiles)
def test_sizes_that_come_again_are_restored_by_graphs_for_any_size_and_expert(network: moceir.MoCEIR) -> None:
    plain = moceir.Restorer(copy.deepcopy(network), device="cpu")
    restorer = moceir.Restorer(network, device="cpu", compiled=True)
    made = []
    for height, width in [(40, 48), (40, 48), (40, 48), (56, 72), (56, 72), (48, 88), (48, 88)]:
        images = torch.rand(1, 3, height, width)
        torch.testing.assert_close(restorer.restore(images), plain.restore(images), atol=1e-5, rtol=0)
        made.append(graphs())

    assert made[0] == 0, "a size that may never come again is not worth compiling for"
    assert made[1] > 0
    assert made[2] == made[1]
    assert made[-1] <= 2 * made[1], "torch first assumes a fixed size, then makes graphs for all sizes"
    for expert in range(4):
        images = torch.rand(1, 3, 48, 88)
        forced = restorer.with_experts([expert]).restore(images)
        torch.testing.assert_close(forced, plain.with_experts([expert]).restore(images), atol=1e-5, rtol=0)
    assert graphs() == made[-1]


def test_only_some_sizes_are_compiled_for(network: moceir.MoCEIR) -> None:
    inference = CompiledInference(network)
    sizes = [torch.empty(1, 3, 8, 8 * columns) for columns in range(1, MOST_SIZES + 2)]

    def compiled(images: torch.Tensor) -> bool:
        return inference.chosen_for(images) is not inference.striped

    assert not any(compiled(images) for images in sizes)
    assert [compiled(images) for images in sizes] == [True] * MOST_SIZES + [False]
    assert compiled(sizes[0])
    assert not compiled(sizes[-1])


def test_what_is_cut_into_stripes_is_not_compiled(network: moceir.MoCEIR) -> None:
    inference = CompiledInference(network)
    uncut = stripe_size(1, 8, 3000, 512, 4, "cpu")[0] // 8 * 8
    for height, chosen in ((uncut, True), (uncut + 1, False)):
        images = torch.empty(1, 3, height, 512)
        inference.chosen_for(images)
        assert (inference.chosen_for(images) is not inference.striped) is chosen


def test_tiles_are_not_compiled(network: moceir.MoCEIR) -> None:
    restorer = moceir.Restorer(network, device="cpu", compiled=True, memory_limit="120MB")
    images = torch.rand(1, 3, 512, 640)
    for _ in range(2):
        with pytest.warns(UserWarning, match="in tiles of"):
            restorer.restore(images)

    assert graphs() == 0
