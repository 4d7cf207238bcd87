"""Tests of the named shapes, and of the error for unknown names."""

import pytest

from moceir.config import ModelConfig
from moceir.errors import ConfigError
from moceir.models.presets import PRESETS, preset


@pytest.mark.parametrize(
    ("wrong", "closest"), [("smal", "small"), ("Tiny", "tiny"), ("bass", "base"), ("nanoo", "nano")]
)
def test_unknown_preset_names_the_closest(wrong: str, closest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        preset(wrong)
    message = str(caught.value)
    assert f"'{wrong}'" in message
    assert f"did you mean '{closest}'?" in message
    assert "\n" not in message


def test_unknown_preset_unlike_any_other_lists_them_all() -> None:
    with pytest.raises(ConfigError) as caught:
        preset("xyzzy")
    assert "did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in PRESETS)


def test_presets_of_the_paper() -> None:
    for name, dim in (("small", 32), ("base", 48)):
        assert preset(name) == ModelConfig(
            dim=dim,
            encoder_blocks=(4, 6, 6),
            latent_blocks=8,
            decoder_blocks=(4, 4, 2),
            refinement_blocks=4,
            heads=(1, 2, 4, 8),
            experts=4,
            top_k=1,
        )


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_follows_the_paper_in_routing(name: str) -> None:
    config = preset(name)
    assert (config.experts, config.top_k, config.complexity_bias) == (4, 1, True)
    assert config.expert_windows() == (4, 8, 16, 32)
    assert config.expert_ranks(0) == (config.dim // 8, config.dim // 4, config.dim // 2, config.dim)
