"""spandrel itself loads and runs our files and the published ones."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from moceir import MoCEIR, ModelConfig, load, preset
from moceir.weights import ModelFile, save


@pytest.fixture(scope="module")
def spandrel() -> Any:
    """spandrel with MoCE-IR, beside stand-ins for the three names of torchvision that two other architectures use."""
    names = ["torchvision", "torchvision.transforms", "torchvision.transforms.functional"]
    stands_in = {name: ModuleType(name) for name in names}
    for attribute in ("InterpolationMode", "rotate", "normalize"):
        setattr(stands_in[names[-1]], attribute, None)
    with pytest.MonkeyPatch.context() as patch:
        for name, stand_in in stands_in.items():
            patch.setitem(sys.modules, name, stand_in)
        import spandrel

        from moceir.export.spandrel import install

        install()
        install()
    return spandrel


def images(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def expected(network: MoCEIR, picture: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(picture).clamp(0, 1)  # spandrel clamps


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (64, 40)])
def test_our_safetensors(spandrel: Any, size: tuple[int, int]) -> None:
    import moceir.weights

    found = spandrel.ModelLoader().load_from_file(moceir.weights.BUNDLED / "tiny" / "model.safetensors")
    assert (found.architecture.id, found.purpose, found.scale) == ("MoCEIR", "Restoration", 1)
    assert (found.input_channels, found.output_channels) == (3, 3)
    assert found.tiling is spandrel.ModelTiling.INTERNAL
    assert found.tags == ["16dim", "4experts"]
    assert not found.model.training
    torch.testing.assert_close(found(images(*size)), expected(load("tiny"), images(*size)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("prefix", ["net.", ""])
def test_the_published_layout(spandrel: Any, golden: Path, tmp_path: Path, prefix: str) -> None:
    source = golden / "nano_lightning.ckpt"
    state = torch.load(source, weights_only=True)["state_dict"]
    torch.save(
        {"state_dict": {key.replace("net.", prefix, 1): value for key, value in state.items()}}, tmp_path / "m.ckpt"
    )
    found = spandrel.ModelLoader().load_from_file(tmp_path / "m.ckpt")
    assert found.architecture.id == "MoCEIR"
    picture = images(31, 22)
    torch.testing.assert_close(found(picture), expected(load(source), picture), atol=1e-4, rtol=0)


@pytest.mark.parametrize("join", ["added", "values"])
def test_other_joins_are_seen(spandrel: Any, join: Any, tmp_path: Path) -> None:
    config = ModelConfig(**(preset("nano").model_dump() | {"join": join}))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save(MoCEIR(config), tmp_path, ModelFile(model=config))
    found = spandrel.ModelLoader().load_from_file(tmp_path / "model.safetensors")
    assert found.model.config == config
    picture = images(16, 24)
    torch.testing.assert_close(found(picture), expected(load(tmp_path), picture), atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlargement_is_seen(spandrel: Any, scale: Any, tmp_path: Path) -> None:
    config = preset("nano").model_copy(update={"scale": scale})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MoCEIR(config)
        torch.nn.init.normal_(network.get_submodule("output.0").get_parameter("weight"), std=0.05)
        save(network, tmp_path, ModelFile(model=config))
    found = spandrel.ModelLoader().load_from_file(tmp_path / "model.safetensors")
    assert (found.purpose, found.scale, found.model.config) == ("SR", scale, config)
    picture = images(17, 24)
    torch.testing.assert_close(found(picture), expected(load(tmp_path), picture), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.08)])
def test_half_precision(spandrel: Any, dtype: torch.dtype, tolerance: float) -> None:
    import moceir.weights

    found = spandrel.ModelLoader().load_from_file(moceir.weights.BUNDLED / "tiny" / "model.safetensors").to(dtype)
    picture = images(40, 33)
    difference = found(picture.to(dtype)).float() - expected(load("tiny"), picture)
    assert difference.abs().mean() < tolerance


def test_other_files_are_not_taken_for_ours(spandrel: Any, tmp_path: Path) -> None:
    import moceir.weights

    state = load_file(moceir.weights.BUNDLED / "tiny" / "model.safetensors")
    del state["frequency_embedding.high_pass.weight"]
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(spandrel.UnsupportedModelError):
        spandrel.ModelLoader().load_from_file(tmp_path / "other.safetensors")
