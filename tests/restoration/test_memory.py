"""The memory that a picture needs, predicted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir import MoCEIR
from moceir.evaluation.profiling import Subject, cpu_peak_bytes
from moceir.models.presets import preset
from moceir.restoration.memory import peak_bytes
from moceir.weights import ModelFile, save


@settings(max_examples=50, deadline=None, derandomize=True)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000), more=st.integers(0, 500))
def test_larger_pictures_need_more(height: int, width: int, more: int) -> None:
    config = preset("tiny")
    needed = peak_bytes(config, height, width)
    assert needed <= peak_bytes(config, height + more, width) <= peak_bytes(config, height + more, width + more)
    assert needed <= peak_bytes(config, height, width, batch=2)
    assert needed <= peak_bytes(preset("base"), height, width)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the high-water mark")
@pytest.mark.parametrize(("precision", "least"), [("float32", 0.4), ("bfloat16", 0.2)])
def test_a_picture_needs_what_is_predicted_or_little_less(precision: str, least: float) -> None:
    measured = cpu_peak_bytes(Subject("nano", untrained=True), 640, 512, "dearest", precision=precision)
    predicted = peak_bytes(preset("nano"), 512, 640)
    assert measured is not None
    assert least * predicted < measured < predicted


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the high-water mark")
def test_an_enlarged_picture_needs_what_is_predicted_or_little_less(tmp_path: Path) -> None:
    config = preset("nano").model_copy(update={"scale": 4})
    save(MoCEIR(config), tmp_path, ModelFile(model=config))
    measured = cpu_peak_bytes(Subject(str(tmp_path)), 640, 512, "dearest", precision="float32")
    predicted = peak_bytes(config, 512, 640)
    assert measured is not None
    assert 0.4 * predicted < measured < predicted
