"""``moceir export`` end to end: the file runs in onnxruntime and says where it comes from."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from support import run

import moceir


def test_tiny_in_half_precision(tmp_path: Path) -> None:
    """The bundled weights are stored as float16, so nothing is lost."""
    path = tmp_path / "tiny.onnx"
    result = run("export", "tiny", "-o", path, "--half")
    assert result.exit_code == 0, result.output
    said = re.search(r"the largest difference is (\S+), where white is 1", result.stdout)
    assert said
    assert 0 < float(said[1]) <= 2e-4
    assert "ONNX opset 18" in result.stdout
    images = torch.rand(1, 3, 33, 50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = moceir.load("tiny")(images)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (restored,) = session.run(None, {"image": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(restored), expected, atol=2e-4, rtol=0)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert metadata["model"] == "tiny"
    assert metadata["license"].startswith("Research use")


def test_published_checkpoint_for_batches(golden: Path, tmp_path: Path) -> None:
    path = tmp_path / "nano.onnx"
    assert run("export", golden / "nano_lightning.ckpt", "-o", path, "--batch").exit_code == 0
    model = onnx.load(path)
    assert {entry.key: entry.value for entry in model.metadata_props}["license"] == "unknown"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "images"
    again = run("export", golden / "nano_lightning.ckpt", "-o", path)
    assert again.exit_code == 1
    assert "exists already; add --overwrite" in str(again.exception)


def test_another_suffix_is_refused() -> None:
    result = run("export", "tiny", "-o", "tiny.pt")
    assert result.exit_code == 2
    assert "must end in .onnx" in result.output


@pytest.mark.parametrize("library", ["onnx_ir", "onnxruntime"])
def test_missing_libraries_are_named(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("moceir.errors.find_spec", lambda name: None if name == library else found(name))
    result = run("export", "tiny", "-o", tmp_path / "tiny.onnx")
    assert result.exit_code == 1
    assert f"this needs {library}" in str(result.exception)
    assert "moceir[export]" in str(result.exception)
