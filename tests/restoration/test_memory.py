"""Amounts of memory: read from text, predicted for a picture, and found on the machine."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.errors import ConfigError
from moceir.evaluation.profiling import Subject, cpu_peak_bytes
from moceir.machine import memory
from moceir.machine.memory import available_bytes, describe_bytes, parse_bytes
from moceir.models.presets import preset
from moceir.restoration.memory import peak_bytes


@pytest.mark.parametrize(
    ("text", "amount"),
    [("4GB", 4 * 10**9), ("500 mb", 5 * 10**8), ("2GiB", 2**31), ("1.5g", 15 * 10**8), ("123", 123), ("7 kB", 7000)],
)
def test_amounts_are_read(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "0", "0.1", "-4GB", "4XB", "GB", "4 G B", "i", "4iB", "1e9", "nan", "four"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="write it as 4GB"):
        parse_bytes(text)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_an_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_bytes(text) >= 1


def test_amounts_are_written_with_a_unit() -> None:
    assert describe_bytes(1.26e9) == "1.3 GB"
    assert describe_bytes(64e6) == "64 MB"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(height=st.integers(1, 5000), width=st.integers(1, 5000), more=st.integers(0, 500))
def test_larger_pictures_need_more(height: int, width: int, more: int) -> None:
    config = preset("tiny")
    needed = peak_bytes(config, height, width)
    assert needed <= peak_bytes(config, height + more, width) <= peak_bytes(config, height + more, width + more)
    assert needed <= peak_bytes(config, height, width, batch=2)
    assert needed <= peak_bytes(preset("base"), height, width)


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark can be set back on Linux alone")
def test_a_picture_needs_what_is_predicted_or_little_less() -> None:
    measured = cpu_peak_bytes(Subject("nano", untrained=True), 640, 512, "dearest")
    predicted = peak_bytes(preset("nano"), 512, 640)
    assert measured is not None
    assert 0.4 * predicted < measured < predicted


def write_group(folder: Path, limit: str, usage: int, names: tuple[str, str], cache: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 7\n{cache} 30\n")


def test_control_groups_limit_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("9:cpu:/x\n8:memory:/a/b\n0::/new/deep\n")
    old = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    write_group(tmp_path / "sys/fs/cgroup/memory/a/b", "1000", 400, old, "total_inactive_file")
    write_group(tmp_path / "sys/fs/cgroup/memory/a", "500", 400, old, "total_inactive_file")
    new = ("memory.max", "memory.current")
    write_group(tmp_path / "sys/fs/cgroup/new/deep", "max", 5, new, "inactive_file")
    write_group(tmp_path / "sys/fs/cgroup/new", "20", 90, new, "inactive_file")
    assert sorted(memory._group_bytes(tmp_path)) == [0, 130, 630]
    assert memory._group_bytes(tmp_path / "elsewhere") == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells")
def test_this_machine_has_memory() -> None:
    free = available_bytes(torch.device("cpu"))
    assert free is not None
    assert 2**20 < free < 2**50
