"""Weights in and out: our folders (``model.safetensors`` + ``config.json``) and the published checkpoint layout.

A model is always built from the configuration that travels with its weights. Nothing is ever executed while reading:
safetensors hold numbers only, and pickled checkpoints are read with ``weights_only=True``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors.torch import save as to_safetensors

from moceir.config import ModelConfig, StrictModel, describe_validation_error
from moceir.errors import WeightsError
from moceir.files import whole_file
from moceir.models.network import MoCEIR
from moceir.weights.published import from_published
from moceir.weights.tensors import fill, read_checkpoint, read_safetensors

BUNDLED = Path(__file__).parents[1] / "pretrained"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
HUB_NAME = re.compile(r"(?!\.)[\w.-]+/(?!\.)[\w.-]+(?<!\.ckpt)")
"""``user/name``; a path to a checkpoint that is not there is none."""


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


def load(name_or_folder: str | Path) -> MoCEIR:
    """Load a network in evaluation mode.

    Args:
        name_or_folder: A bundled model (``"tiny"``), a folder with ``model.safetensors`` and ``config.json``, a
            published Lightning checkpoint (``.ckpt``), or ``user/name`` on the Hugging Face Hub.

    Raises:
        MissingExtraError: If a name of the Hub is given and huggingface_hub is not installed.
        WeightsError: If there is no such model, or its files are missing, damaged, unsafe or do not fit together.
    """
    path = resolve(name_or_folder)
    if path.is_file():
        return from_published(read_checkpoint(path), origin=str(path))
    description = read_description(path)
    state = read_safetensors(path / WEIGHTS_FILE)
    model = MoCEIR(description.model)
    fill(model, state, str(path))
    return model.eval()


def resolve(name_or_folder: str | Path) -> Path:
    """Turn a model's name, folder or checkpoint file into an existing path; models of the Hub are downloaded once.

    Raises:
        WeightsError: If there is none; the message lists the bundled names.
    """
    bundled = bundled_models()
    if isinstance(name_or_folder, str) and name_or_folder in bundled:
        return BUNDLED / name_or_folder
    path = Path(name_or_folder)
    if path.is_dir() or path.is_file():
        return path
    if isinstance(name_or_folder, str) and HUB_NAME.fullmatch(name_or_folder):
        # Which itself writes folders; and few models come from there.
        from moceir.weights.hub import fetch  # noqa: PLC0415

        return fetch(name_or_folder)
    names = ", ".join(bundled) or "none"
    msg = (
        f"there is no model '{name_or_folder}': give a bundled name ({names}), a folder holding {WEIGHTS_FILE} and "
        f"{CONFIG_FILE}, a published .ckpt file, or user/name on the Hugging Face Hub"
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
