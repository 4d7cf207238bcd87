"""The kit for accelerators, rehearsed from end to end on a processor, with a kill in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support import write_photographs, write_picture

from moceir import image_io
from moceir.errors import DataError, TrainingError
from moceir.evaluation.selection import judge_scores
from moceir.training.state import load_state
from moceir.training.stretch import STATE_FILE
from tools.accelerator.__main__ import main
from tools.accelerator.networks import NETWORKS
from tools.accelerator.pack import pack_photographs, tree_bytes
from tools.accelerator.parcel import MANIFEST, PART_BYTES, receive, send, small_state
from tools.accelerator.run import Watch

ROOT = Path(__file__).parents[2]
SMALL = ["stages.0.patch_px=16", "stages.0.batch=2", "precision=float32", "compile=false", "ema_decay=0.5"]
SMALL += ["tasks={noise: 1, clean: 1}", "validation.patch_px=16", "validation.most=1", "validation.share=0.25"]
CHANGES = [word for change in SMALL for word in ("--set", change)]
ON_PROCESSOR = ["--network", "tiny", "--device", "cpu", "--least", "0"]


def states_in(folder: Path) -> list[str]:
    manifest = folder / MANIFEST
    return json.loads(manifest.read_text()).get(STATE_FILE, {}).get("parts", []) if manifest.exists() else []


@pytest.mark.slow
def test_a_loan_from_packing_to_the_verdict(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs, packed, back = write_photographs(tmp_path / "photographs", 4), tmp_path / "packed", tmp_path / "back"
    packing = ["pack", str(photographs), "--network", "tiny", "--start", str(model_folder), "--no-wheels", *CHANGES]
    assert main([*packing, "-o", str(packed), "--set", "model=nano"]) == 0

    # The first run is killed as soon as a state has come back.
    arguments = ["run", *ON_PROCESSOR, "--packed", str(packed), "--save-every", "0.5"]
    command = [sys.executable, "-m", "tools.accelerator", *arguments, "--seconds", "300", "-o", str(back)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until = time.monotonic() + 120
    while not states_in(back) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[0].decode()
    assert states_in(back), said
    receive(back, tmp_path / "rescued")
    rescued = load_state(tmp_path / "rescued" / STATE_FILE)
    assert rescued.steps > 0

    # A second loan goes on from what was rescued.
    again, second = tmp_path / "again", tmp_path / "second"
    state = ["--state", str(tmp_path / "rescued" / STATE_FILE), "-o", str(again), "--set", "model=nano"]
    assert main([*packing, *state]) == 0
    monkeypatch.setattr("tools.accelerator.run.MARGIN_S", 0)
    run = ["run", *ON_PROCESSOR, "--packed", str(again), "--seconds", "8", "-o", str(second)]
    assert main(run) == 0
    assert "goes on from" in capsys.readouterr().out
    assert {path.name.partition(".safe")[0] for path in second.iterdir()} >= {"state", "model", MANIFEST}
    assert max(path.stat().st_size for path in second.iterdir()) <= PART_BYTES
    model = tmp_path / "model"
    receive(second, model)
    later = load_state(model / STATE_FILE)
    assert (later.steps > rescued.steps, later.samples > rescued.samples) == (True, True)

    # The verdict on what came back.
    judging = ["--photographs", str(photographs), "--pictures", "1", "--task", "noise:sigma=25"]
    installing = ["--install", str(tmp_path / "new")]
    code = main(["accept", str(model), "--best", str(model_folder), *judging, *installing])
    verdict = json.loads((model / "verdict.json").read_text())
    accepted = verdict["verdict"]["accepted"]
    assert code == (0 if accepted else 1)
    assert (tmp_path / "new" / "model.safetensors").exists() == accepted
    assert set(verdict["candidate"]) == {"noise:sigma=25", "dark noise:sigma=25"}
    assert main(["accept", str(second), "--best", str(model_folder), *judging]) == (0 if accepted else 1)
    assert "files put together" in capsys.readouterr().out


def test_a_slow_run_ends_itself(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch(expected=5000, least=1000, first_look_s=30)
    watch(10.0, 100)
    watch(31.0, 93_000)
    watch(60.0, 94_000)
    assert capsys.readouterr().out == "31 s: 3000 patches per second (5000 expected)\n"
    with pytest.raises(TrainingError, match="500 patches per second are too few"):
        watch(92.0, 93_000 + 61 * 500)


def test_files_travel_in_parts_and_damage_is_found(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(2 * PART_BYTES + 5)
    send("a", b"before", tmp_path / "small")
    send("a", content, tmp_path / "small")
    send("b", b"beside", tmp_path / "small")
    assert len(list((tmp_path / "small").iterdir())) == 3 + 1 + 1
    receive(tmp_path / "small", tmp_path / "whole")
    assert (tmp_path / "whole" / "a").read_bytes() == content
    assert (tmp_path / "whole" / "b").read_bytes() == b"beside"
    first = next(path for path in (tmp_path / "small").iterdir() if path.name.startswith("a."))
    first.write_bytes(b"changed")
    with pytest.raises(DataError, match=r"a in .* is damaged"):
        receive(tmp_path / "small", tmp_path / "whole")
    first.unlink()
    with pytest.raises(DataError, match="a part of a is missing"):
        receive(tmp_path / "small", tmp_path / "whole")


def test_a_rounded_state_is_small_and_close(tmp_path: Path) -> None:
    from moceir.models.network import MoCEIR
    from moceir.models.presets import preset
    from moceir.recipe import Recipe
    from moceir.training.learner import Learner
    from moceir.training.state import save_state
    from moceir.training.team import Team

    content = {"steps": 1, "stages": [{"share": 1, "patch_px": 16, "batch": 2}], "tasks": {"noise": 1}}
    recipe = Recipe.model_validate(content | {"optimizer": {"lr": 1e-3}, "ema_decay": 0.5})
    learner = Learner(MoCEIR(preset("nano")), recipe, torch.device("cpu"), Team())
    for p in learner.parameters:
        learner.optimizer.state[p]["exp_avg_sq"].uniform_(1, 2)
    path = tmp_path / "state"
    save_state(learner.state(1.0), path)
    assert small_state(path) == path.read_bytes()
    rounded = small_state(path, room=0)
    assert len(rounded) < 2.4 * sum(p.numel() for p in learner.network.parameters())
    path.write_bytes(rounded)
    state = load_state(path)
    other = Learner(MoCEIR(preset("nano")), recipe, torch.device("cpu"), Team())
    other.restore(state)
    for mine, theirs in zip(learner.network.parameters(), other.network.parameters(), strict=True):
        torch.testing.assert_close(theirs, mine, rtol=1e-3, atol=1e-6)
    for p in other.parameters:
        assert ((other.optimizer.state[p]["exp_avg_sq"] >= 1) & (other.optimizer.state[p]["exp_avg_sq"] <= 2)).all()


def test_photographs_keep_their_names_when_they_are_compressed_again(tmp_path: Path) -> None:
    for number in range(3):
        write_picture(tmp_path / "all" / f"{number}.png", 200, 200, seed=number)
        smooth = np.kron(np.random.default_rng(number).integers(0, 256, (25, 25, 3)), np.ones((16, 16, 1)))
        image_io.write(tmp_path / "all" / f"{number}.jpg", image_io.Picture(smooth.astype(np.uint8)), quality=100)
    before = sum(path.stat().st_size for path in (tmp_path / "all").iterdir())
    pack_photographs(tmp_path / "all", tmp_path / "same", before)
    pack_photographs(tmp_path / "all", tmp_path / "less", before - 3_000)
    names = {path.name for path in (tmp_path / "all").iterdir()}
    for folder in ("same", "less"):
        assert {path.name for path in (tmp_path / folder).iterdir()} == names
    assert all((tmp_path / "same" / name).read_bytes() == (tmp_path / "all" / name).read_bytes() for name in names)
    assert sum(path.stat().st_size for path in (tmp_path / "less").iterdir()) <= before - 3_000
    with pytest.raises(DataError, match="give smaller ones"):
        pack_photographs(tmp_path / "all", tmp_path / "none", 1000)
    assert tree_bytes() > 100_000


def test_the_rule_of_selection() -> None:
    best = {"noise": 30.0, "rain": 36.0, "clean": 52.0}
    assert judge_scores(best | {"noise": 30.1}, best).accepted
    assert not judge_scores(best, best).accepted, "the mean must rise"
    assert not judge_scores(best | {"noise": 31.0, "rain": 35.8}, best).accepted
    assert judge_scores(best | {"noise": 31.0, "rain": 35.9}, best).accepted
    assert judge_scores(best | {"noise": 30.1, "clean": 46.0}, best).accepted, "nobody sees more than 45 dB"
    verdict = judge_scores(best | {"noise": 31.0, "clean": 44.0}, best)
    assert (verdict.accepted, verdict.worst_task, verdict.worst_gain_db) == (False, "clean", -1.0)
    assert "refused: +0.000 dB in the mean" in str(verdict)
    with pytest.raises(DataError, match="different tasks"):
        judge_scores({"noise": 1.0}, best)


def test_measurements_run_on_a_processor(tmp_path: Path, model_folder: Path) -> None:
    from tools.accelerator.measure import measure

    size = {"sizes": [(64, 48)], "batches": [1, 2], "forms": ["float32", "bfloat16"]}
    measure(str(model_folder), "cpu", tmp_path, **size)
    content = json.loads((tmp_path / "measure.json").read_text())
    assert [(row["form"], row["batch"]) for row in content["inference"]] == [
        (form, batch) for form in size["forms"] for batch in (1, 2)
    ]
    assert all(row["share_of_products"] > 0 for row in content["inference"])
    assert len(content["layers"]) == 5


def test_the_page_shows_the_table_that_runs_obey() -> None:
    page = (ROOT / "tools" / "accelerator" / "README.md").read_text(encoding="utf-8")
    for name, e in NETWORKS.items():
        assert f"| `{name}` | {e.batch} | {e.lr:g} | {e.rate:,} | {e.least:,} |" in page
