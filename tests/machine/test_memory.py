"""Amounts of memory: read from text, found on the machine, and known to be exhausted."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.errors import ConfigError
from moceir.machine.memory import available_bytes, describe_bytes, group_bytes, is_out_of_memory, parse_bytes


@pytest.mark.parametrize(
    ("text", "amount"),
    [("4GB", 4 * 10**9), ("500 mb", 5 * 10**8), ("2GiB", 2**31), ("1.5g", 15 * 10**8), ("123", 123), ("7 kB", 7000)],
)
def test_amounts_are_read(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize(
    "text", ["", "0", "0.1", "-4GB", "4XB", "GB", "4 G B", "4GB!", "1.5.5", "i", "4iB", "1e9", "nan", "four"]
)
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
    assert sorted(group_bytes(tmp_path)) == [0, 130, 630]
    assert group_bytes(tmp_path / "elsewhere") == []


def test_this_machine_has_memory() -> None:
    free = available_bytes(torch.device("cpu"))
    assert free is not None
    assert 2**20 < free < psutil.virtual_memory().total


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] data. DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_allocators_say_that_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_the_allocator_of_this_machine_says_so_too() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("unsupported operation: some elements of the input tensor refer to a single memory location"),
        RuntimeError("could not create a memory object"),
        ValueError("out of memory"),
    ],
)
def test_other_errors_of_memory_are_something_else(error: Exception) -> None:
    assert not is_out_of_memory(error)
