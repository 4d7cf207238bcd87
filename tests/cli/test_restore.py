"""``moceir restore`` end to end, and every kind of bad input as a user would meet it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from support import moceir_process, run, write_picture

import moceir
from moceir import image_io
from moceir.models.execution.compilation import CompiledInference
from moceir.restoration.memory import peak_bytes

EXAMPLES = Path(__file__).parents[2] / "examples" / "degraded"


def test_a_file_becomes_a_file(tmp_path: Path, model_folder: Path) -> None:
    rgb = write_picture(tmp_path / "in.png")
    result = run("restore", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", model_folder)
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert "40x24" in result.stdout
    restored = image_io.read(tmp_path / "out.png").rgb
    assert restored.shape == rgb.shape
    assert (restored != rgb).any()
    expected = moceir.Restorer.from_pretrained(model_folder, device="cpu").restore(rgb)
    np.testing.assert_array_equal(restored, expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 3)])
def test_every_format_and_odd_sizes(tmp_path: Path, model_folder: Path, suffix: str, size: tuple[int, int]) -> None:
    source = tmp_path / f"in{suffix}"
    write_picture(source, *size)
    result = run("restore", source, "-o", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 0
    assert image_io.read(tmp_path / "out" / source.name).rgb.shape[:2] == size


def test_folders_are_mirrored(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / "in" / "a.png")
    write_picture(tmp_path / "in" / "deep" / "ü b.png")
    result = run("restore", tmp_path / "in", "-o", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 0
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")) == [
        "a.png",
        "deep/ü b.png",
    ]
    assert "2 restored, 0 failed" in result.stdout


def bad_missing(folder: Path) -> Path:
    return folder / "nothing.png"


def bad_text(folder: Path) -> Path:
    path = folder / "text.png"
    path.write_text("this is no picture\n" * 20)
    return path


def bad_truncated(folder: Path) -> Path:
    path = folder / "cut.jpg"
    write_picture(path, 200, 200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def bad_empty_folder(folder: Path) -> Path:
    path = folder / "empty"
    path.mkdir()
    return path


@pytest.mark.parametrize("make_bad", [bad_missing, bad_text, bad_truncated, bad_empty_folder])
def test_a_bad_input_is_named_and_the_others_go_on(tmp_path: Path, model_folder: Path, make_bad) -> None:  # type: ignore[no-untyped-def]
    bad = make_bad(tmp_path)
    write_picture(tmp_path / "good.png")
    result = run("restore", bad, tmp_path / "good.png", "-o", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 1
    assert (tmp_path / "out" / "good.png").exists()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["good.png"]
    complaint = result.stderr.strip()
    assert complaint.startswith("failed: ")
    assert complaint.count(str(bad)) == 1
    assert "\n" not in complaint
    assert "Traceback" not in result.output
    assert "1 restored, 1 failed" in result.stdout


def test_existing_outputs_are_kept_unless_told(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / "in.png")
    (tmp_path / "out.png").write_bytes(b"mine")
    command = ("restore", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", model_folder)
    result = run(*command)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (tmp_path / "out.png").read_bytes() == b"mine"
    assert run(*command, "--overwrite").exit_code == 0
    assert image_io.read(tmp_path / "out.png").rgb.shape == (24, 40, 3)


def test_the_input_is_never_replaced(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / "in.png")
    before = (tmp_path / "in.png").read_bytes()
    result = run("restore", tmp_path / "in.png", "-o", tmp_path, "--overwrite", "--model", model_folder)
    assert result.exit_code == 1
    assert "input itself" in str(result.exception)
    assert (tmp_path / "in.png").read_bytes() == before


def test_two_inputs_for_one_output_are_refused_before_anything_is_written(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / "a" / "x.png")
    write_picture(tmp_path / "b" / "x.png")
    result = run("restore", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out", "--model", model_folder)
    assert result.exit_code == 1
    assert "both" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_folder_into_one_file_is_refused(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / "a" / "x.png")
    result = run("restore", tmp_path / "a", "-o", tmp_path / "out.png", "--model", model_folder)
    assert result.exit_code == 1
    assert "give a folder" in str(result.exception)


def test_a_memory_limit_means_tiles_or_a_refusal_with_the_number(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / "in.png", 40, 700)
    command = ("restore", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", model_folder, "--memory-limit")
    result = run(*command, "1MB")
    assert result.exit_code == 1
    assert "MB, and 1 MB may be used" in result.stderr
    needed = peak_bytes(moceir.preset("nano"), 40, 384) + 24 * 40 * 700
    result = run(*command, str(needed))
    assert result.exit_code == 0
    assert "in tiles of 384 for lack of memory" in result.stdout
    assert image_io.read(tmp_path / "out.png").rgb.shape == (40, 700, 3)


def test_the_precision_reaches_the_network(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / "in.png", 20, 30)
    command = ("restore", tmp_path / "in.png", "--model", model_folder, "--device", "cpu", "--precision")
    assert run(*command, "bfloat16", "-o", tmp_path / "out.png").exit_code == 0
    expected = moceir.Restorer.from_pretrained(model_folder, device="cpu", precision="bfloat16").restore(
        image_io.read(tmp_path / "in.png").rgb
    )
    np.testing.assert_array_equal(image_io.read(tmp_path / "out.png").rgb, expected)
    refused = run(*command, "float16", "-o", tmp_path / "other.png")
    assert refused.exit_code == 2
    assert "float16 needs a GPU" in str(refused.exception)
    assert not (tmp_path / "other.png").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch itself has deprecated
def test_compiling_is_asked_for_by_an_option(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[moceir.MoCEIR] = []

    class Recorded(CompiledInference):
        def __init__(self, network: moceir.MoCEIR) -> None:
            asked.append(network)
            super().__init__(network)

    monkeypatch.setattr("moceir.restoration.engine.CompiledInference", Recorded)
    write_picture(tmp_path / "in.png", 20, 30)
    command = ("restore", tmp_path / "in.png", "--model", model_folder, "--device", "cpu")

    assert run(*command, "-o", tmp_path / "plain.png").exit_code == 0
    assert not asked
    assert run(*command, "-o", tmp_path / "compiled.png", "--compile").exit_code == 0
    assert len(asked) == 1
    assert (tmp_path / "compiled.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_wrong_usage_is_code_2() -> None:
    assert run("restore").exit_code == 2
    assert run("restore", "a.png", "-o", "b.png", "--colour", "red").exit_code == 2
    assert run("unknown").exit_code == 2


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.system, (f"touch {self.path}",)


def test_bad_models_give_one_line_and_no_traceback(tmp_path: Path) -> None:
    write_picture(tmp_path / "in.png")
    trap = tmp_path / "trap.ckpt"
    trap.write_bytes(pickle.dumps({"state_dict": Trap(tmp_path / "ran")}))
    for model, telling in [("tinny", "there is no model 'tinny'"), (str(trap), "refused")]:
        done = moceir_process("restore", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", model)
        assert done.returncode == 1
        assert done.stderr.startswith("moceir: ")
        assert done.stderr.count("\n") == 1
        assert telling in done.stderr
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out.png").exists()


def test_version_tells_what_a_report_of_a_problem_needs() -> None:
    first, second, third = moceir_process("--version").stdout.splitlines()
    assert first == f"moceir {version('moceir')}"
    assert second.startswith(f"torch {torch.__version__}, device ")
    assert third == "weights tiny, tiny-x2, tiny-x4"


def test_help_answers_without_torch() -> None:
    code = "import sys; from moceir.cli import app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    help_text = moceir_process("--help").stdout
    assert all(command in help_text for command in ("restore", "degrade", "train", "evaluate"))


def test_tones_are_kept_on_request(tmp_path: Path) -> None:
    scene = image_io.read(EXAMPLES / "low_light_coffee.png").rgb
    image_io.write(tmp_path / "dark.png", image_io.Picture(scene))

    def shift(name: str, *options: str) -> float:
        run("restore", tmp_path / "dark.png", "-o", tmp_path / name, *options)
        restored = image_io.read(tmp_path / name).rgb
        return float(np.abs(restored.astype(float).mean((0, 1)) - scene.mean((0, 1))).max())

    assert shift("bright.png") > 30, "tiny takes the scene for underexposed"
    assert shift("kept.png", "--keep-tones") < 2
    expected = moceir.Restorer.from_pretrained("tiny").restore(scene, keep_tones=True)
    np.testing.assert_array_equal(image_io.read(tmp_path / "kept.png").rgb, expected)
