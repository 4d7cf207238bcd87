"""Recipes find their pictures: one folder of photographs, published sets, pairs and folders below a root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from layouts import build_layout
from support import run, write_picture

from moceir.errors import ConfigError
from moceir.recipe import Recipe
from moceir.training.data import Pairs, sources_of

RECIPES = Path(__file__).parents[2] / "recipes"
AIO3, AIO5, COMPOSITES = (
    yaml.safe_load((RECIPES / f"{name}.yaml").read_text())["sources"] for name in ("aio3", "aio5", "cdd11")
)


def content(sources: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "model": "nano",
        "steps": 2,
        "epoch_steps": 1,
        "stages": [{"share": 1, "patch_px": 32, "batch": 2}],
        "sources": sources,
        "optimizer": {"lr": 1.0e-3},
        "validation": {"share": 0.3, "patch_px": 32, "most": 2},
    }


def build(root: Path, sources: list[dict[str, Any]], count: int) -> Path:
    for name in {source["set"] for source in sources}:
        build_layout(root, name, count)
    return root


@pytest.mark.parametrize(
    ("sources", "pictures"),
    [(AIO3, 7 * (3 * 3 + 120 + 4)), (AIO5, 7 * (3 * 3 + 120 + 4 + 5 + 20)), (COMPOSITES, 7 * 11)],
    ids=["three tasks", "five tasks", "composites"],
)
def test_an_epoch_is_as_long_as_published(tmp_path: Path, sources: list[dict[str, Any]], pictures: int) -> None:
    recipe = Recipe.model_validate(content(sources))
    pairs = Pairs(recipe, build(tmp_path, sources, count=10), workers=0)
    assert pairs.pictures == pictures, "7 of 10 clean pictures remain for training"
    assert len(set(pairs.names)) == len(pairs.names) == len(sources)


def test_folders_are_relative_to_the_root(tmp_path: Path) -> None:
    for place in ("mine/bad/1.png", "mine/good/1.png", "more/2.png", "more/deep/3.png"):
        write_picture(tmp_path / place)
    sources = [{"pairs": ["mine/bad", "mine/good"], "repeat": 4}]
    sources += [{"photographs": "more", "degrade": text} for text in ("haze", "rain")]
    found = sources_of(Recipe.model_validate(content(sources)), tmp_path)
    assert [source.label for source in found] == ["mine/bad", "more:haze", "more:rain"]
    assert [source.share for source in found] == [4, 1, 1]
    assert found[0].files == [(tmp_path / "mine/bad/1.png", tmp_path / "mine/good/1.png")]
    assert found[1].clean == [tmp_path / "more/2.png", tmp_path / "more/deep/3.png"]
    assert str(found[2].degrade) == "rain"


def test_unknown_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'rain100l-train'"):
        sources_of(Recipe.model_validate(content([{"set": "rain100l_train"}])), tmp_path)


@pytest.mark.parametrize("sources", [AIO5, COMPOSITES], ids=["five tasks", "composites"])
def test_published_settings_train_from_end_to_end(tmp_path: Path, sources: list[dict[str, Any]]) -> None:
    root = build(tmp_path / "sets", sources, count=3)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content(sources)))
    pack = tmp_path / "sets.pack"
    assert run("data", "pack", root, "-o", pack).exit_code == 0
    outputs = []
    for data, name in ((root, "plain"), (pack, "packed")):
        result = run("train", tmp_path / "recipe.yaml", "--data", data, "-o", tmp_path / name, "--device", "cpu")
        assert result.exit_code == 0
        outputs.append([line for line in result.stdout.splitlines() if "the best model" not in line])
    assert sum(line.startswith("validation at step") for line in outputs[0]) == 2
    assert outputs[0] == outputs[1], "a pack stands for the folder it was made of"
