"""``moceir train`` end to end on a handful of drawn pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from support import moceir_process, run, write_photographs

from moceir import image_io
from moceir.recipe import load_recipe
from moceir.training import run as training
from moceir.training.schedule import ScheduleCallback
from moceir.weights import load, read_description


class InterruptedRunError(Exception):
    """Stands for a power cut."""


RECIPE = {
    "model": "nano",
    "steps": 6,
    "epoch_steps": 3,
    "stages": [{"share": 0.5, "patch_px": 16, "batch": 2}, {"share": 0.5, "patch_px": 32, "batch": 2}],
    "tasks": {"noise": 1, "rain": 1, "haze": 1, "blur": 1, "low_light": 1, "jpeg": 1, "clean": 0.5},
    "optimizer": {"lr": 1.0e-3},
    "validation": {"share": 0.25, "patch_px": 32, "most": 2},
    "seed": 3,
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"))


def write_recipe(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(RECIPE | changes))
    return path


@pytest.fixture(scope="module")
def whole_run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from start to end, as a user starts it."""
    folder = tmp_path_factory.mktemp("run")
    recipe = write_recipe(folder / "recipe_in.yaml")
    done = moceir_process("train", recipe, "--data", photographs, "-o", folder / "run", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "step 6" in done.stdout
    assert str(folder / "run" / "best") in done.stdout
    return folder / "run"


def test_a_run_leaves_a_model_that_restores(whole_run: Path, photographs: Path, tmp_path: Path) -> None:
    assert (whole_run / "recipe.yaml").exists()
    assert list((whole_run / "logs").glob("events*"))
    description = read_description(whole_run / "best")
    assert description.training["seed"] == 3
    assert description.provenance["steps"] == 6
    result = run("restore", photographs / "p0.png", "-o", tmp_path / "out.png", "--model", whole_run / "best")
    assert result.exit_code == 0


def test_resumed_equals_uninterrupted(
    whole_run: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "recipe.yaml"))
    options = training.TrainOptions(data=photographs, output=tmp_path / "run", device="cpu")

    def stop_in_the_second_epoch(self: ScheduleCallback, trainer, *_: object) -> None:  # type: ignore[no-untyped-def]
        if trainer.global_step == 4:
            raise InterruptedRunError

    with monkeypatch.context() as patch:
        patch.setattr(ScheduleCallback, "on_train_batch_end", stop_in_the_second_epoch)
        with pytest.raises(InterruptedRunError):
            training.train(recipe, options)
    best = training.train(
        recipe, training.TrainOptions(data=photographs, output=tmp_path / "run", device="cpu", resume=True)
    )
    ours = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    theirs = torch.load(whole_run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert load(best).config.dim == 16


def test_start_from_weights(whole_run: Path, photographs: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", steps=1, optimizer={"lr": 1e-9, "final_lr": 0})
    result = run(
        "train", recipe, "--data", photographs, "-o", tmp_path / "run", "--start", whole_run / "best", "--device", "cpu"
    )
    assert result.exit_code == 0
    begun, ended = load(whole_run / "best").state_dict(), load(tmp_path / "run" / "best").state_dict()
    assert all(torch.allclose(begun[key], ended[key], atol=1e-3) for key in begun)


def test_start_from_weights_of_a_smaller_network(whole_run: Path, photographs: Path, tmp_path: Path) -> None:
    config = load(whole_run / "best").config
    larger = config.model_copy(update={"dim": 2 * config.dim, "latent_blocks": config.latent_blocks + 1})
    model = larger.model_dump(mode="json")
    recipe = write_recipe(tmp_path / "recipe.yaml", model=model, steps=1, optimizer={"lr": 1e-9, "final_lr": 0})
    begin = ("train", recipe, "--data", photographs, "-o", tmp_path / "run", "--device", "cpu", "--start")
    assert run(*begin, whole_run / "best").exit_code == 0
    grown = load(tmp_path / "run" / "best")
    assert grown.config == larger
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = load(whole_run / "best")(picture), grown(picture)
    assert (before - picture).abs().max() > 0.01
    torch.testing.assert_close(after, before, rtol=0, atol=5e-3)  # weights travel in half precision

    recipe = write_recipe(tmp_path / "smaller.yaml")
    refused = run("train", recipe, "--data", photographs, "-o", tmp_path / "no", "--start", tmp_path / "run" / "best")
    assert refused.exit_code == 2
    assert "a network cannot be grown from" in str(refused.exception)
    assert not (tmp_path / "no").exists()


def test_a_time_budget_ends_the_run_annealed(photographs: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", steps=100_000, epoch_steps=50_000)
    result = run("train", recipe, "--data", photographs, "-o", tmp_path / "run", "--max-time", "2s", "--device", "cpu")
    assert result.exit_code == 0
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["callbacks"]["ScheduleCallback"]["seconds"] >= 2
    assert last["global_step"] < 1000
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] < RECIPE["optimizer"]["lr"]
    assert (tmp_path / "run" / "best" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "telling"),
    [
        ({"optimiser": {"lr": 1}}, "did you mean 'optimizer'"),
        ({"optimizer": {"lr": 1e-3, "weigth_decay": 0}}, "did you mean 'weight_decay'"),
        ({"tasks": {"nois": 1}}, "noise"),
        ({"model": "tinny"}, "did you mean 'tiny'"),
    ],
)
def test_a_misspelt_recipe_is_refused(
    photographs: Path, tmp_path: Path, changes: dict[str, object], telling: str
) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", **changes)
    result = run("train", recipe, "--data", photographs, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert telling in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_run_is_not_begun_twice_in_one_folder(whole_run: Path, photographs: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml")
    result = run("train", recipe, "--data", photographs, "-o", whole_run)
    assert result.exit_code == 2
    assert "--resume" in str(result.exception)
    changed = write_recipe(tmp_path / "changed.yaml", steps=7)
    result = run("train", changed, "--data", photographs, "-o", whole_run, "--resume")
    assert result.exit_code == 2
    assert "differs" in str(result.exception)
    result = run("train", recipe, "--data", photographs, "-o", tmp_path / "new", "--resume")
    assert result.exit_code == 2
    assert "no checkpoint" in str(result.exception)


def test_bad_photographs_are_named(photographs: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml")
    (tmp_path / "empty").mkdir()
    result = run("train", recipe, "--data", tmp_path / "empty", "-o", tmp_path / "run")
    assert result.exit_code == 1
    assert "holds no pictures" in str(result.exception)
    for number in range(4):
        image_io.write(tmp_path / "some" / f"{number}.png", image_io.read(photographs / "p0.png"))
    (tmp_path / "some" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    result = run("train", recipe, "--data", tmp_path / "some", "-o", tmp_path / "run2", "--device", "cpu")
    assert result.exit_code == 1
    assert "broken.jpg" in str(result.exception)


@pytest.mark.parametrize("text", ["soon", "", "0s", "1h x"])
def test_bad_durations_are_wrong_usage(photographs: Path, tmp_path: Path, text: str) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml")
    assert run("train", recipe, "--data", photographs, "--max-time", text).exit_code == 2
