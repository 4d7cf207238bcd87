"""Training recipes: what loads, what is refused and how it is said, and overrides."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from moceir.errors import ConfigError
from moceir.recipe import Recipe, load_recipe

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


def recipe_content() -> dict[str, Any]:
    return {
        "model": "nano",
        "steps": 10,
        "stages": [{"share": 0.75, "patch_px": 64, "batch": 2}, {"share": 0.25, "patch_px": 96, "batch": 1}],
        "tasks": {"noise": 3, "rain": 1},
        "optimizer": {"lr": 0.001},
    }


def refusal(folder: Path, content: dict[str, Any] | str | bytes) -> str:
    """The message for a recipe that cannot be used; it must be one line and name the file."""
    path = folder / "recipe.yaml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert (recipe.steps is None) != (recipe.epochs is None)


def test_there_are_shipped_recipes() -> None:
    assert RECIPES


def test_valid_recipe_keeps_its_values(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_content()), encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.tasks == {"noise": 3, "rain": 1}
    assert [stage.patch_px for stage in recipe.stages] == [64, 96]
    assert recipe.loss.fft == 0.1


def test_recipe_survives_json() -> None:
    recipe = Recipe.model_validate(
        {**recipe_content(), "model": {"dim": 16}, "optimizer": {"lr": 1e-3, "clip_norm": None}}
    )
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_misspelt_key_at_the_top(tmp_path: Path) -> None:
    message = refusal(tmp_path, {**recipe_content(), "epoch_step": 5})
    assert "unknown key 'epoch_step'; did you mean 'epoch_steps'?" in message


@pytest.mark.parametrize(
    ("section", "key", "closest"),
    [
        ("optimizer", "weight_decai", "weight_decay"),
        ("loss", "balence", "balance"),
        ("augment", "smalest_scale", "smallest_scale"),
        ("validation", "patch_pixels", "patch_px"),
    ],
)
def test_misspelt_key_in_a_section(tmp_path: Path, section: str, key: str, closest: str) -> None:
    content = recipe_content()
    content[section] = {**content.get(section, {}), key: 1}
    assert f"unknown key '{section}.{key}'; did you mean '{closest}'?" in refusal(tmp_path, content)


def test_key_unlike_any_other_lists_the_valid_ones(tmp_path: Path) -> None:
    content = {**recipe_content(), "loss": {"perceptual": 1}}
    assert "unknown key 'loss.perceptual'; valid keys here: fft, balance" in refusal(tmp_path, content)


@pytest.mark.parametrize(("section", "key", "wrong"), [(None, "steps", "stepps"), ("optimizer", "lr", "lrr")])
def test_misspelt_required_key(tmp_path: Path, section: str | None, key: str, wrong: str) -> None:
    content = recipe_content()
    place = content[section] if section else content
    place[wrong] = place.pop(key)
    path = f"{section}.{wrong}" if section else wrong
    assert f"unknown key '{path}'; did you mean '{key}'?" in refusal(tmp_path, content)


def test_misspelt_key_in_a_stage(tmp_path: Path) -> None:
    content = recipe_content()
    content["stages"][1]["batchh"] = 1
    assert "unknown key 'stages.1.batchh'; did you mean 'batch'?" in refusal(tmp_path, content)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"dim": 16, "latent_block": 2}, "did you mean 'latent_blocks'?"),
        ({"dim": 12}, "dim is 12, but 4 experts need a multiple of 8"),
    ],
)
def test_mistakes_in_a_model_written_in_full(tmp_path: Path, model: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, {**recipe_content(), "model": model})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stages": [{"share": 0.5, "patch_px": 64, "batch": 2}]}, "the shares of the stages add up to 0.5"),
        ({"stages": [{"share": 0.7, "patch_px": 64, "batch": 2}] * 2}, "add up to 1.4; make them add up to 1"),
        ({"stages": []}, "stages"),
        ({"stages": [{"share": 1, "patch_px": 60, "batch": 2}]}, "stages.0.patch_px"),
        ({"tasks": {"noise": 2, "rain": -1}}, "not negative"),
        ({"tasks": {"noise": 0}}, "not all zero"),
        ({"tasks": {}}, "tasks"),
        ({"tasks": {"noise": "much"}}, "tasks.noise"),
        ({"steps": 0}, "steps"),
        ({"steps": "many"}, "got 'many'"),
        ({"optimizer": {"lr": 1e-7}}, "optimizer.final_lr 1e-06 is above optimizer.lr 1e-07"),
        ({"optimizer": {"lr": -1}}, "optimizer.lr"),
        ({"optimizer": None}, "optimizer"),
        ({"loss": {"fft": -0.1}}, "loss.fft"),
        ({"augment": {"smallest_scale": 0}}, "augment.smallest_scale"),
    ],
)
def test_impossible_values(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, {**recipe_content(), **change})


@pytest.mark.parametrize("key", ["stages", "optimizer"])
def test_missing_key_is_named(tmp_path: Path, key: str) -> None:
    content = recipe_content()
    del content[key]
    assert f"key '{key}' is missing" in refusal(tmp_path, content)


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_task_weights_are_finite(tmp_path: Path, weight: float) -> None:
    refusal(tmp_path, {**recipe_content(), "tasks": {"noise": 1, "rain": weight}})


@pytest.mark.parametrize(
    ("text", "line"), [("steps: 1\nloss: {fft: 1\nseed: 2\n", 3), ("steps:\n\tfew: 1\n", 2), ("a: 1\nb: 2\n- c\n", 3)]
)
def test_broken_yaml_names_the_line(tmp_path: Path, text: str, line: int) -> None:
    assert f"not valid YAML at line {line};" in refusal(tmp_path, text)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", b"steps: \x01\n"], ids=["binary", "control character"])
def test_unreadable_text(tmp_path: Path, content: bytes) -> None:
    assert "not valid YAML" in refusal(tmp_path, content)


def test_date_that_does_not_exist(tmp_path: Path) -> None:
    refusal(tmp_path, "seed: 2024-13-45\n")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "- steps\n- 3\n", "hello\n", "3\n"])
def test_content_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    refusal(tmp_path, text)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(tmp_path / "none.yaml")
    assert str(tmp_path / "none.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 2}, "either steps or epochs"),
        ({"steps": None}, "either steps or epochs"),
        ({"sources": [{"set": "rain100l-train"}]}, "either tasks or sources, got both"),
        ({"tasks": {}}, "either tasks or sources, got neither"),
        ({"tasks": {}, "sources": [{"set": "a", "photographs": "b"}]}, "exactly one of set, pairs and photographs"),
        ({"tasks": {}, "sources": [{"pairs": ["a", "b"], "degrade": "noise"}]}, "contradicts them"),
        ({"tasks": {}, "sources": [{"photographs": "b"}]}, "add degrade"),
        ({"tasks": {}, "sources": [{"sett": "b"}]}, "did you mean 'set'?"),
        ({"accumulate": 2}, "a batch of 1 cannot be cut into 2"),
        ({"precision": "float8"}, "'float16'"),
        ({"ema_decay": 1}, "ema_decay"),
    ],
)
def test_contradictory_settings(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, {**recipe_content(), **change})


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    text = yaml.safe_dump(recipe_content()) + "steps: 11\n"
    assert "key 'steps' is given twice" in refusal(tmp_path, text)


def test_overrides_change_single_values(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_content()), encoding="utf-8")
    texts = ["optimizer.lr=1e-4", "stages.1.batch=4", "tasks.haze=2", "ema_decay=0.99", "loss.fft=0", "model=tiny"]
    recipe = load_recipe(path, texts)
    assert recipe.optimizer.lr == 1e-4
    assert [stage.batch for stage in recipe.stages] == [2, 4]
    assert recipe.tasks == {"noise": 3, "rain": 1, "haze": 2}
    assert (recipe.ema_decay, recipe.loss.fft, recipe.model) == (0.99, 0, "tiny")
    assert load_recipe(path, ["steps=null", "epochs=3"]).epochs == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("optimizer.lr", "write it as optimizer.lr=1e-4"),
        ("=3", "write it as"),
        ("optimizer.beta=3", "did you mean 'betas'?"),
        ("optimzer.lr=3", "did you mean 'optimizer'?"),
        ("stages.7.batch=3", "'stages' has no part '7'"),
        ("model.dim=16", "'model' has no part 'dim'"),
        ("steps=[1", "not valid YAML"),
        ("steps=-4", "got -4"),
    ],
)
def test_overrides_that_do_not_fit(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_content()), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(path, [text])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_every_override_fits_or_is_refused_in_one_line(text: str) -> None:
    said = ""
    try:
        load_recipe(Path(__file__).parents[1] / "recipes" / "tiny.yaml", [text])
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said


def test_epochs_become_steps() -> None:
    recipe = Recipe.model_validate({**recipe_content(), "steps": None, "epochs": 7})
    resolved, steps = recipe.resolved(pictures=100)
    assert steps == 400  # 7 x 100 pictures in batches of 1.75 on average
    assert (resolved.steps, resolved.epochs) == (400, None)
    assert resolved.resolved(pictures=5) == (resolved, 400)
