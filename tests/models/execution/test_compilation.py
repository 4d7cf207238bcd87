"""Networks with compiled parts compute what they compute without, and few graphs are made for them."""

import copy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import moceir
from moceir.config import ModelConfig
from moceir.models.execution.compilation import MOST_SIZES, CompiledInference, compile_for_training
from moceir.models.execution.stripes import stripe_height

# What torch's compiler imports uses what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

compiles = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"),
    # Its compiler uses what torch itself has deprecated.
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning"
    ),
]


@pytest.fixture(autouse=True)
def dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(recompile_limit=8):  # is raised for the process, and so put back
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
    plain = copy.deepcopy(network)
    compile_for_training(network, sizes=2)
    images, noise = torch.rand(2, 3, 16, 16).double(), torch.randn(1, 2, 2).double()
    results = []
    for each in (network, plain):
        restored, _ = each.restore_with_routing(images, noise)
        restored.square().mean().backward()
        # Where nothing went to an expert, it has no gradient, or one of zeros.
        results.append((restored, [torch.zeros_like(p) if p.grad is None else p.grad for p in each.parameters()]))

    assert graphs() == 6, "norm, attention twice, feed-forward and two experts, each whole"
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

    assert made[0] == 0, "what may never come again is not worth compiling"
    assert made[1] > 0
    assert made[2] == made[1]
    assert made[-1] <= 2 * made[1], "torch takes the first size for the only one, then makes graphs for all"
    for expert in range(4):
        images = torch.rand(1, 3, 48, 88)
        forced = restorer.with_experts([expert]).restore(images)
        torch.testing.assert_close(forced, plain.with_experts([expert]).restore(images), atol=1e-5, rtol=0)
    assert graphs() == made[-1]


def test_only_some_sizes_are_compiled_for(network: moceir.MoCEIR) -> None:
    inference = CompiledInference(network, torch.device("cpu"))
    sizes = [torch.empty(1, 3, 8, 8 * columns) for columns in range(1, MOST_SIZES + 2)]

    assert not any(inference.chosen_for(images) for images in sizes)
    assert [inference.chosen_for(images) for images in sizes] == [True] * MOST_SIZES + [False]
    assert inference.chosen_for(sizes[0])
    assert not inference.chosen_for(sizes[-1])


def test_what_is_cut_into_stripes_is_not_compiled(network: moceir.MoCEIR) -> None:
    inference = CompiledInference(network, torch.device("cpu"))
    uncut = stripe_height(1, 8, 512, 4, "cpu") // 8 * 8
    for height, chosen in ((uncut, True), (uncut + 1, False)):
        images = torch.empty(1, 3, height, 512)
        inference.chosen_for(images)
        assert inference.chosen_for(images) is chosen


def test_tiles_are_not_compiled(network: moceir.MoCEIR) -> None:
    restorer = moceir.Restorer(network, device="cpu", compiled=True, memory_limit="120MB")
    images = torch.rand(1, 3, 512, 640)
    for _ in range(2):
        with pytest.warns(UserWarning, match="in tiles of"):
            restorer.restore(images)

    assert graphs() == 0
