"""Options are checked when they are asked for, and come in one form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moceir import RestoreOptions
from moceir.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "given", "stored"),
    [
        ("model", Path("models/mine"), "models/mine"),
        ("device", torch.device("cuda:1"), "cuda:1"),
        ("device", "cpu", "cpu"),
        ("memory_limit", "4GB", 4 * 10**9),
        ("max_bytes", "2 GiB", 2**31),
        ("max_pixels", 5e6, 5_000_000),
        ("strength", "0.5", 0.5),
        ("strength", np.float32(0.5), 0.5),
        ("effort", "low", "low"),
        ("effort", "-0.5", -0.5),
        ("experts", [0, 2, 1], ((0,), (2,), (1,))),
        ("experts", np.array([0, 2, 1]), ((0,), (2,), (1,))),
        ("experts", torch.tensor([[0, 1], [2, 3]]), ((0, 1), (2, 3))),
        ("experts", [np.int64(0), (1, 2)], ((0,), (1, 2))),
        ("experts", "0+1,2+3", ((0, 1), (2, 3))),
        ("experts", "dearest", "dearest"),
        ("quality", "90", 90),
        ("threads", 2, 2),
        ("format", None, None),
    ],
)
def test_values_are_brought_to_one_form(name: str, given: Any, stored: Any) -> None:
    options = RestoreOptions(**{name: given})
    assert getattr(options, name) == stored
    assert RestoreOptions(**dict(options)) == options
    assert RestoreOptions.model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize(
    ("name", "given", "telling"),
    [
        ("model", 3, "model is 3; give a bundled name"),
        ("device", "gpu", "unknown device 'gpu'; choose from auto, cpu, cuda, mps"),
        ("device", "cuda:x", "unknown device 'cuda:x'"),
        ("precision", "bf16", "choose from auto, float32, bfloat16, float16"),
        ("precision", ["float32"], "unknown precision"),
        ("threads", 0, "key 'threads': Input should be greater than or equal to 1, got 0"),
        ("threads", 1.5, "key 'threads'.*got 1.5"),
        ("compiled", "perhaps", "key 'compiled'"),
        ("experts", "cheap", "unknown experts 'cheap'; choose auto, cheapest, dearest, or one index"),
        ("experts", [0.5, 1], "experts are"),
        ("experts", 3, "experts are 3"),
        ("effort", "lots", "effort is 'lots'; give low, auto, high or a finite number"),
        ("effort", "", "effort is ''"),
        ("effort", float("nan"), "effort is 'nan'"),
        ("effort", float("inf"), "effort is 'inf'"),
        ("effort", [1], "effort is"),
        ("strength", 2, r"strength is 2; give a number from 0 \(nothing changes\) to 1"),
        ("strength", -0.1, "strength is -0.1"),
        ("strength", float("nan"), "strength is nan"),
        ("strength", "much", "strength is much"),
        ("memory_limit", "much", "'much' is not an amount of memory; write it as 4GB"),
        ("memory_limit", 0, "'0' is not an amount"),
        ("memory_limit", -5, "'-5' is not an amount"),
        ("max_bytes", "4XB", "'4XB' is not an amount"),
        ("max_pixels", 0, "max_pixels is 0; give a number of pixels from 1"),
        ("max_pixels", float("inf"), "max_pixels is inf"),
        ("format", "gif", "key 'format': Input should be 'jpeg', 'png', 'webp' or 'tiff', got 'gif'"),
        ("format", ["png"], "key 'format'"),
        ("quality", 0, "key 'quality': Input should be greater than or equal to 1, got 0"),
        ("quality", 101, "key 'quality'.*got 101"),
        ("metadata", "lose", "key 'metadata': Input should be 'keep' or 'strip', got 'lose'"),
        ("strenght", 1, "unknown key 'strenght'; did you mean 'strength'?"),
        ("strength", None, "key 'strength'"),
    ],
)
def test_wrong_values_are_one_kind_of_error_that_says_what_was_expected(name: str, given: Any, telling: str) -> None:
    with pytest.raises(ConfigError, match=telling):
        RestoreOptions(**{name: given})
    with pytest.raises(ConfigError, match=telling):
        RestoreOptions().changed(**{name: given})


def test_effort_beside_fixed_experts_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of the two"):
        RestoreOptions(experts="cheapest", effort="low")
    assert RestoreOptions(experts="cheapest", effort=0.0).shift == 0
    assert RestoreOptions(effort="high").shift == 1


@pytest.mark.parametrize(
    ("asked", "loaded"),
    [
        ({}, "tiny"),
        ({"upscale": 1}, "tiny"),
        ({"upscale": 2}, "tiny-x2"),
        ({"upscale": 3}, "tiny-x4"),
        ({"upscale": 4}, "tiny-x4"),
        ({"upscale": 2, "model": "tiny-x4"}, "tiny-x4"),
        ({"upscale": 4, "model": "mine"}, "mine"),
    ],
)
def test_the_bundled_model_follows_the_factor(asked: dict[str, Any], loaded: str) -> None:
    assert RestoreOptions(**asked).network == loaded


def test_options_do_not_change() -> None:
    options = RestoreOptions(strength=0.5)
    assert options.changed(quality=80) == RestoreOptions(strength=0.5, quality=80)
    assert options == RestoreOptions(strength=0.5)
    assert hash(options) == hash(RestoreOptions(strength="0.5"))
