"""What a training shows, on a terminal and without one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from support import moceir_process, write_photographs

from moceir.training import progress
from moceir.training.progress import Report, duration, score_table


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The one number that the clock shows, in seconds."""
    shown = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: shown[0])
    return shown


def test_without_a_terminal_there_is_a_short_line_a_minute(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report()
    lines = []
    for second in range(300):
        now[0] = 100.0 + second
        if report.advance(2_000_000):
            report.show(second, second / 300, 0.03125, 299.0 - second)
            lines.append(second)
    report.close()
    printed = capsys.readouterr()
    assert lines == [15, 75, 135, 195, 255]
    assert printed.err == ""
    first, *_, last = printed.out.splitlines()
    assert first == "step 15  2.13 Mpx/s  loss 0.0312  5 min left"
    assert last == "step 255  2 Mpx/s  loss 0.0312  44 s left"


def test_a_terminal_shows_a_bar_with_the_same_figures(
    now: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    report = Report()
    now[0] += 1
    assert report.advance(3_000_000)
    report.show(7, 0.25, 0.5, math.nan)
    report.close()
    shown = capsys.readouterr().err
    assert "25%" in shown
    assert "step 7  3 Mpx/s  loss 0.5000  unknown time left" in shown


def test_other_processes_are_silent(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(silent=True)
    now[0] += 1000
    assert not report.advance(1)
    report.say("anything")
    assert capsys.readouterr() == ("", "")


def test_a_table_has_a_row_per_task_and_columns_if_there_are_many() -> None:
    few = score_table(400, {"noise": 30.0, "low_light": 20.5})
    assert few.splitlines() == ["validation at step 400: 25.250 dB", "  noise      30.00", "  low_light  20.50"]
    names = [f"task{n}" for n in range(29)]
    many = score_table(400, dict.fromkeys(names, 25.0)).splitlines()
    assert len(many) == 1 + 10
    assert max(map(len, many)) < 60
    assert sorted(word for line in many[1:] for word in line.split() if "task" in word) == sorted(names)


def test_durations_have_fitting_units() -> None:
    assert [duration(s) for s in (5, 119, 120, 7199, 7200)] == ["5 s", "119 s", "2 min", "120 min", "2.0 h"]


def test_a_run_prints_no_warnings_of_libraries(tmp_path: Path) -> None:
    content = {
        "model": "nano",
        "steps": 2,
        "epoch_steps": 1,
        "stages": [{"share": 1, "patch_px": 16, "batch": 2}],
        "tasks": {"noise": 1},
        "optimizer": {"lr": 1e-3},
        "validation": {"share": 0.25, "patch_px": 16, "most": 1},
        "ema_decay": 0.5,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    photographs = write_photographs(tmp_path / "photographs")
    arguments = ("--data", photographs, "-o", tmp_path / "run", "--device", "cpu")
    done = moceir_process("train", tmp_path / "recipe.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    assert done.stdout.count("validation at step") == 2
