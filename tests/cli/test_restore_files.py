"""``moceir restore`` on folders of real files: options, names, reports, streams, limits, interruptions."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run, write_picture
from typer.testing import CliRunner

import moceir
from moceir import image_io
from moceir.cli import app
from moceir.files import part_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures of three formats, one of them in a sub-folder."""
    write_picture(tmp_path / "in" / "a.png", seed=1)
    write_picture(tmp_path / "in" / "b.jpg", seed=2)
    write_picture(tmp_path / "in" / "deep" / "c.tif", seed=3)
    return tmp_path / "in"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def lines(report: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in report.read_text().splitlines()]


def test_report_has_a_line_for_each_file(tmp_path: Path, folder: Path, model_folder: Path) -> None:
    (folder / "broken.png").write_text("no picture")
    report = tmp_path / "new" / "report.jsonl"
    clean = tmp_path / "clean"
    write_picture(clean / "a.webp", seed=1)
    write_picture(clean / "deep" / "c.png", seed=3)
    command = ("restore", folder, "-o", tmp_path / "out", "-m", model_folder, "--report", report, "--reference", clean)
    result = run(*command)
    assert result.exit_code == 1
    assert "3 restored, 1 failed in " in result.stdout
    assert "megapixels/s" in result.stdout
    rows = {Path(row["input"]).name: row for row in lines(report)}
    assert rows.keys() == {"a.png", "b.jpg", "broken.png", "c.tif"}
    assert rows["broken.png"]["status"] == "failed"
    assert "cannot be read" in rows["broken.png"]["error"]
    row = rows["c.tif"]
    assert row["output"] == str(tmp_path / "out" / "deep" / "c.tif")
    assert (row["status"], row["error"], row["width"], row["height"]) == ("restored", None, 40, 24)
    assert row["megapixels"] == pytest.approx(40 * 24 / 1e6)
    assert row["bytes"] == (tmp_path / "out" / "deep" / "c.tif").stat().st_size
    assert row["seconds"] >= row["network_seconds"] > 0
    assert row["precision"] in ("float32", "bfloat16")
    restored, routing = moceir.Restorer.from_pretrained(model_folder, device="cpu").restore(
        image_io.read(folder / "deep" / "c.tif").rgb, return_routing=True
    )
    assert row["route"] == [list(block) for block in routing.experts]
    clean_pixels = image_io.read(clean / "deep" / "c.png").rgb
    expected = -10 * np.log10(np.square(restored / 255 - clean_pixels / 255).mean())
    assert row["psnr_after_db"] == pytest.approx(expected, abs=0.001)
    assert row["psnr_before_db"] is None  # the two are equal: infinite
    assert "psnr_after_db" not in rows["b.jpg"]  # it has no partner
    assert "PSNR inf -> " in result.stdout


def test_a_rerun_goes_on_and_the_report_with_it(tmp_path: Path, folder: Path, model_folder: Path) -> None:
    report, out = tmp_path / "report.jsonl", tmp_path / "out"
    command = ("restore", folder, "-o", out, "-m", model_folder, "--report", report)
    assert run(*command).exit_code == 0
    before = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    (out / "b.jpg").unlink()
    with report.open("ab") as file:
        file.write(b'{"input": "half a li')
    result = run(*command, "--skip-existing")
    assert result.exit_code == 0
    assert "1 restored, 0 failed, 2 skipped" in result.stdout
    after = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    assert {name for name in before if before[name] != after[name]} == {"b.jpg"}
    assert [row["status"] for row in lines(report)] == ["restored"] * 3 + ["skipped"] * 2 + ["restored"]
    assert run(*command).exit_code == 1
    assert run(*command, "--overwrite").exit_code == 0
    assert run(*command, "--overwrite", "--skip-existing").exit_code == 2


def test_formats_names_quality_and_metadata(tmp_path: Path, folder: Path, model_folder: Path) -> None:
    out = tmp_path / "out"
    common = ("restore", folder, "-m", model_folder)
    assert run(*common, "-o", out, "--format", "webp", "--suffix", "_x", "--strip-metadata").exit_code == 0
    assert names(out) == ["a_x.webp", "b_x.webp", "deep/c_x.webp"]
    assert image_io.read(out / "a_x.webp").format == "webp"
    for quality in ("20", "95"):
        assert run(*common, "-o", tmp_path / quality, "--format", "jpeg", "--quality", quality).exit_code == 0
    assert (tmp_path / "20" / "a.jpg").stat().st_size < (tmp_path / "95" / "a.jpg").stat().st_size / 2
    assert run(*common, "--suffix", "_new").exit_code == 0
    assert names(folder) == ["a.png", "a_new.png", "b.jpg", "b_new.jpg", "deep/c.tif", "deep/c_new.tif"]
    again = run(*common, "--suffix", "_new", "--skip-existing")
    assert again.exit_code == 0
    assert "0 restored, 0 failed, 3 skipped" in again.stdout


def test_what_is_lost_is_said(tmp_path: Path, model_folder: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (8, 8, 3), dtype=np.uint16)
    image_io.write(tmp_path / "a.png", image_io.Picture(deep, alpha=deep[..., 0]))
    result = run("restore", tmp_path / "a.png", "-o", tmp_path / "a.jpg", "-m", model_folder)
    assert "transparency laid on white, 16 bits became 8" in result.stdout


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_strength(tmp_path: Path, model_folder: Path, suffix: str) -> None:
    rgb = write_picture(tmp_path / f"in{suffix}").astype(int)
    done = {}
    for strength in ("0", "0.25", "1"):
        out = tmp_path / f"{strength}{suffix}"
        command = ("restore", tmp_path / f"in{suffix}", "-o", out, "-m", model_folder, "--strength", strength)
        assert run(*command).exit_code == 0
        done[strength] = image_io.read(out).rgb.astype(int)
    np.testing.assert_array_equal(done["0"], rgb)
    changed = done["1"] != rgb
    assert changed.mean() > 0.5
    np.testing.assert_allclose(done["0.25"], 0.75 * rgb + 0.25 * done["1"], atol=1)
    assert run("restore", tmp_path / f"in{suffix}", "-o", tmp_path / "x.png", "--strength", "1.5").exit_code == 2


def test_one_picture_through_the_streams(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / "in.jpg")
    run("restore", tmp_path / "in.jpg", "-o", tmp_path / "out.jpg", "-m", model_folder)
    data = (tmp_path / "in.jpg").read_bytes()
    result = CliRunner().invoke(app, ["restore", "-", "-o", "-", "-m", str(model_folder)], input=data)
    assert result.exit_code == 0
    assert result.stdout_bytes == (tmp_path / "out.jpg").read_bytes()
    assert "restored - -> standard output.jpg (40x24" in result.stderr
    to_file = CliRunner().invoke(
        app, ["restore", "-", "-o", str(tmp_path / "b.jpg"), "-m", str(model_folder)], input=data
    )
    assert (to_file.exit_code, to_file.stdout) == (0, "")
    assert (tmp_path / "b.jpg").read_bytes() == result.stdout_bytes
    from_file = run("restore", tmp_path / "in.jpg", "-o", "-", "--format", "png", "-m", model_folder)
    np.testing.assert_array_equal(
        image_io.decode(from_file.stdout_bytes, "out").rgb.shape, image_io.read(tmp_path / "out.jpg").rgb.shape
    )
    for options in (["-", "x.png", "-o", "-"], ["-", "-o", "-", "--sequence"], ["a", "b", "-o", "-"]):
        assert CliRunner().invoke(app, ["restore", *options], input=data).exit_code == 2
    broken = CliRunner().invoke(app, ["restore", "-", "-o", "-", "-m", str(model_folder)], input=data[:100])
    assert "standard input cannot be read" in str(broken.exception)


@pytest.mark.parametrize("options", [(), ("-o", "out", "--suffix", "a/b"), ("-o", "out", "--quality", "0")])
def test_usage(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run("restore", tmp_path, *options).exit_code == 2
    assert run("restore", tmp_path, "-o", "out", "--format", "png", "--quality", "80").exit_code == 2


ODD = ["-dash.png", "new\nline.png", "Ünï 写真.png", "q'\"[1]*?.png", "  .png", "x" * 246 + ".png", b"bytes\xff.png"]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_odd_names(tmp_path: Path, model_folder: Path, name: str | bytes) -> None:
    plain = write_picture(tmp_path / "plain.png")
    odd = tmp_path / "in" / os.fsdecode(name)
    odd.parent.mkdir()
    (tmp_path / "plain.png").rename(odd)
    for source in (odd, odd.parent):
        out = tmp_path / ("file" if source == odd else "folder")
        result = run("restore", source, "-o", out, "-m", model_folder, "--report", tmp_path / "report.jsonl")
        assert result.exit_code == 0
        assert result.stdout.count("\n") == 1
        assert [os.fsencode(path.name) for path in out.iterdir()] == [os.fsencode(odd.name)]
        assert image_io.read(out / odd.name).rgb.shape == plain.shape
    assert [row["input"] for row in lines(tmp_path / "report.jsonl")] == [str(odd)] * 2


def test_names_that_become_too_long_fail_before_the_work(tmp_path: Path, model_folder: Path) -> None:
    write_picture(tmp_path / ("x" * 246 + ".png"))
    result = run("restore", tmp_path / ("x" * 246 + ".png"), "--suffix", "_restored", "-m", model_folder)
    assert result.exit_code == 1
    assert "File name too long" in result.stderr
    assert len(list(tmp_path.iterdir())) == 1


def test_limits_are_options(tmp_path: Path, folder: Path, model_folder: Path) -> None:
    common = ("restore", folder, "-o", tmp_path / "out", "-m", model_folder)
    result = run(*common, "--max-megapixels", "0.0005")
    assert result.stderr.count("40x24 pixels, above the limit of 0.0005 megapixels") == 3
    result = run(*common, "--max-file-size", "1KB")
    assert result.stderr.count("larger than the limit of 0.001 MB per file") == 3
    assert not (tmp_path / "out").exists()
    assert run(*common, "--max-megapixels", "0").exit_code == 2


def test_a_bomb_is_refused_without_being_unpacked(tmp_path: Path, model_folder: Path) -> None:
    import pyvips

    path = tmp_path / "bomb.png"
    pyvips.Image.black(40000, 40000).pngsave(str(path), bitdepth=1, compression=9)
    assert path.stat().st_size < 500_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run("restore", path, "-o", tmp_path / "out.png", "-m", model_folder)
    assert "claims 40000x40000 pixels" in result.stderr
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; it would be 1,600,000


def test_leftovers_of_a_killed_run_are_reused(tmp_path: Path, folder: Path, model_folder: Path) -> None:
    out = tmp_path / "out"
    part = part_of(out / "a.png")
    out.mkdir()
    part.write_bytes(b"half a picture")
    assert run("restore", folder, "-o", out, "-m", model_folder).exit_code == 0
    assert names(out) == ["a.png", "b.jpg", "deep/c.tif"]


def test_a_full_disk_stops_the_run_and_says_how_to_go_on(tmp_path: Path, model_folder: Path) -> None:
    for i in range(6):
        write_picture(tmp_path / "in" / f"{i}.png", 8, 8, seed=i)
    write_picture(tmp_path / "in" / "2.png", 90, 90)

    def at_most_4_kb() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    # The system's own refusal, by the nearest thing to a full disk that needs no rights.
    code = "import errno, sys, moceir.cli.run.jobs as jobs, moceir.cli; jobs.FULL += (errno.EFBIG,); moceir.cli.main()"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "restore",
            str(tmp_path / "in"),
            "-o",
            str(tmp_path / "out"),
            "-m",
            str(model_folder),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=at_most_4_kb,
        check=False,
    )
    assert done.returncode == 1
    failed, stopped = done.stderr.strip().splitlines()
    assert "2.png: cannot write" in failed
    assert "File too large" in failed
    assert "left to do; go on with the same command and --skip-existing" in stopped
    whole = names(tmp_path / "out")
    assert "2.png" not in whole
    assert {"0.png", "1.png"} <= set(whole) < {f"{i}.png" for i in range(6)}
    assert all(image_io.read(tmp_path / "out" / name).rgb.shape == (8, 8, 3) for name in whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_finishes_the_picture_in_hand(
    tmp_path: Path, model_folder: Path, number: signal.Signals
) -> None:
    for i in range(200):
        write_picture(tmp_path / "in" / f"{i:03}.png", 32, 32, seed=i)
    command = [
        sys.executable,
        "-m",
        "moceir",
        "restore",
        "in",
        "-o",
        "out",
        "-m",
        str(model_folder),
        "--report",
        "r.jsonl",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not (tmp_path / "out" / "001.png").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "finishing the picture in hand" in errors
    made = names(tmp_path / "out")
    assert 2 <= len(made) < 200
    assert f"stopped with {200 - len(made)} left to do; go on with the same command and --skip-existing" in errors
    assert f"{len(made)} restored, 0 failed" in output
    assert len(lines(tmp_path / "r.jsonl")) == len(made)
    assert "Traceback" not in errors


def test_enlarging(tmp_path: Path, folder: Path) -> None:
    """A model that enlarges by 4, asked for 4, for less, and for more than a limit allows."""
    network = moceir.MoCEIR(moceir.preset("nano").model_copy(update={"scale": 4}))
    model = tmp_path / "model"
    network.save_pretrained(model)
    report = tmp_path / "report.jsonl"
    common = ("restore", folder, "--model", model, "--device", "cpu")
    result = run(*common, "-o", tmp_path / "out", "--upscale", "4", "--report", report)
    assert result.exit_code == 0, result.output
    assert "160x96" in result.output
    assert {(row["width"], row["height"], row["upscale"]) for row in lines(report)} == {(160, 96, 4)}
    assert image_io.read(tmp_path / "out" / "deep" / "c.tif").rgb.shape == (96, 160, 3)
    assert run(*common, "-o", tmp_path / "less", "--upscale", "3").exit_code == 0
    assert image_io.read(tmp_path / "less" / "a.png").rgb.shape == (72, 120, 3)
    limited = run(*common, "-o", tmp_path / "limited", "--upscale", "4", "--max-megapixels", "0.015")
    assert limited.exit_code == 1
    assert "4 times as many each way" in limited.output


def test_enlarging_needs_a_network_that_does(tmp_path: Path, folder: Path, model_folder: Path) -> None:
    result = run("restore", folder, "-o", tmp_path / "out", "-m", model_folder, "--device", "cpu", "--upscale", "2")
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()
    assert run("restore", folder, "-o", tmp_path / "out", "--upscale", "5").exit_code == 2
