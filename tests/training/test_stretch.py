"""Stretches of training: what they leave, and that the next one goes on as if there had been no break."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from support import moceir_process, run, write_photographs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from moceir.data.mixtures import MixedPairs
from moceir.data.synthesis import Sample
from moceir.errors import ConfigError, TrainingError, WeightsError
from moceir.recipe import Recipe
from moceir.training import losses
from moceir.training.options import TrainOptions
from moceir.training.run import train
from moceir.training.state import TrainingState, load_state, save_state
from moceir.training.stretch import STATE_FILE
from moceir.weights import load

RECIPE: dict[str, Any] = {
    "model": "nano",
    "steps": 6,
    "stages": [{"share": 1, "patch_px": 16, "batch": 4}],
    "tasks": {"noise": 1, "low_light": 1},
    "optimizer": {"lr": 1.0e-3, "schedule": "stretches", "decay_share": 0.5, "warmup_share": 0},
    "validation": {"share": 0.25, "patch_px": 16, "most": 2},
    "ema_decay": 0.5,
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture
def options(photographs: Path, tmp_path: Path) -> TrainOptions:
    return TrainOptions(data=photographs, output=tmp_path / "run", device="cpu")


def recipe(**changes: object) -> Recipe:
    return Recipe.model_validate(RECIPE | changes)


def stretch(options: TrainOptions, name: str, previous: str | None = None, **changes: object) -> TrainingState:
    """Train a stretch in a folder beside the options' one; return its undecayed state."""
    output = options.output.parent / name
    state = None if previous is None else options.output.parent / previous / STATE_FILE
    train(recipe(**changes), dataclasses.replace(options, output=output, continue_from=state))
    return load_state(output / STATE_FILE)


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return torch.cat([(one[key] - other[key]).flatten() for key in one]).norm().item()


def logged(folder: Path, name: str) -> list[tuple[int, float]]:
    board = EventAccumulator(str(folder / "logs"))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(name)]


def test_a_continued_stretch_goes_on_where_the_last_one_stood(options: TrainOptions) -> None:
    first = stretch(options, "first")
    second = stretch(options, "second", "first")
    whole = stretch(options, "whole", steps=12)
    assert (first.steps, second.steps, whole.steps) == (3, 6, 6)
    assert (first.samples, second.samples, whole.samples) == (12, 24, 24)
    # What the moments lose in bfloat16 is little beside what three steps change.
    assert distance(second.weights, whole.weights) < 0.01 * distance(first.weights, whole.weights)
    assert distance(second.average, whole.average) < 0.01 * distance(first.average, whole.average)
    folder = options.output.parent
    ((step, rate),) = logged(folder / "second", "lr")
    assert (step, rate) == (9, pytest.approx(1e-3 * (1 - (2 / 3) ** 0.5))), "two thirds of the decay"
    shipped = load(folder / "second" / "best").state_dict()
    assert distance(shipped, second.weights) > 1e-3, "the decay went on from the state"
    assert second.seconds > first.seconds > 0


def test_no_sample_comes_twice(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = MixedPairs.__getitem__

    def note(self: MixedPairs, index: int) -> Sample:
        seen.append(self.first + index)
        return original(self, index)

    monkeypatch.setattr(MixedPairs, "__getitem__", note)
    stages = [{"share": 0.5, "patch_px": 16, "batch": 4}, {"share": 0.5, "patch_px": 24, "batch": 2}]
    stretch(options, "first", stages=stages, optimizer=RECIPE["optimizer"] | {"decay_share": 0.1})
    assert seen == list(range(3 * 4 + 3 * 2))
    seen.clear()
    stretch(options, "second", "first")
    assert seen == list(range(18, 18 + 24)), "the decay had begun behind the last step"


def test_a_continued_stretch_does_not_warm_up(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moceir.training.stretch.LOOK_EVERY_STEPS", 1)
    optimizer = RECIPE["optimizer"] | {"warmup_share": 0.5}
    stretch(options, "first", optimizer=optimizer)
    stretch(options, "second", "first", optimizer=optimizer)
    first, second = (logged(options.output.parent / name, "lr") for name in ("first", "second"))
    assert first[0][1] < 2e-5
    assert [rate for _, rate in second[:4]] == pytest.approx([1e-3] * 4)


def test_a_state_comes_back_exactly_but_for_the_moments(options: TrainOptions, tmp_path: Path) -> None:
    state = stretch(options, "run")
    generator = torch.Generator().manual_seed(0)
    moments = {key: torch.randn(value.shape, generator=generator) for key, value in state.means.items()}
    changed = dataclasses.replace(state, means=moments)
    save_state(changed, tmp_path / "copy")
    again = load_state(tmp_path / "copy")
    for part in ("weights", "average", "squares"):
        ours, theirs = getattr(again, part), getattr(state, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert all((again.means[key] == moments[key].bfloat16()).all() for key in moments)
    assert (again.model, again.recipe, again.steps) == (state.model, state.recipe, state.steps)


@pytest.mark.slow
def test_two_processes_equal_one_and_continue_its_state(options: TrainOptions) -> None:
    # A large weight on the balance loss, which is where the processes must work together.
    changes = {"loss": {"balance": 10}}
    start = stretch(options, "start", **changes)
    alone = stretch(options, "alone", "start", **changes)
    together = dataclasses.replace(options, processes=2)
    shared = stretch(together, "shared", "start", **changes)
    assert shared.samples == alone.samples
    assert distance(shared.weights, alone.weights) < 0.01 * distance(start.weights, alone.weights)
    scores = [logged(options.output.parent / name, "val/psnr_db") for name in ("alone", "shared")]
    assert scores[0][0][1] == pytest.approx(scores[1][0][1], abs=1e-2)


@pytest.mark.slow
def test_the_command_goes_on_with_the_recipe_of_the_state(options: TrainOptions) -> None:
    stretch(options, "run")
    state = options.output / STATE_FILE
    done = moceir_process("train", "--continue", state, "--data", options.data, "--device", "cpu", "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    assert "validation at step 9" in done.stdout
    assert load_state(state).steps == 6, "in the same folder"
    assert run("train", "--data", options.data).exit_code == 2


def test_a_loss_that_is_not_a_number_reaches_no_weights(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stretch(options, "before")

    def broken(restored: Tensor, clean: Tensor) -> Tensor:
        return restored.mean(dim=(1, 2, 3)) * torch.nan

    monkeypatch.setattr(losses, "l1_loss", broken)
    with pytest.raises(TrainingError, match="not a number within 6 steps before step 9"):
        stretch(options, "after", "before")
    after = load_state(options.output.parent / "after" / STATE_FILE)
    assert distance(after.weights, before.weights) == 0
    assert after.steps == 6


def test_bfloat16_learns_and_without_average_the_weights_are_shipped(options: TrainOptions) -> None:
    state = stretch(options, "run", precision="bfloat16", ema_decay=None)
    assert state.average == {}
    assert all(torch.isfinite(value).all() for value in state.weights.values())
    averaged = stretch(options, "averaged", "run")
    assert averaged.average.keys() == averaged.weights.keys(), "averaging may begin later"


def test_refusals(options: TrainOptions, tmp_path: Path) -> None:
    stretch(options, "run")
    state = options.output / STATE_FILE
    with pytest.raises(ConfigError, match="already holds a run; give --continue"):
        train(recipe(), options)
    with pytest.raises(ConfigError, match="not resumed"):
        train(recipe(), dataclasses.replace(options, resume=True))
    other = dataclasses.replace(options, output=tmp_path / "other", continue_from=state)
    with pytest.raises(ConfigError, match="give one of them"):
        train(recipe(), dataclasses.replace(other, start="tiny"))
    with pytest.raises(ConfigError, match="another network"):
        train(recipe(model="tiny"), other)
    with pytest.raises(ConfigError, match=r"set optimizer\.schedule to stretches"):
        train(recipe(optimizer={"lr": 1e-3}), other)
    with pytest.raises(ConfigError, match="one GPU"):
        train(recipe(), dataclasses.replace(options, nodes=2))
    for content in (b"", b"no state at all"):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(content)
        with pytest.raises(WeightsError, match="cannot be read as a training state"):
            load_state(damaged)
    model = options.output / "best" / "model.safetensors"
    with pytest.raises(WeightsError, match="is not a training state"):
        load_state(model)
