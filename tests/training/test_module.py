"""One step of training, compiled or not."""

import copy
import shutil

import pytest
import torch

from moceir.config import ModelConfig
from moceir.recipe import Recipe
from moceir.training.module import RestorationModule


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
# Its compiler uses what torch itself has deprecated.
@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning"
)
def test_a_compiled_network_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)  # is set for the process, and so put back
    config = ModelConfig(
        dim=8, encoder_blocks=(0, 0, 0), latent_blocks=0, decoder_blocks=(1, 0, 0), refinement_blocks=0
    )
    recipe = Recipe.model_validate(
        {
            "model": config.model_dump(),
            "steps": 1,
            "stages": [{"share": 1, "patch_px": 16, "batch": 2}],
            "tasks": {"noise": 1},
            "optimizer": {"lr": 1e-3},
        }
    )
    torch.manual_seed(0)
    module = RestorationModule(recipe, config, ["noise"])
    plain = copy.deepcopy(module.network)
    module.compile_blocks()
    images, noise = torch.rand(2, 3, 16, 16), torch.randn(1, 2, 4)
    results = []
    for network in (module.network, plain):
        restored, _ = network.restore_with_routing(images, noise)
        restored.square().mean().backward()
        results.append((restored, [p.grad for p in network.parameters() if p.grad is not None]))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 3
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)
