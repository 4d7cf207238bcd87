"""Model folders (``model.safetensors`` and ``config.json``), and loading of published checkpoints.

A model is always built from the configuration that is stored with its weights. Reading never executes code: safetensors
files contain only numbers, and pickled checkpoints are read with ``weights_only=True``.
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
"""Folder of the models that come with the package."""
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
HUB_NAME = re.compile(r"(?!\.)[\w.-]+/(?!\.)[\w.-]+(?<!\.ckpt)")
"""``user/name``; a path to a checkpoint that is not there is none."""


class ModelFile(StrictModel):
    """Content of the ``config.json`` beside the weights."""

    model: ModelConfig
    """Shape of the network."""
    license: str = "unknown"
    """Terms of the weights, as an SPDX identifier or a sentence."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Origin of the weights: data, device, duration, software versions."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Recipe of the training, with all values resolved."""
    results: dict[str, Any] = Field(default_factory=dict)
    """Measured results, with the command and seed that produced them."""

    def to_text(self) -> str:
        """Return the content of the file as JSON."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


def load(name_or_folder: str | Path) -> MoCEIR:
    """Load a network in evaluation mode, with float32 weights on the CPU.

    Args:
        name_or_folder: Name of a bundled model (``"tiny"``), folder with ``model.safetensors`` and ``config.json``,
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
    """Find the folder or checkpoint file of a model; models of the Hub are downloaded once.

    Args:
        name_or_folder: Name, folder or checkpoint, as for ``load``.

    Raises:
        WeightsError: If there is no such model. The message lists the names of the bundled models.
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
    """List the names of the models that come with the package."""
    return sorted(p.parent.name for p in BUNDLED.glob(f"*/{CONFIG_FILE}"))


def read_description(folder: Path) -> ModelFile:
    """Read and check the ``config.json`` of a model folder.

    Args:
        folder: Model folder.

    Raises:
        WeightsError: If the file is missing, is not JSON or does not describe a valid network.
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
    """Write a model folder. Each file is written completely or not at all.

    Args:
        model: Network to save.
        folder: Folder to write to. It is created if needed, and existing files of the same names are replaced.
        description: Content of ``config.json``. Its ``model`` must be the configuration of the network.
        dtype: Precision in which the weights are stored.

    Raises:
        WeightsError: If the description belongs to another network.
        OutputError: If the folder cannot be written. Existing files are then unchanged.
    """
    if description.model != model.config:
        msg = "the description's model configuration is not that of the network; pass ModelFile(model=network.config)"
        raise WeightsError(msg)
    text = description.to_text()
    state = {key: value.detach().to(dtype).contiguous().cpu() for key, value in model.state_dict().items()}
    with whole_file(folder / CONFIG_FILE) as config_part, whole_file(folder / WEIGHTS_FILE) as weights_part:
        weights_part.write_bytes(to_safetensors(state))
        config_part.write_text(text, encoding="utf-8")
