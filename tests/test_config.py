"""Settings refuse what cannot work, in one line that says where and what to write instead."""

from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moceir.config import ModelConfig

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
