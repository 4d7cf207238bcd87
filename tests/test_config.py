"""Settings refuse what cannot work, in one line that says where and what to write instead."""

import math
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.config import ModelConfig, Recipe, load_recipe
from moceir.errors import ConfigError

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


# --- the network's shape ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dim": 16, "heads": (3, 2, 4, 8)}, "16 channels at level 0 cannot be split into 3 heads"),
        ({"dim": 16, "heads": (1, 2, 5, 8)}, "64 channels at level 2 cannot be split into 5 heads"),
        ({"dim": 16, "heads": (0, 2, 4, 8)}, "16 channels at level 0 cannot be split into 0 heads"),
        ({"dim": 16, "heads": (1, 2, 4, -8)}, "128 channels at level 3 cannot be split into -8 heads"),
        ({"dim": 12}, "dim is 12, but 4 experts need a multiple of 8"),
        ({"dim": 16, "experts": 6}, "dim is 16, but 6 experts need a multiple of 32"),
        ({"dim": 16, "top_k": 5}, "top_k is 5 but there are only 4 experts"),
        ({"dim": 16, "encoder_blocks": (4, -1, 6)}, "block counts cannot be negative: encoder (4, -1, 6)"),
        ({"dim": 16, "decoder_blocks": (-4, 4, 2)}, "decoder (-4, 4, 2)"),
    ],
)
def test_contradictory_shapes_are_refused_with_the_numbers(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        ModelConfig(**settings)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dim": 0},
        {"dim": 7},
        {"dim": 520},
        {"dim": 16.5},
        {"dim": 16, "latent_blocks": -1},
        {"dim": 16, "refinement_blocks": -1},
        {"dim": 16, "experts": 1},
        {"dim": 64, "experts": 7},
        {"dim": 16, "top_k": 0},
        {"dim": 16, "encoder_blocks": (1, 1)},
        {"dim": 16, "heads": (1, 2, 4)},
        {"dim": 16, "width": 3},
    ],
)
def test_shapes_out_of_bounds_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        ModelConfig(**settings)


def test_bounds_themselves_are_allowed() -> None:
    assert ModelConfig(dim=8, latent_blocks=0, refinement_blocks=0, top_k=4, encoder_blocks=(0, 0, 0)).dim == 8
    assert ModelConfig(dim=512, experts=6, top_k=6).expert_windows() == (4, 8, 16, 32, 64, 128)


def test_ranks_double_up_to_the_full_width() -> None:
    config = ModelConfig(dim=48)
    assert [config.channels(level) for level in range(4)] == [48, 96, 192, 384]
    assert config.expert_ranks(0) == (6, 12, 24, 48)
    assert config.expert_ranks(2) == (24, 48, 96, 192)


def test_settings_cannot_be_changed() -> None:
    config = ModelConfig(dim=16)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.dim = 32  # type: ignore[misc]
    assert config.dim == 16


@st.composite
def model_configs(draw: st.DrawFn) -> ModelConfig:
    experts = draw(st.integers(2, 6))
    step = max(8, 2 ** (experts - 1))
    blocks = st.integers(0, 12)
    three = st.tuples(blocks, blocks, blocks)
    heads = st.sampled_from([1, 2, 4, 8])
    return ModelConfig(
        dim=step * draw(st.integers(1, 512 // step)),
        encoder_blocks=draw(three),
        latent_blocks=draw(blocks),
        decoder_blocks=draw(three),
        refinement_blocks=draw(blocks),
        heads=draw(st.tuples(heads, heads, heads, heads)),
        experts=experts,
        top_k=draw(st.integers(1, experts)),
        complexity_bias=draw(st.booleans()),
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(config=model_configs())
def test_shape_survives_json(config: ModelConfig) -> None:
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


# --- recipes ----------------------------------------------------------------------------------------------------------


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
    assert load_recipe(path).steps >= 1


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


@pytest.mark.parametrize("key", ["model", "steps", "stages", "tasks", "optimizer"])
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
