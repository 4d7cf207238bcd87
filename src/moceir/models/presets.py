"""Named shapes of the network."""

from __future__ import annotations

from moceir.config import ModelConfig, look_up

PRESETS: dict[str, ModelConfig] = {
    "nano": ModelConfig(
        dim=16, encoder_blocks=(1, 1, 1), latent_blocks=2, decoder_blocks=(1, 1, 1), refinement_blocks=1
    ),
    "tiny": ModelConfig(
        dim=16, encoder_blocks=(1, 2, 2), latent_blocks=4, decoder_blocks=(2, 2, 1), refinement_blocks=1
    ),
    "small": ModelConfig(dim=32),
    "base": ModelConfig(dim=48),
}


def preset(name: str) -> ModelConfig:
    """Return a named shape.

    Args:
        name: ``nano`` (for tests), ``tiny`` (for CPUs), ``small`` or ``base`` (the paper's MoCE-IR-S and MoCE-IR).

    Raises:
        ConfigError: If there is no such preset.
    """
    return look_up(name, PRESETS, "preset")
