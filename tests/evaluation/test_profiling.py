"""Tests of the measurement of time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

import pytest
import torch

from moceir.evaluation.profiling import Subject, median_process_seconds, median_restore_seconds, profile, sample_picture
from moceir.restoration import Restorer


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark can only be reset on Linux")
def test_memory_is_seen_though_it_is_given_back() -> None:
    code = (
        "from moceir.evaluation.profiling import peak_growth_bytes\n"
        # The second peak is lower than the first, so it is only visible if the high-water mark is reset.
        "for mib in (64, 32): print(peak_growth_bytes(lambda: bytearray(b'x') * (mib << 20)) / 2**20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    first, second = map(float, done.stdout.split())
    assert 63 < first < 72
    assert 31 < second < 40


def test_the_median_is_taken_after_warming_up(nano: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = Restorer(nano, device="cpu")
    durations = iter([1.0, 1.0, 0.01, 0.25, 0.02])
    clock = [0.0]
    monkeypatch.setattr(restorer, "restore", lambda _: clock.__setitem__(0, clock[0] + next(durations)))
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    assert median_restore_seconds(restorer, torch.zeros(1, 3, 8, 8), repeat=3) == pytest.approx(0.02)


def test_processor_time_is_measured_in_turns_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, made = [0.0], []

    def call(name: str, durations: list[float]) -> None:
        made.append(name)
        clock[0] += durations.pop(0)

    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    durations = {"a": [90.0, 1.0, 5.0, 2.0], "b": [90.0, 7.0, 8.0, 30.0]}
    calls = [partial(call, name, left) for name, left in durations.items()]
    assert median_process_seconds(calls, rounds=3) == [2, 8]
    assert made == ["a", "b"] * 4


def test_the_picture_and_untrained_networks_are_always_the_same() -> None:
    picture = sample_picture(20, 12)
    assert picture.shape == (1, 3, 12, 20)
    assert torch.equal(picture, sample_picture(20, 12))
    assert 0 <= picture.min() < picture.max() <= 1
    before = torch.get_rng_state()
    first, second = (Subject("nano", untrained=True).load().state_dict() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_memory_is_that_of_the_picture() -> None:
    small, large = (list(profile(Subject("tiny"), side, side, device="cuda", repeat=1)) for side in (64, 256))
    for one, other in zip(small, large, strict=True):
        assert one.peak_memory_mib is not None
        assert other.peak_memory_mib is not None
        assert 0 < one.peak_memory_mib < other.peak_memory_mib
