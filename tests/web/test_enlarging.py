"""Enlarging by a server: the files of the command line, and the model that a factor chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving import Serve, Served, picture
from support import run

from moceir import Client, Restorer
from moceir.errors import ConfigError
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.weights import ModelFile, save


def write_model(folder: Path, scale: int) -> Path:
    """Write a small network whose result differs from the bicubic enlargement."""
    config = preset("nano").model_copy(update={"scale": scale})
    with torch.random.fork_rng():
        torch.manual_seed(scale)
        network = MoCEIR(config)
        torch.nn.init.normal_(network.get_submodule("output.0").get_parameter("weight"), std=0.02)
    save(network, folder, ModelFile(model=config))
    return folder


@pytest.fixture(scope="module")
def folders(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Model folders by their factor."""
    root = tmp_path_factory.mktemp("models")
    return {1: model_folder} | {scale: write_model(root / f"by-{scale}", scale) for scale in (3, 2)}


@pytest.fixture(scope="module")
def served(serving: Serve, folders: dict[int, Path]) -> Served:
    return serving(models=tuple(map(str, folders.values())))


def by_command_line(folder: Path, *arguments: Any) -> bytes:
    """Restore the picture of `serving.picture` on the command line."""
    source, target = folder / "a.png", folder / "restored.png"
    source.write_bytes(picture())
    done = run("restore", source, "-o", target, "--overwrite", *arguments)
    assert done.exit_code == 0, done.stderr
    return target.read_bytes()


@pytest.mark.parametrize("upscale", [2, 3, 4])
def test_a_server_with_the_bundled_models_writes_the_files_of_the_command_line(
    bundled: Served, tmp_path: Path, upscale: int
) -> None:
    answer = bundled.restore(picture(), upscale=upscale)
    assert answer.status_code == 200, answer.text
    assert answer.content == by_command_line(tmp_path, "--device", "cpu", "--upscale", upscale)
    assert answer.headers["x-moceir-model"] == ("tiny-x2" if upscale == 2 else "tiny-x4")
    there = by_command_line(tmp_path, "--server", bundled.url, "--upscale", upscale)
    assert there == answer.content


@pytest.fixture(scope="module")
def bundled(serving: Serve) -> Served:
    return serving(models=("tiny", "tiny-x2", "tiny-x4"))


@pytest.mark.parametrize(
    ("asked", "by", "width"),
    [
        ({}, 1, 40),
        ({"upscale": 1}, 1, 40),
        ({"upscale": 2}, 2, 80),
        ({"upscale": 3}, 3, 120),
        ({"model": "by-3"}, 3, 120),
        ({"model": "by-3", "upscale": 2}, 3, 80),
        ({"model": "by-3", "upscale": 1}, 3, 40),
    ],
)
def test_the_smallest_sufficient_model_enlarges_unless_one_is_named(
    served: Served, folders: dict[int, Path], asked: dict[str, Any], by: int, width: int
) -> None:
    with Client(served.url) as client:
        result = client.restore_bytes(picture(), **asked)
    expected = Restorer.from_pretrained(folders[by], device="cpu", upscale=asked.get("upscale"))
    assert result.restored == expected.restore_bytes(picture()).restored
    assert (result.width, result.upscale) == (width, width // 40)


def test_arrays_and_tensors_come_back_enlarged_as_from_a_restorer(served: Served, folders: dict[int, Path]) -> None:
    rng = np.random.default_rng(0)
    restorer = Restorer.from_pretrained(folders[2], device="cpu")
    with Client(served.url) as client:
        for image in (
            rng.integers(0, 256, (9, 8, 4), dtype=np.uint8),
            rng.integers(0, 65536, (9, 8), dtype=np.uint16),
        ):
            np.testing.assert_array_equal(client.restore(image, upscale=2), restorer.restore(image))
        batch = torch.from_numpy(rng.random((2, 3, 8, 12), dtype=np.float32))
        enlarged = client.restore(batch, upscale=2)
    assert enlarged.shape == (2, 3, 16, 24)
    torch.testing.assert_close(enlarged, restorer.restore(batch), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"upscale": 4}, "upscale is 4, but no model of this server enlarges by as much; give 1 or 2 or 3"),
        ({"upscale": 3, "model": "by-2"}, "upscale is 3, but this network enlarges by 2; "),
        ({"upscale": 5}, "wrong options: key 'upscale': "),
        ({"upscale": "2x"}, "wrong options: key 'upscale': "),
        ({"upscale": ""}, "wrong options: key 'upscale': "),
    ],
)
def test_factors_that_are_not_there(served: Served, asked: dict[str, Any], said: str) -> None:
    answer = served.restore(picture(), **asked)
    assert answer.status_code == 400
    assert answer.json()["error"] == "ConfigError"
    assert answer.json()["detail"].startswith(said)


def test_failures_of_the_client_are_those_of_the_server(served: Served) -> None:
    with Client(served.url) as client:
        with pytest.raises(ConfigError, match="upscale is 4, but no model of this server"):
            client.restore_bytes(picture(), upscale=4)
        with pytest.raises(ConfigError, match=r"wrong options: key 'upscale'"):
            client.restore_bytes(picture(), upscale=5)


def test_limits_count_the_result_and_inspection_tells_the_size_of_the_picture(
    serving: Serve, folders: dict[int, Path]
) -> None:
    limited = serving(models=tuple(map(str, folders.values())), options={"device": "cpu", "max_pixels": 40 * 24 * 4})
    assert limited.restore(picture(), upscale=2).status_code == 200
    assert limited.restore(picture(), upscale=3).status_code == 413
    seen = limited.restore(picture(), path="/v1/inspect", model="by-2").json()
    assert (seen["model"], seen["width"], seen["height"]) == ("by-2", 40, 24)
    listed = limited.http.get("/v1/models").json()["models"]
    assert [model["upscale"] for model in listed] == [1, 3, 2]
