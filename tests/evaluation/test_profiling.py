"""Measuring memory and time measures what it says."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import torch

from moceir.evaluation.profiling import Subject, _median_seconds, profile, sample_picture
from moceir.restoration import Restorer


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark can be set back on Linux alone")
def test_memory_is_seen_though_it_is_given_back() -> None:
    code = (
        "from moceir.evaluation.profiling import peak_growth_bytes\n"
        # The second is less than the first: a mark that is not set back would not show it.
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
    assert _median_seconds(restorer, torch.zeros(1, 3, 8, 8), repeat=3) == pytest.approx(0.02)


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
