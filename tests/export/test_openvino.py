"""OpenVINO itself runs our files and computes what the network computes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import compare_on_each_expert, run
from torch import Tensor

from moceir import MoCEIR, ModelConfig
from moceir.errors import ExportError
from moceir.export import to_openvino
from moceir.export.openvino_candidate import core
from moceir.weights import load


@pytest.fixture(scope="module")
def spread_file(spread: MoCEIR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openvino") / "spread.xml"
    exported = to_openvino(spread, path, name="spread", license="CC0-1.0")
    assert exported.size_bytes == path.stat().st_size + path.with_suffix(".bin").stat().st_size
    assert 0 < exported.largest_difference <= 2e-4
    assert exported.comparisons >= 4 * (spread.config.experts + 1)
    return path


@pytest.fixture(scope="module")
def running(spread_file: Path) -> Any:
    return core().compile_model(spread_file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def restored(running: Any, images: Tensor) -> Tensor:
    return torch.from_numpy(running({"image": images.numpy()})["restored"])


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (31, 50), (70, 133)])
def test_every_size(spread: MoCEIR, running: Any, size: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(restored(running, images), spread(images), atol=2e-4, rtol=0)


def test_pictures_that_take_each_expert(spread: MoCEIR, running: Any) -> None:
    compare_on_each_expert(spread, lambda image: restored(running, image))


def test_what_the_file_says_about_itself(spread: MoCEIR, spread_file: Path) -> None:
    said: Any = core().read_model(spread_file).get_rt_info("framework").value
    assert said["license"] == "CC0-1.0"
    assert said["model"] == "spread"
    assert ModelConfig.model_validate_json(said["config"]) == spread.config


def test_no_file_is_left_where_results_differ(spread: MoCEIR, tmp_path: Path) -> None:
    """One expert that gives not-a-number is enough."""
    network = MoCEIR(spread.config)
    network.load_state_dict(spread.state_dict())
    next(network.decoder[0].blocks[0].mixture.experts[3].parameters()).data.fill_(float("nan"))
    with pytest.raises(ExportError, match="no file was written"):
        to_openvino(network, tmp_path / "model.xml")
    assert not list(tmp_path.iterdir())


def test_tiny_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "tiny.xml"
    result = run("export", "tiny", "-o", path, "--format", "openvino", "--half")
    assert result.exit_code == 0, result.output
    assert "OpenVINO equals the model" in result.stdout
    assert path.with_suffix(".bin").stat().st_size < 4.2e6, "weights of float16"
    image = torch.rand(1, 3, 33, 50, generator=torch.Generator().manual_seed(0))
    compiled = core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.no_grad():
        expected = load("tiny")(image)
    np.testing.assert_allclose(restored(compiled, image), expected, atol=2e-4)


@pytest.mark.parametrize("existing", ["nano.xml", "nano.bin"])
def test_neither_file_is_replaced(golden: Path, tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("mine")
    result = run("export", golden / "nano_lightning.ckpt", "-o", tmp_path / "nano.xml")
    assert result.exit_code == 1
    assert f"{existing} exists already; add --overwrite" in str(result.exception)
    assert (tmp_path / existing).read_text() == "mine"


def test_format_and_suffix_must_agree(tmp_path: Path) -> None:
    result = run("export", "tiny", "-o", tmp_path / "tiny.onnx", "--format", "openvino")
    assert result.exit_code == 2
    assert "must end in .xml for openvino" in result.output


SIGNALLED = """
import faulthandler, os, signal
import numpy as np
import openvino
from openvino import opset13
from moceir.export.openvino_candidate import core

def start():
    image = opset13.parameter([1], np.float32)
    return core().compile_model(openvino.Model([opset13.relu(image)], [image], "relu"), "CPU")

faulthandler.enable()  # gives signals a stack of their own, which OpenVINO replaces
signal.signal(signal.SIGUSR1, lambda *_: print("went on"))
first, second = start(), start()
for model in (first, second):
    model(np.zeros(1, np.float32))
del first, model
del second
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
def test_signals_are_handled_after_use() -> None:
    source = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    command = [sys.executable, "-c", SIGNALLED]
    done = subprocess.run(command, env=os.environ | source, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "went on")
