"""Files of one size are restored together where that is faster, and get what they get alone."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from support import write_picture

from moceir import MoCEIR, image_io
from moceir.batch import stages as module
from moceir.batch.pipeline import overlapped
from moceir.batch.planning import Job, Naming, plan
from moceir.batch.stages import FileStages
from moceir.errors import MoceirError
from moceir.restoration import RestorationResult, Restorer


def restore(restorer: Restorer, source: Path, target: Path) -> dict[str, RestorationResult[None] | MoceirError]:
    jobs, _ = plan([source], Naming(target))
    stages = FileStages(restorer)

    def slow(job: Job, opened: object) -> object:
        threading.Event().wait(0.05)  # so that others are read in the meantime
        return stages.work(job, opened)  # type: ignore[arg-type]

    done = overlapped(jobs, stages.read, slow, stages.write, threading.Event(), stages.together)  # type: ignore[arg-type]
    return {job.source.name: outcome for job, outcome in done}


def test_small_files_of_one_size_go_through_the_network_together(
    nano: MoCEIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        write_picture(tmp_path / "in" / f"{number:02}.png", seed=number)
    (tmp_path / "in" / "05.png").write_bytes(b"broken")
    tall = np.random.default_rng(0).integers(0, 256, (70, 20, 3), np.uint8)
    image_io.write(tmp_path / "in" / "08.png", image_io.Picture(tall))
    restorer = Restorer(nano, device="cpu")
    assert FileStages(restorer).together is None, "a processor gains nothing by it"
    alone = restore(restorer, tmp_path / "in", tmp_path / "alone")

    batches: list[int] = []
    whole = type(restorer).work_together

    def counted(self: Restorer, opened: list[object]) -> object:
        batches.append(len(opened))
        return whole(self, opened)  # type: ignore[arg-type]

    monkeypatch.setattr(restorer._backend, "batch_pixels", 2**20)
    monkeypatch.setattr(Restorer, "work_together", counted)
    together = restore(restorer, tmp_path / "in", tmp_path / "together")
    assert sum(batches) == 11
    assert max(batches) > 1
    assert list(together) == list(alone)
    assert isinstance(together["05.png"], MoceirError)
    for name, result in together.items():
        before = alone[name]
        if isinstance(result, RestorationResult) and isinstance(before, RestorationResult):
            assert result.report.experts == before.report.experts
            assert (result.width, result.height) == (before.width, before.height)
            assert 0 < result.network_seconds <= result.seconds
            pixels, expected = (image_io.read(tmp_path / folder / name).rgb for folder in ("together", "alone"))
            assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_large_files_and_those_with_another_restorer_stay_apart(
    nano: MoCEIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name)
    restorer = Restorer(nano, device="cpu")
    opened = restorer.open(tmp_path / "a.png")
    pixels = opened.seen.shape[0] * opened.seen.shape[1]
    jobs, _ = plan([tmp_path], Naming(tmp_path / "out"))
    other = FileStages(restorer, by_source={jobs[1].source: restorer.with_experts("cheapest")})
    for room, keys in ((pixels * module.MOST_TOGETHER, 2), (pixels * module.MOST_TOGETHER - 1, 1)):
        monkeypatch.setattr(restorer._backend, "batch_pixels", room)
        assert other.together is not None
        assert len({other.together.key(job, opened) for job in jobs}) == keys
