"""Runs of the trainer: several processes, interruptions, averaging, low precision, and a loss that is no number."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support import moceir_process, write_photographs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from moceir.errors import ConfigError, TrainingError
from moceir.models.routing import Router, RoutingDecision
from moceir.recipe import Recipe, load_recipe
from moceir.training import losses, validation
from moceir.training import module as module_file
from moceir.training.losses import l1_loss
from moceir.training.run import TrainOptions, train
from moceir.weights import load

RECIPE: dict[str, Any] = {
    "model": "nano",
    "steps": 4,
    "epoch_steps": 2,
    "stages": [{"share": 1, "patch_px": 16, "batch": 4}],
    "tasks": {"noise": 1, "low_light": 1},
    "optimizer": {"lr": 1.0e-3},
    "validation": {"share": 0.25, "patch_px": 16, "most": 2},
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture
def options(photographs: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(data=photographs, output=tmp_path / "run", device="cpu")


def recipe(**changes: object) -> Recipe:
    return Recipe.model_validate(RECIPE | changes)


def last_state(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def weights_of(run: Path) -> dict[str, Tensor]:
    return last_state(run)["state_dict"]


def test_two_processes_equal_one_with_the_joint_batch(options: TrainOptions, tmp_path: Path) -> None:
    # A large weight on the balance loss, which is where the processes must work together.
    changes = {"loss": {"balance": 10}, "steps": 3, "epoch_steps": 3}
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(RECIPE | changes, sort_keys=False))
    done = moceir_process(
        "train", file, "--data", options.data, "-o", tmp_path / "two", "--device", "cpu", "--processes", "2"
    )
    assert done.returncode == 0, done.stderr
    train(recipe(**changes), options)
    one, two = weights_of(options.output), weights_of(tmp_path / "two")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=0, atol=2e-5)
    usage = [logged(run, "routing/") for run in (options.output, tmp_path / "two")]
    assert usage[0] == usage[1], "experts are counted over all processes"


def logged(run: Path, prefix: str) -> dict[str, list[float]]:
    """Values over time of what TensorBoard holds under names that begin so."""
    board = EventAccumulator(str(run / "logs"))
    board.Reload()
    names = [name for name in board.Tags()["scalars"] if name.startswith(prefix)]
    return {name: [event.value for event in board.Scalars(name)] for name in names}


def test_the_use_of_experts_is_logged_and_idle_ones_are_named(
    options: TrainOptions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(x: Tensor, *_: object) -> RoutingDecision:
        """A router that sends every second image to expert 1 and the others to expert 2."""
        experts = torch.arange(len(x)).remainder(2).add(1).unsqueeze(-1)
        stuck.calls += 1
        if len(x) == 1:
            experts = torch.tensor([[1 + (stuck.calls // 3) % 2]])
        return RoutingDecision(
            experts, x.new_full((len(x), 1), 0.25), x.new_zeros(len(x), 4), x.new_zeros(()), experts[:, 0] < 0
        )

    stuck.calls = 0
    monkeypatch.setattr(Router, "decide", lambda self, x, *rest: stuck(x, *rest))
    train(recipe(), options)
    usage = logged(options.output, "routing/")
    assert set(usage) == {
        f"routing/{name}"
        for task in ("noise", "low_light")
        for name in (*(f"share/{task}/expert_{e}" for e in range(4)), f"entropy_bits/{task}")
    }
    for task in ("noise", "low_light"):
        assert [len(values) for values in usage.values()] == [2] * len(usage), "two validations"
        shares = [usage[f"routing/share/{task}/expert_{e}"] for e in range(4)]
        assert shares[0] == shares[3] == [0, 0]
        assert [a + b for a, b in zip(shares[1], shares[2], strict=True)] == [1, 1]
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings == [
        "warning: at step 2 no validation picture went to expert 0 of block 0, expert 3 of block 0, "
        "expert 0 of block 1, expert 3 of block 1, expert 0 of block 2, expert 3 of block 2"
    ], "once, as long as they are the same"


def test_averaged_weights_survive_an_interruption(options: TrainOptions, tmp_path: Path) -> None:
    changes = {"ema_decay": 0.5, "accumulate": 2}
    whole = dataclasses.replace(options, output=tmp_path / "whole")
    train(recipe(**changes), whole)

    class PowerCutError(Exception):
        pass

    def cut(*_: object) -> None:
        raise PowerCutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module_file.RestorationModule, "on_train_epoch_start", lambda self: self.current_epoch and cut())
        with pytest.raises(PowerCutError):
            train(recipe(**changes), options)
    best = train(recipe(**changes), dataclasses.replace(options, resume=True))
    ours, theirs = last_state(options.output), last_state(whole.output)
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, theirs[part][key]) for key, value in ours[part].items())
    averaged, current = ours["state_dict"], ours["current_model_state"]
    assert any(not torch.equal(value, current[key]) for key, value in averaged.items())
    assert set(load(best).state_dict()) == {key.removeprefix("network.") for key in averaged if "network" in key}


def test_the_last_checkpoint_is_written_when_it_is_not_the_best(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def falls(restored: Tensor, clean: Tensor) -> Tensor:
        calls.append(1)
        return torch.full((len(clean),), 50.0 - len(calls))

    monkeypatch.setattr(validation, "psnr_db", falls)
    train(recipe(), options)
    assert last_state(options.output)["global_step"] == recipe().steps
    assert [path.name for path in (options.output / "checkpoints").glob("best*")] == ["best-step=2.ckpt"]


def test_a_killed_run_keeps_a_whole_checkpoint_and_goes_on(options: TrainOptions, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(RECIPE | {"steps": 200}))
    command = [sys.executable, "-m", "moceir", "train", file, "--data", options.data, "-o", options.output]
    process = subprocess.Popen([*map(str, command), "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    last = options.output / "checkpoints" / "last.ckpt"
    until = time.monotonic() + 300
    while not last.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = last_state(options.output)["global_step"]
    assert 0 < reached < 200
    settings = load_recipe(options.output / "recipe.yaml")
    # Let it end at the next checkpoint: the budget is spent from the first step on.
    train(settings, dataclasses.replace(options, resume=True, max_seconds=1e-3))
    assert last_state(options.output)["global_step"] == reached + 1


def test_a_loss_that_is_no_number_stops_the_run(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def breaks_at_the_fourth(restored: Tensor, clean: Tensor) -> Tensor:
        calls.append(1)
        return l1_loss(restored, clean) * (torch.nan if len(calls) == 4 else 1)

    monkeypatch.setattr(losses, "l1_loss", breaks_at_the_fourth)
    with pytest.raises(TrainingError, match="at step 3; nothing of it reached"):
        train(recipe(), options)
    assert len(calls) == 4
    assert all(torch.isfinite(value).all() for value in weights_of(options.output).values())


def test_bfloat16_and_no_validation(options: TrainOptions) -> None:
    best = train(recipe(precision="bfloat16", validation={"share": 0}), options)
    assert all(value.dtype == torch.float32 for value in weights_of(options.output).values())
    ours = load(best).state_dict()["output.weight"]  # weights travel in half precision
    torch.testing.assert_close(ours, weights_of(options.output)["network.output.weight"], rtol=1e-3, atol=1e-4)


def test_settings_that_do_not_fit_the_machine(options: TrainOptions) -> None:
    with pytest.raises(ConfigError, match="float16 cannot be trained on a CPU"):
        train(recipe(precision="float16"), options)
    with pytest.raises(ConfigError, match="cannot be shared by 3 processes"):
        train(recipe(), dataclasses.replace(options, processes=3))
    with pytest.raises(ConfigError, match="--start"):
        train(recipe(model=None), options)


def test_pictures_and_routes_of_the_validation_are_shown(options: TrainOptions) -> None:
    train(recipe(), options)
    board = EventAccumulator(str(options.output / "logs"), size_guidance={"images": 0, "histograms": 0})
    board.Reload()
    tags = board.Tags()
    assert set(tags["images"]) == {"restored/noise", "restored/low_light"}
    assert set(tags["histograms"]) == {"experts/noise", "experts/low_light"}
    assert board.Images("restored/noise")[-1].width == 3 * 16
    assert {"val/psnr_db", "val/route_cost/noise", "loss/balance", "lr"} <= set(tags["scalars"])
    assert 0 < board.Scalars("val/route_cost")[-1].value <= 1
