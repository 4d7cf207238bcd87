"""Weights in and out: our folders (``model.safetensors`` + ``config.json``) and the published checkpoint layout.

A model is always built from the configuration that travels with its weights. Nothing is ever executed while reading:
safetensors hold numbers only, and pickled checkpoints are read with ``weights_only=True``.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor

from moceir.config import ModelConfig, StrictModel, describe_validation_error
from moceir.errors import WeightsError
from moceir.files import whole_file
from moceir.models.network import MoCEIR

BUNDLED = Path(__file__).parent / "pretrained"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


class ModelFile(StrictModel):
    """What ``config.json`` beside the weights holds."""

    model: ModelConfig
    """Shape of the network."""
    license: str = "unknown"
    """Terms of the weights, as an SPDX identifier or a sentence."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Where the weights come from: data, device, duration, software versions."""
    training: dict[str, Any] = Field(default_factory=dict)
    """The resolved recipe."""
    results: dict[str, Any] = Field(default_factory=dict)
    """Measured results, with the command and seed that gave them."""

    def to_text(self) -> str:
        """The content of the file."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


# --- our folders ------------------------------------------------------------------------------------------------------


def load(name_or_folder: str | Path) -> MoCEIR:
    """Load a network in evaluation mode.

    Args:
        name_or_folder: A bundled model (``"tiny"``), a folder with ``model.safetensors`` and ``config.json``, or a
            published Lightning checkpoint (``.ckpt``).

    Raises:
        WeightsError: If there is no such model, or its files are missing, damaged, unsafe or do not fit together.
    """
    path = resolve(name_or_folder)
    if path.is_file():
        return from_published(read_checkpoint(path), origin=str(path))
    description = read_description(path)
    state = _read_safetensors(path / WEIGHTS_FILE)
    model = MoCEIR(description.model)
    _fill(model, state, str(path))
    return model.eval()


def resolve(name_or_folder: str | Path) -> Path:
    """Turn a model's name, folder or checkpoint file into an existing path.

    Raises:
        WeightsError: If there is none; the message lists the bundled names.
    """
    bundled = bundled_models()
    if isinstance(name_or_folder, str) and name_or_folder in bundled:
        return BUNDLED / name_or_folder
    path = Path(name_or_folder)
    if path.is_dir() or path.is_file():
        return path
    names = ", ".join(bundled) or "none"
    msg = (
        f"there is no model '{name_or_folder}': give a bundled name ({names}), a folder holding {WEIGHTS_FILE} and "
        f"{CONFIG_FILE}, or a published .ckpt file"
    )
    raise WeightsError(msg)


def bundled_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(p.parent.name for p in BUNDLED.glob(f"*/{CONFIG_FILE}"))


def read_description(folder: Path) -> ModelFile:
    """Read and check the ``config.json`` of a model folder.

    Raises:
        WeightsError: If the file is missing, is not JSON or describes no valid network.
    """
    path = folder / CONFIG_FILE
    try:
        return ModelFile.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); a model folder holds {WEIGHTS_FILE} and {CONFIG_FILE}"
        raise WeightsError(msg) from error
    except ValidationError as error:
        msg = f"{path} does not describe a model: {describe_validation_error(error, ModelFile)}"
        raise WeightsError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path} is not a text file; expected the JSON that moceir wrote beside the weights"
        raise WeightsError(msg) from error


def save(model: MoCEIR, folder: Path, description: ModelFile, *, dtype: torch.dtype = torch.float16) -> None:
    """Write a model folder; each file appears whole or not at all.

    Args:
        model: The network to store.
        folder: Created if needed; files of the same names are replaced.
        description: Goes to ``config.json``; its ``model`` must be the network's configuration.
        dtype: Stored precision of the weights.

    Raises:
        WeightsError: If the description is of another network.
        OutputError: If the folder cannot be written; files that were there stay whole.
    """
    if description.model != model.config:
        msg = "the description's model configuration is not that of the network; pass ModelFile(model=network.config)"
        raise WeightsError(msg)
    text = description.to_text()
    state = {key: value.detach().to(dtype).contiguous().cpu() for key, value in model.state_dict().items()}
    with whole_file(folder / CONFIG_FILE) as config_part, whole_file(folder / WEIGHTS_FILE) as weights_part:
        weights_part.write_bytes(to_safetensors(state))
        config_part.write_text(text, encoding="utf-8")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        msg = f"{path} cannot be read as safetensors ({error}); fetch or export the model again"
        raise WeightsError(msg) from error


def _fill(model: MoCEIR, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy a state dict into a model (float32), refusing anything that does not fit exactly."""
    own = model.state_dict()
    missing = sorted(own.keys() - state.keys())
    surplus = sorted(state.keys() - own.keys())
    wrong = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    for problem, keys in (("lacks", missing), ("has unknown", surplus), ("has wrong shapes for", wrong)):
        if keys:
            msg = (
                f"{origin} {problem} {len(keys)} tensors, the first is '{keys[0]}'; "
                "the weights and the configuration belong to different networks"
            )
            raise WeightsError(msg)
    model.load_state_dict(state)


# --- the published layout ---------------------------------------------------------------------------------------------

# Our module names on the left, the published ones on the right; applied in order to our keys.
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


def published_key(key: str) -> str:
    """The name that one of our state-dict keys has in the published layout."""
    for pattern, replacement in _TO_PUBLISHED:
        key = re.sub(pattern, replacement, key)
    return key


def to_published(model: MoCEIR) -> dict[str, Tensor]:
    """The network's weights under the published names (without Lightning's ``net.`` prefix)."""
    return {published_key(key): value for key, value in model.state_dict().items()}


def from_published(
    state_dict: Mapping[str, Tensor], *, top_k: int = 1, origin: str = "the published checkpoint"
) -> MoCEIR:
    """Build a network, in evaluation mode, from weights under the published names.

    Args:
        state_dict: Published keys, with or without Lightning's ``net.`` prefix.
        top_k: Experts per image; the shapes do not tell, and all published models use 1.
        origin: What errors call the weights.

    Raises:
        WeightsError: If keys are missing or surplus, or shapes do not belong to a MoCE-IR network.
    """
    prefix = "net." if any(key.startswith("net.") for key in state_dict) else ""
    state = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    model = MoCEIR(infer_config(state, top_k=top_k, origin=origin))
    theirs = {published_key(key): key for key in model.state_dict()}
    renamed = {theirs.get(key, key): value for key, value in state.items()}
    _fill(model, renamed, origin)
    return model.eval()


def infer_config(
    state: Mapping[str, Tensor], *, top_k: int = 1, origin: str = "the published checkpoint"
) -> ModelConfig:
    """Read the network's shape off a published state dict (no prefix).

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
        )
    except (KeyError, StopIteration, ValidationError, AttributeError, IndexError) as error:
        msg = (
            f"{origin} does not hold the weights of a MoCE-IR network (no patch_embed, attention temperatures or "
            "experts where they should be); give a checkpoint of the published code or a moceir model folder"
        )
        raise WeightsError(msg) from error


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a published Lightning checkpoint without executing anything in it.

    Raises:
        WeightsError: If the file is missing, damaged, holds anything but data, or has no state dict.
    """
    try:
        with warnings.catch_warnings():
            # Torch remarks on unusual pickle protocols; what matters to the user is whether the file is refused.
            warnings.simplefilter("ignore")
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named or (isinstance(error, pickle.UnpicklingError) and _is_bare_pickle(path)):
            what = f" ({named[1]})" if named else ""
            msg = (
                f"{path} was refused: it holds Python objects{what} beside numbers, and reading those could run code; "
                "ask its author for a safetensors file or a checkpoint of tensors only"
            )
        else:
            detail = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
            reason = f" ({detail[1][:120]})" if detail else ""
            msg = f"{path} cannot be read as a checkpoint{reason}; expected one written by torch or Lightning"
        raise WeightsError(msg) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        msg = f"{path} holds no state dict; expected names with tensors, as Lightning writes under 'state_dict'"
        raise WeightsError(msg)
    return state


def _is_bare_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle of protocol 2 or later does (torch's own files are zip archives)."""
    with path.open("rb") as file:
        return file.read(1) == pickle.PROTO
