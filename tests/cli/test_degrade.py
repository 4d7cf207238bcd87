"""``moceir degrade`` end to end: what is written, what is described, what is repeated, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import run, write_picture

from moceir import image_io
from moceir.degradations import Noise, Rain


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A folder with a picture in it and one in a sub-folder."""
    folder = tmp_path / "clean"
    write_picture(folder / "a.png", 40, 56, seed=1)
    write_picture(folder / "deep" / "ü b.tif", 33, 21, seed=2)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its relative name."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "degradations.jsonl").read_text(encoding="utf-8").splitlines()]


def test_folders_are_mirrored_and_every_picture_is_described(tmp_path: Path, clean: Path) -> None:
    result = run("degrade", clean, "-o", tmp_path / "out", "--with", "rain:angle_deg=20,strength=0.6", "--seed", "3")
    assert result.exit_code == 0
    assert "2 degraded, 0 failed" in result.stdout
    assert sorted(contents(tmp_path / "out")) == ["a.png", "deep/ü b.png", "degradations.jsonl"]
    described = lines(tmp_path / "out")
    assert [line["file"] for line in described] == ["a.png", "deep/ü b.png"]
    for line in described:
        before = image_io.read(next(clean.glob(line["file"].replace(".png", ".*")))).rgb
        after = image_io.read(tmp_path / "out" / line["file"]).rgb
        assert after.shape == before.shape
        assert (after >= before).all()
        assert (after > before).any()
        assert line["seed"] == 3
        (step,) = line["steps"]
        assert step.pop("name") == "rain"
        assert (Rain(**step).angle_deg, Rain(**step).strength) == (20, 0.6)
    assert described[0]["steps"] != described[1]["steps"]


def test_noise_is_as_strong_as_asked(tmp_path: Path) -> None:
    image_io.write(tmp_path / "grey.png", image_io.Picture(np.full((128, 128, 3), 128, dtype=np.uint8)))
    assert run("degrade", tmp_path / "grey.png", "-o", tmp_path / "out", "--with", "noise:sigma=25").exit_code == 0
    after = image_io.read(tmp_path / "out" / "grey.png").rgb
    assert after.std() == pytest.approx(25, rel=0.02)
    (line,) = lines(tmp_path / "out")
    assert line["seed"] == 0
    assert line["degradation"] == "noise:sigma_255=25.0"
    assert line["steps"] == [{"name": "noise", **Noise(sigma_255=25).model_dump()}]


@pytest.mark.parametrize("kind", ["low_snow", "noise:sigma=25"])  # with and without parameters left to be drawn
def test_a_picture_depends_on_seed_and_name_alone(tmp_path: Path, clean: Path, kind: str) -> None:
    def make(name: str, *inputs: Path, seed: int = 5) -> dict[str, bytes]:
        command = ("degrade", *inputs, "-o", tmp_path / name, "--with", kind, "--seed", str(seed))
        assert run(*command).exit_code == 0
        return contents(tmp_path / name)

    whole, again, other = make("x", clean), make("y", clean), make("z", clean, seed=6)
    assert whole == again
    assert other["a.png"] != whole["a.png"]
    write_picture(tmp_path / "more" / "0 first.png")
    among_others = make("w", tmp_path / "more", clean / "a.png")
    assert among_others["a.png"] == whole["a.png"]
    # The same pixels under another name are degraded otherwise.
    (tmp_path / "renamed.png").write_bytes((clean / "a.png").read_bytes())
    assert make("v", tmp_path / "renamed.png")["renamed.png"] != whole["a.png"]


def test_several_are_done_in_order(tmp_path: Path, clean: Path) -> None:
    for folder, first, second in (("ab", "low", "haze:beta=1.5"), ("ba", "haze:beta=1.5", "low")):
        assert run("degrade", clean, "-o", tmp_path / folder, "--with", first, "--with", second).exit_code == 0
    assert [step["name"] for step in lines(tmp_path / "ab")[0]["steps"]] == ["low_light", "haze"]
    assert [step["name"] for step in lines(tmp_path / "ba")[0]["steps"]] == ["haze", "low_light"]
    means = [image_io.read(tmp_path / folder / "a.png").rgb.mean() for folder in ("ab", "ba")]
    assert means[0] > means[1] + 40  # haze in front of a dark picture is brighter than a dark picture of haze


@pytest.mark.parametrize("kind", ["real", "low_haze_rain", "blur+poisson_gaussian+jpeg"])
def test_replay_repeats_exactly(tmp_path: Path, clean: Path, kind: str) -> None:
    assert run("degrade", clean, "-o", tmp_path / "x", "--with", kind, "--seed", "11").exit_code == 0
    listing = tmp_path / "x" / "degradations.jsonl"
    assert run("degrade", clean, "-o", tmp_path / "y", "--replay", listing).exit_code == 0
    assert contents(tmp_path / "y") == contents(tmp_path / "x")


def test_replay_follows_what_the_line_says(tmp_path: Path, clean: Path) -> None:
    assert run("degrade", clean / "a.png", "-o", tmp_path / "x", "--with", "noise:sigma=0").exit_code == 0
    listing = tmp_path / "x" / "degradations.jsonl"
    listing.write_text(listing.read_text().replace('"sigma_255":0.0', '"sigma_255":40.0'))
    assert run("degrade", clean / "a.png", "-o", tmp_path / "y", "--replay", listing).exit_code == 0
    before, after = (image_io.read(tmp_path / folder / "a.png").rgb.astype(int) for folder in ("x", "y"))
    assert np.abs(after - before).mean() > 20


def test_replay_names_pictures_without_a_line_and_goes_on(tmp_path: Path, clean: Path) -> None:
    assert run("degrade", clean / "a.png", "-o", tmp_path / "x", "--with", "haze").exit_code == 0
    result = run("degrade", clean, "-o", tmp_path / "y", "--replay", tmp_path / "x" / "degradations.jsonl")
    assert result.exit_code == 1
    assert "has no line for deep/ü b" in result.stderr
    assert sorted(contents(tmp_path / "y")) == ["a.png", "degradations.jsonl"]


def test_existing_outputs_and_their_lines_are_kept_unless_told(tmp_path: Path, clean: Path) -> None:
    out = tmp_path / "out"
    assert run("degrade", clean / "a.png", "-o", out, "--with", "rain").exit_code == 0
    before = (out / "a.png").read_bytes()
    result = run("degrade", clean, "-o", out, "--with", "snow")
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (out / "a.png").read_bytes() == before
    assert [line["degradation"] for line in lines(out)] == ["rain", "snow"]
    assert run("degrade", clean, "-o", out, "--with", "snow", "--overwrite").exit_code == 0
    assert [line["degradation"] for line in lines(out)] == ["snow", "snow"]


def test_the_input_is_never_replaced(tmp_path: Path, clean: Path) -> None:
    before = contents(clean)
    result = run("degrade", clean / "a.png", "-o", clean, "--with", "rain", "--overwrite")
    assert result.exit_code == 1
    assert "input itself" in str(result.exception)
    assert contents(clean) == before


def test_depth_alpha_and_grey_survive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deep = np.repeat(rng.integers(0, 65536, (20, 30, 1), dtype=np.uint16), 3, axis=2)
    alpha = rng.integers(0, 65536, (20, 30), dtype=np.uint16)
    image_io.write(tmp_path / "deep.tif", image_io.Picture(deep, alpha, grey=True))
    command = ("degrade", tmp_path / "deep.tif", "-o", tmp_path / "out", "--with", "haze:beta=0.5", "--format", "tif")
    assert run(*command).exit_code == 0
    made = image_io.read(tmp_path / "out" / "deep.tif")
    assert made.rgb.dtype == np.uint16
    assert made.grey
    assert len(np.unique(made.rgb)) > 300
    np.testing.assert_array_equal(made.alpha, alpha)


def write_depth(path: Path, plane: np.ndarray) -> None:
    image_io.write(path, image_io.Picture(np.repeat(plane[..., None], 3, axis=2), grey=True))


def test_haze_follows_a_depth_map_and_replays_with_it(tmp_path: Path) -> None:
    rgb = write_picture(tmp_path / "a.png", 16, 24)
    plane = np.random.default_rng(3).integers(0, 9000, (16, 24), dtype=np.uint16)
    write_depth(tmp_path / "depth" / "a.tif", plane)
    haze = "haze:beta=1.3,airlight=0.9,warmth=0"
    command = ("degrade", tmp_path / "a.png", "-o", tmp_path / "x", "--with", haze, "--depth", tmp_path / "depth")
    assert run(*command).exit_code == 0
    t = np.exp(-1.3 * plane / plane.max())[..., None]
    expected = rgb * t + 0.9 * 255 * (1 - t)
    assert np.abs(image_io.read(tmp_path / "x" / "a.png").rgb - expected).max() <= 0.51
    replay = ("degrade", tmp_path / "a.png", "-o", tmp_path / "y", "--replay", tmp_path / "x" / "degradations.jsonl")
    result = run(*replay)
    assert result.exit_code == 1
    assert "--depth" in result.stderr
    assert run(*replay, "--depth", tmp_path / "depth").exit_code == 0
    assert contents(tmp_path / "y") == contents(tmp_path / "x")


def test_depth_maps_that_do_not_fit_are_named(tmp_path: Path) -> None:
    for name in "abcd":
        write_picture(tmp_path / "in" / f"{name}.png", 16, 24)
    write_depth(tmp_path / "depth" / "b.png", np.zeros((8, 12), dtype=np.uint8))
    write_picture(tmp_path / "depth" / "c.png", 16, 24)
    write_depth(tmp_path / "depth" / "d.png", np.zeros((16, 24), dtype=np.uint8))
    command = ("degrade", tmp_path / "in", "-o", tmp_path / "out", "--with", "haze", "--depth", tmp_path / "depth")
    result = run(*command)
    assert result.exit_code == 1
    missing, small, coloured = result.stderr.strip().splitlines()
    assert "one depth map named a" in missing
    assert "12x8" in small
    assert "24x16" in small
    assert "in colour" in coloured
    # A map of zeros is a scene without distance, and so without haze.
    assert (
        image_io.read(tmp_path / "out" / "d.png").rgb.tobytes()
        == image_io.read(tmp_path / "in" / "d.png").rgb.tobytes()
    )


def test_bad_inputs_are_named_and_the_others_go_on(tmp_path: Path, clean: Path) -> None:
    (clean / "text.png").write_text("this is no picture")
    result = run("degrade", clean, tmp_path / "nothing.png", "-o", tmp_path / "out", "--with", "jpeg:quality=20")
    assert result.exit_code == 1
    assert "2 degraded, 2 failed" in result.stdout
    assert result.stderr.count("failed: ") == result.stderr.count("\n") == 2
    assert len(lines(tmp_path / "out")) == 2


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--with", "rain", "--replay", "degradations.jsonl"),
        ("--replay", "degradations.jsonl", "--seed", "3"),
        ("--with", "rain", "--depth", "depth"),
        ("--with", "rain", "--format", "gif"),
        ("--with", "rain", "--seed", "three"),
    ],
)
def test_wrong_usage_is_code_2(tmp_path: Path, clean: Path, options: tuple[str, ...]) -> None:
    assert run("degrade", clean, "-o", tmp_path / "out", *options).exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2"),
        ('{"file": "b.png", "seed": 0, "degradation": "rain"}', "'steps' is missing"),
        ('{"file": "b.png", "seed": 0, "degradation": "rain", "steps": [{"name": "rian"}]}', "'rian'"),
        ('{"file": "a.tif", "seed": 0, "degradation": "rain", "steps": []}', "describes a again"),
    ],
)
def test_broken_descriptions_are_refused_before_anything_is_written(
    tmp_path: Path, clean: Path, line: str, words: str
) -> None:
    good = '{"file": "a.png", "seed": 0, "degradation": "clean", "steps": [{"name": "clean"}]}'
    listing = tmp_path / "degradations.jsonl"
    listing.write_text(f"{good}\n{line}\n")
    result = run("degrade", clean, "-o", tmp_path / "out", "--replay", listing)
    assert result.exit_code == 1
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_outputs_that_cannot_be_are_refused(tmp_path: Path, clean: Path) -> None:
    result = run("degrade", clean / "a.png", "-o", tmp_path / "out.png", "--with", "rain")
    assert (result.exit_code, "give a folder" in str(result.exception)) == (1, True)
    write_picture(clean / "a.jpg")
    result = run("degrade", clean, "-o", tmp_path / "out", "--with", "rain")
    assert (result.exit_code, "both" in str(result.exception)) == (1, True)
    result = run("degrade", clean, "-o", tmp_path / "out", "--with", "rian")
    assert "did you mean 'rain'" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_global_random_state_plays_no_part(tmp_path: Path, clean: Path) -> None:
    for folder, state in (("x", 1), ("y", 2)):
        torch.manual_seed(state)
        assert run("degrade", clean, "-o", tmp_path / folder, "--with", "real+rain").exit_code == 0
    assert contents(tmp_path / "x") == contents(tmp_path / "y")
    psnr_db = [
        10 * math.log10(255**2 / np.square(a.astype(float) - b).mean())
        for a, b in [[image_io.read(folder / "a.png").rgb for folder in (clean, tmp_path / "x")]]
    ]
    assert 5 < psnr_db[0] < 30
