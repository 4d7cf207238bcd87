"""Shots are found, and all frames of a shot take one route."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support import run

from moceir import image_io
from moceir.batch import shots
from moceir.batch.planning import Job
from moceir.batch.shots import mean_fields, natural_order, routes_by_shot, shot_route, split_into_shots
from moceir.image_io import Picture
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision
from moceir.restoration import Restorer
from moceir.restoration.reports import RoutingReport, routing_reports

SIZE = 48


def scene(seed: int, shift: int = 0, noise: float = 0.0) -> NDArray[np.uint8]:
    """A picture of coloured fields, seen from a camera that has moved by some pixels."""
    rng = np.random.default_rng(seed)
    wide = np.kron(rng.integers(0, 256, (4, 12, 3)), np.ones((12, 12, 1)))
    seen = wide[:, shift : shift + SIZE] + np.random.default_rng(1000 * seed + shift).normal(0, noise, (SIZE, SIZE, 3))
    return seen.clip(0, 255).astype(np.uint8)


def write_frames(folder: Path, frames: list[NDArray[np.uint8]]) -> list[Job]:
    jobs = [Job(folder / f"f{i}.png", folder / f"o{i}.png", Path(f"f{i}.png")) for i in range(len(frames))]
    for job, frame in zip(jobs, frames, strict=True):
        image_io.write(job.source, Picture(frame))
    return jobs


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from([0.0, 40.0]))
def test_shots_begin_where_the_scene_changes(lengths: list[int], noise: float) -> None:
    frames = [scene(shot, step, noise) for shot, length in enumerate(lengths) for step in range(length)]
    starts = np.cumsum([0, *lengths]).tolist()
    found = split_into_shots([mean_fields(Picture(frame)) for frame in frames])
    assert found == list(itertools.pairwise(starts))


def test_another_size_is_another_shot() -> None:
    frames = [scene(0), scene(0)[:40], scene(0)[:40]]
    assert split_into_shots([mean_fields(Picture(frame)) for frame in frames]) == [(0, 1), (1, 3)]
    assert split_into_shots([]) == []


def test_frames_are_in_the_order_of_their_numbers() -> None:
    names = ["f10.png", "f2.png", "f1.png", "g.png", "7.png"]
    ordered = sorted((Path(name) for name in names), key=natural_order)
    assert [path.name for path in ordered] == ["7.png", "f1.png", "f2.png", "f10.png", "g.png"]


def test_a_route_is_that_of_the_mean_scores(nano: MoCEIR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Frame by frame: expert 0, 0, 3. On average: expert 3, by far.
    rows = torch.tensor([[1.0, 0, 0, 0.9], [1.0, 0, 0, 0.9], [0, 0, 0, 9.0]])
    decision = RoutingDecision(
        rows.argmax(1, keepdim=True), torch.ones(3, 1), rows, torch.zeros(()), torch.zeros(3, dtype=torch.bool)
    )
    reports = routing_reports(nano.config, [decision] * 3, SIZE, SIZE)
    jobs = write_frames(tmp_path, [scene(0)] * 3)
    answers = iter(reports)
    monkeypatch.setattr(shots, "probe", lambda *_: next(answers))
    route = shot_route(Restorer(nano, device="cpu"), [job.source for job in jobs])
    assert [report.experts for report in reports] == [((0,),) * 3, ((0,),) * 3, ((3,),) * 3]
    assert route == [[3]] * 3


def test_each_shot_has_one_route(spread_nano: MoCEIR, tmp_path: Path) -> None:
    jobs = write_frames(tmp_path, [scene(shot, step, 20) for shot in (3, 4) for step in range(4)])
    restorer = Restorer(spread_nano, device="cpu")
    restorers, shots = routes_by_shot(restorer, jobs)
    assert [[path.name for path in shot] for shot in shots] == [
        [f"f{i}.png" for i in r] for r in ((0, 1, 2, 3), (4, 5, 6, 7))
    ]
    for shot in shots:
        reports: list[RoutingReport] = [
            restorers[frame].restore(image_io.read(frame).rgb, return_routing=True)[1] for frame in shot
        ]
        assert len({report.experts for report in reports}) == 1


def test_the_command(model_folder: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "in", [scene(shot, step) for shot in (0, 1) for step in range(3)])
    (tmp_path / "in" / "f9.png").write_text("no picture")
    command = ("restore", tmp_path / "in", "-o", tmp_path / "out", "--sequence", "-m", model_folder)
    result = run(*command, "--report", tmp_path / "report.jsonl")
    assert result.exit_code == 1, "one frame is broken"
    assert "6 frames in 2 shots, which begin with f0.png, f3.png" in result.output
    rows = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["restored"] * 6 + ["failed"]
    routes = [row["route"] for row in rows[:6]]
    assert routes[:3] == [routes[0]] * 3
    assert routes[3:] == [routes[3]] * 3
    for steering in (("--effort", "low"), ("--force-expert", "cheapest")):
        refused = run(*command, *steering)
        assert refused.exit_code == 2
        assert "--sequence chooses the experts itself" in " ".join(refused.output.replace("│", " ").split())
