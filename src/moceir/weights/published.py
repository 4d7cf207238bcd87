"""Checkpoints of the published code: names and shapes of their tensors, and networks built from them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from moceir.config import ModelConfig
from moceir.errors import WeightsError
from moceir.files import whole_file
from moceir.models.network import MoCEIR
from moceir.weights.tensors import fill

CHECKPOINT_SUFFIX = ".ckpt"
LIGHTNING_VERSION = "2.5.0"
"""What a checkpoint has to name, so that Lightning loads it: the version that the published code asks for."""

# Patterns for our names, with their replacements in the published layout. They are applied in this order.
_TO_PUBLISHED: list[tuple[str, str]] = [
    (r"^patch_embed\.", r"patch_embed.proj."),
    (r"^frequency_embedding\.high_pass\.", r"freq_embed.high_conv.0.conv."),
    (r"^frequency_embedding\.mlp\.", r"freq_embed.mlp."),
    (r"^encoder\.(\d+)\.blocks\.", r"enc.\1.0.layers."),
    (r"^encoder\.(\d+)\.down\.", r"enc.\1.1.body."),
    (r"^decoder\.(\d+)\.up\.", r"dec.\1.0.body."),
    (r"^decoder\.(\d+)\.fuse\.", r"dec.\1.1."),
    (r"^decoder\.(\d+)\.blocks\.", r"dec.\1.2.layers."),
    (r"^(latent|refinement)\.", r"\1.layers."),
    (r"\.norm_attention\.", r".norms.0.body."),
    (r"\.norm_ffn\.", r".norms.1.body."),
    (r"\.to_shared\.", r".proj.0."),
    (r"\.to_experts\.", r".proj.1."),
    (r"\.ffn\.expand\.", r".ffn.project_in."),
    (r"\.ffn\.depthwise\.", r".ffn.dwconv."),
    (r"\.mixture\.out\.", r".adapter.proj_out."),
    (r"\.mixture\.router\.from_features\.", r".adapter.routing.gate.2."),
    (r"\.mixture\.router\.from_frequency\.", r".adapter.routing.freq_gate."),
    (r"\.mixture\.router\.", r".adapter.routing."),
    (r"\.mixture\.experts\.(\d+)\.attention\.norm\.", r".adapter.experts.\1.0.body.norm.body."),
    (r"\.mixture\.experts\.(\d+)\.attention\.out\.", r".adapter.experts.\1.0.body.proj_out."),
    (r"\.mixture\.experts\.(\d+)\.attention\.", r".adapter.experts.\1.0.body."),
    (r"\.mixture\.experts\.(\d+)\.reduce\.", r".adapter.experts.\1.0.proj.0."),
    (r"\.mixture\.experts\.(\d+)\.modulate\.", r".adapter.experts.\1.0.proj.1."),
    (r"\.mixture\.experts\.(\d+)\.expand\.", r".adapter.experts.\1.0.proj.2."),
    (r"\.(qkv|q|kv)_depthwise\.", r".\1_dwconv."),
    (r"\.attention\.", r".mixer."),
    (r"\.cross\.", r".mixer."),
    (r"\.(mixer|shared|ffn)\.out\.", r".\1.project_out."),
]


_KNOWN = {"join": "published", "gate": "softmax", "scale": 1}
"""The forms of the network that the published code has."""


def published_key(key: str) -> str:
    """Translate one of our state-dict keys to its name in the published layout."""
    for pattern, replacement in _TO_PUBLISHED:
        key = re.sub(pattern, replacement, key)
    return key


def to_published(model: MoCEIR) -> dict[str, Tensor]:
    """Return the weights of a network under the published names, without the ``net.`` prefix of Lightning."""
    return {published_key(key): value for key, value in model.state_dict().items()}


def save_published(model: MoCEIR, path: Path) -> None:
    """Write a checkpoint that the published code reads, with Lightning's ``net.`` prefix.

    Raises:
        WeightsError: If the network computes what the published code does not know.
        OutputError: If the file cannot be written.
    """
    own = [f"{name} '{value}'" for name in _KNOWN if (value := getattr(model.config, name)) != _KNOWN[name]]
    if own:
        raise WeightsError(
            f"the published code knows no {' and no '.join(own)}, so it would compute something else; keep this model "
            "as a folder"
        )
    state = {f"net.{key}": value.detach().float().cpu() for key, value in to_published(model).items()}
    with whole_file(path) as part:
        content = {"epoch": 0, "global_step": 0, "pytorch-lightning_version": LIGHTNING_VERSION, "state_dict": state}
        torch.save(content, part)


def from_published(
    state_dict: Mapping[str, Tensor], *, top_k: int = 1, origin: str = "the published checkpoint"
) -> MoCEIR:
    """Build a network in evaluation mode from weights under the published names.

    Args:
        state_dict: Tensors by published name, with or without the ``net.`` prefix of Lightning.
        top_k: Number of experts per image. It does not follow from the shapes; all published models use 1.
        origin: Name of the weights in error messages.

    Raises:
        WeightsError: If keys are missing or unknown, or the shapes do not belong to a MoCE-IR network.
    """
    prefix = "net." if any(key.startswith("net.") for key in state_dict) else ""
    state = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    model = MoCEIR(infer_config(state, top_k=top_k, origin=origin))
    theirs = {published_key(key): key for key in model.state_dict()}
    renamed = {theirs.get(key, key): value for key, value in state.items()}
    fill(model, renamed, origin)
    return model.eval()


def _scale(state: Mapping[str, Tensor]) -> Any:
    """Return the factor that a network enlarges by: its tail writes the three colours of scale^2 pixels."""
    tail = state.get("output.0.weight")
    return 1 if tail is None else math.isqrt(tail.shape[0] // 3)


def infer_config(
    state: Mapping[str, Tensor], *, top_k: int = 1, origin: str = "the published checkpoint"
) -> ModelConfig:
    """Infer the shape of a network from a published state dict.

    Args:
        state: Tensors by published name, without the ``net.`` prefix.
        top_k: Number of experts per image, which does not follow from the shapes.
        origin: Name of the weights in error messages.

    Raises:
        WeightsError: If the keys or shapes do not belong to a MoCE-IR network.
    """

    def blocks(prefix: str) -> int:
        found = {int(m[1]) for key in state if (m := re.match(re.escape(prefix) + r"\.layers\.(\d+)\.", key))}
        return len(found)

    def heads(level: int) -> int:
        pattern = r"latent\..*\.mixer" if level == 3 else rf"(enc\.{level}\.0|dec\.{2 - level}\.2)\..*\.(mixer|shared)"
        return next(v.shape[0] for k, v in state.items() if re.match(pattern + r"\.temperature$", k))

    try:
        experts = {int(m[1]) for key in state if (m := re.search(r"\.adapter\.experts\.(\d+)\.", key))}
        return ModelConfig(
            dim=state["patch_embed.proj.weight"].shape[0],
            encoder_blocks=(blocks("enc.0.0"), blocks("enc.1.0"), blocks("enc.2.0")),
            latent_blocks=blocks("latent"),
            decoder_blocks=(blocks("dec.0.2"), blocks("dec.1.2"), blocks("dec.2.2")),
            refinement_blocks=blocks("refinement"),
            heads=(heads(0), heads(1), heads(2), heads(3)),
            experts=len(experts),
            top_k=top_k,
            scale=_scale(state),
        )
    except (KeyError, StopIteration, ValidationError, AttributeError, IndexError) as error:
        msg = (
            f"{origin} does not hold the weights of a MoCE-IR network (no patch_embed, attention temperatures or "
            "experts where they should be); give a checkpoint of the published code or a moceir model folder"
        )
        raise WeightsError(msg) from error
