"""Devices and precisions: their names, and what this machine has."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from moceir.errors import ConfigError
from moceir.machine.devices import choose_device, choose_precision


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("device", ["cuda:1", "cpu", "cuda", torch.device("cuda:0"), torch.device("cpu")])
def test_names_and_devices_are_the_same_to_us(device: Any) -> None:
    assert choose_device(device) == torch.device(device)


@pytest.mark.usefixtures("two_gpus")
def test_auto_takes_a_gpu_and_others_must_be_there() -> None:
    assert choose_device("auto") == torch.device("cuda")
    with pytest.raises(ConfigError, match="no cuda:2; use cuda:0, cuda:1"):
        choose_device("cuda:2")


@pytest.mark.parametrize("device", ["gpu", "", "cpu:", "cuda:-1", "cuda:x", None, 3, torch.device("meta")])
def test_unknown_devices_are_refused(device: Any) -> None:
    with pytest.raises(ConfigError, match="choose from auto, cpu, cuda, mps"):
        choose_device(device)


def test_absent_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no usable cuda"):
        choose_device("cuda")


def test_precisions_of_the_processor() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) is torch.float32
    assert choose_precision("bfloat16", cpu) is torch.bfloat16
    with pytest.raises(ConfigError, match="choose from auto, float32, bfloat16, float16"):
        choose_precision("bf16", cpu)
    with pytest.raises(ConfigError, match="float16 needs a GPU"):
        choose_precision("float16", cpu)


@pytest.mark.parametrize(("made_for_it", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bfloat16_on_gpus_made_for_it(
    monkeypatch: pytest.MonkeyPatch, made_for_it: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: made_for_it)
    assert choose_precision("auto", torch.device("cuda")) is expected
