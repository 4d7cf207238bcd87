"""A file that is written whole or not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from moceir.errors import OutputError
from moceir.files import whole_file, write_json


def test_the_goal_appears_at_the_end_and_nothing_else(tmp_path: Path) -> None:
    goal = tmp_path / "new" / "a.txt"
    with whole_file(goal) as part:
        part.write_text("whole")
        assert part.suffix == ".txt"
        assert not goal.exists()
    assert goal.read_text() == "whole"
    assert list(goal.parent.iterdir()) == [goal]


def test_json_is_written_whole(tmp_path: Path) -> None:
    goal, content = tmp_path / "new" / "a.json", {"name": "ü", "rows": [{"seconds": 1.5, "peak": None}]}
    write_json(goal, content)
    assert json.loads(goal.read_text(encoding="utf-8")) == content
    with pytest.raises(TypeError):
        write_json(goal, {"path": tmp_path})
    assert json.loads(goal.read_text(encoding="utf-8")) == content


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("wrong")])
def test_a_failure_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    goal = tmp_path / "a.txt"
    goal.write_text("old")

    def write() -> None:
        with whole_file(goal) as part:
            part.write_text("half")
            raise error

    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)) as caught:
        write()
    if isinstance(error, OSError):
        assert str(caught.value).startswith(f"cannot write {goal}: No space left on device")
    assert goal.read_text() == "old"
    assert list(tmp_path.iterdir()) == [goal]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError), whole_file(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    goal = tmp_path / "new" / "a.json"
    content = {"a": [1, 2.5, None, True], "b": {"ü": "text"}}
    write_json(goal, content)
    assert json.loads(goal.read_text(encoding="utf-8")) == content
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(goal, {"psnr_db": math.inf})
    assert json.loads(goal.read_text(encoding="utf-8")) == content
    assert list(goal.parent.iterdir()) == [goal]
