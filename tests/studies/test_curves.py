"""Curves of a run are those in its TensorBoard log."""

import sys
from pathlib import Path

import pytest
from curves import draw, main, read_curves
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from moceir.errors import DataError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with SummaryWriter(str(tmp_path / "run" / "logs")) as board:
        for step, value in ((10, 20.0), (20, 21.5)):
            board.add_scalar("val/psnr_db", value, step)
            board.add_scalar("val/psnr_db/rain", value + 1, step)
            board.add_scalar("loss/total", 1, step)
    return tmp_path / "run"


def test_curves_are_those_of_the_log(run: Path) -> None:
    curves = read_curves(run)
    assert curves == {"mean": [(10, 20.0), (20, 21.5)], "rain": [(10, 21.0), (20, 22.5)]}
    axes = draw({"a": curves, "b": {"mean": [(1, 2.0)]}}, "dB").axes
    panels = {panel.get_title(): panel.lines for panel in axes}
    assert [len(panels[name]) for name in ("mean", "rain", "")] == [2, 1, 0]
    assert [panel.axison for panel in axes] == [True, True, False, False]
    assert panels["rain"][0].get_xydata().tolist() == [[10, 21], [20, 22.5]]


def test_the_script_writes_a_picture(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "curves.png"
    monkeypatch.setattr(sys, "argv", ["curves.py", str(run), "-o", str(target)])
    main()
    with Image.open(target) as picture:
        assert picture.format == "PNG"


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no log of val/psnr_db; give a run folder"):
        read_curves(tmp_path)
