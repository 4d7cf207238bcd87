"""Exported files compute what the network computes, whatever the size, the picture and the experts it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from support import compare_on_each_expert, varied
from torch import Tensor

from moceir import MoCEIR, ModelConfig
from moceir.errors import ExportError
from moceir.export import to_onnx
from moceir.export.layers import window_products
from moceir.models.experts import window_convolution

SMALLEST = ModelConfig(
    dim=8, encoder_blocks=(1, 0, 0), latent_blocks=0, decoder_blocks=(1, 1, 0), refinement_blocks=0, heads=(1, 2, 2, 2)
)


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def restored(running: Any, images: Tensor) -> Tensor:
    (result,) = running.run(None, {"image": images.numpy()})
    return torch.from_numpy(result)


def pictures(height: int, width: int, count: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width, generator=generator)


def seeded(config: ModelConfig) -> MoCEIR:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MoCEIR(config)
        for parameter in network.parameters():  # what starts at zero or one counts as well
            parameter.data += 0.05 * torch.randn_like(parameter)
    return network.eval()


@pytest.fixture(scope="module")
def spread_file(spread: MoCEIR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "spread.onnx"
    to_onnx(spread, path, name="spread", license="CC0-1.0")
    return path


@pytest.mark.parametrize("window", [4, 8, 16, 32])
@pytest.mark.parametrize("size", [(13, 70), (32, 64), (1, 1)])
def test_products_equal_the_fourier_transform(window: int, size: tuple[int, int]) -> None:
    q, k = (torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    torch.testing.assert_close(window_products(q, k, window), window_convolution(q, k, window), atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (8, 8), (31, 50), (96, 64), (70, 133)])
def test_every_size(spread: MoCEIR, spread_file: Path, size: tuple[int, int]) -> None:
    images = pictures(*size)
    with torch.no_grad():
        torch.testing.assert_close(restored(session(spread_file), images), spread(images), atol=2e-4, rtol=0)


def test_pictures_that_take_each_expert(spread: MoCEIR, spread_file: Path) -> None:
    running = session(spread_file)
    compare_on_each_expert(spread, lambda image: restored(running, image))


def test_each_expert_is_a_branch_with_its_own_weights(spread: MoCEIR, spread_file: Path) -> None:
    graph = onnx.load(spread_file).graph
    branches = [node for node in graph.node if node.op_type == "If"]
    assert len(branches) == spread.config.routed_blocks * spread.config.experts
    named = {weight.name for weight in graph.initializer}
    expected = {key for key in spread.state_dict() if ".experts." in key}
    assert expected <= named
    used = {name for node in branches for part in node.attribute for inner in part.g.node for name in inner.input}
    assert expected <= used
    assert "DFT" not in {node.op_type for node in graph.node}


@pytest.mark.parametrize("expert", range(4))
def test_only_the_chosen_expert_works(spread: MoCEIR, spread_file: Path, expert: int) -> None:
    """With the weights of one expert spoilt, exactly the pictures that take it change."""
    model = onnx.load(spread_file)
    for weight in model.graph.initializer:
        if ".mixture.experts." in weight.name and f".experts.{expert}.expand." in weight.name:
            weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.nan, weight.name))
    spoilt = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outcomes: set[bool] = set()
    for number in range(16):
        image = varied(number)
        with torch.no_grad():
            _, decisions = spread.restore_with_routing(image)
        taken = any(int(decision.experts) == expert for decision in decisions)
        assert restored(spoilt, image).isnan().any() == taken
        outcomes.add(taken)
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("change", "batch"),
    [
        ({"join": "added"}, False),
        ({"scale": 3}, False),
        ({"scale": 4}, True),
        ({"join": "values", "gate": "straight_through"}, False),
        ({"gate": "residual"}, False),
        ({"top_k": 2, "gate": "straight_through"}, False),
        ({"join": "added", "top_k": 3, "experts": 3}, True),
        ({"join": "values", "top_k": 2, "gate": "straight_through"}, True),
    ],
    ids=str,
)
def test_every_form_of_the_network(change: dict[str, Any], batch: bool, tmp_path: Path) -> None:
    network = seeded(ModelConfig(**(SMALLEST.model_dump() | change)))
    to_onnx(network, tmp_path / "model.onnx", batch=batch)
    images = pictures(21, 34, 3 if batch else 1)
    with torch.no_grad():
        expected = network(images)
    torch.testing.assert_close(restored(session(tmp_path / "model.onnx"), images), expected, atol=2e-4, rtol=0)


def test_a_batch_gives_each_image_what_it_gets_alone(spread: MoCEIR, tmp_path: Path) -> None:
    to_onnx(spread, tmp_path / "batch.onnx", batch=True)
    images = torch.cat([varied(number) for number in range(5)])
    with torch.no_grad():
        _, decisions = spread.restore_with_routing(images)
        alone = torch.cat([spread(image.unsqueeze(0)) for image in images])
    assert any(len(set(decision.experts.flatten().tolist())) > 1 for decision in decisions)
    torch.testing.assert_close(restored(session(tmp_path / "batch.onnx"), images), alone, atol=2e-4, rtol=0)
    assert not [node for node in onnx.load(tmp_path / "batch.onnx").graph.node if node.op_type == "If"]


def test_half_precision_weights(spread: MoCEIR, spread_file: Path, tmp_path: Path) -> None:
    exported = to_onnx(spread, tmp_path / "half.onnx", half=True)
    rounded = MoCEIR(spread.config).eval()
    rounded.load_state_dict({key: value.half().float() for key, value in spread.state_dict().items()})
    images = pictures(31, 50)
    with torch.no_grad():
        expected = rounded(images)
    torch.testing.assert_close(restored(session(tmp_path / "half.onnx"), images), expected, atol=2e-4, rtol=0)
    assert exported.size_bytes < 0.6 * spread_file.stat().st_size


def test_what_the_file_says_about_itself(spread: MoCEIR, spread_file: Path) -> None:
    model = onnx.load(spread_file)
    onnx.checker.check_model(model, full_check=True)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["model"] == "spread"
    assert said["license"] == "CC0-1.0"
    assert said["moceir_version"] == model.producer_version
    assert ModelConfig.model_validate_json(said["config"]) == spread.config
    assert "[0, 1]" in said["input"]
    (source,), (target,) = session(spread_file).get_inputs(), session(spread_file).get_outputs()
    assert (source.name, source.type, source.shape) == ("image", "tensor(float)", [1, 3, "height", "width"])
    assert (target.name, target.shape) == ("restored", [1, 3, "height", "width"])
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]


def test_report_of_an_export(tmp_path: Path) -> None:
    exported = to_onnx(seeded(SMALLEST), tmp_path / "new" / "model.onnx")
    assert exported.path == tmp_path / "new" / "model.onnx"
    assert exported.size_bytes == exported.path.stat().st_size
    assert exported.comparisons >= 4 * (SMALLEST.experts + 1)
    assert 0 < exported.largest_difference <= 2e-4


def test_network_in_training_or_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    network = MoCEIR(SMALLEST).double().train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    to_onnx(network, tmp_path / "model.onnx", half=True)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("expert", [None, 3])
def test_no_file_is_left_where_results_differ(tmp_path: Path, expert: int | None) -> None:
    """Not-a-number equals nothing, so no file can agree with this network; one expert is enough."""
    network = seeded(SMALLEST)
    part = network if expert is None else network.decoder[0].blocks[0].mixture.experts[expert]
    next(part.parameters()).data.fill_(float("nan"))
    with pytest.raises(ExportError, match="no file was written"):
        to_onnx(network, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class _Sine(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


def test_a_function_without_an_onnx_form_is_named(tmp_path: Path) -> None:
    network = seeded(SMALLEST)
    network.latent = torch.nn.Sequential(_Sine())
    with pytest.raises(NotImplementedError, match="'sin' has no ONNX form yet"):
        to_onnx(network, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
