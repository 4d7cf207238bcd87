"""Training state between two stretches: everything the next stretch continues from, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from moceir.config import ModelConfig
from moceir.errors import WeightsError
from moceir.files import whole_file

_FORMAT = "moceir-training-state-1"
_PARTS = ("weights", "average", "means", "squares")


@dataclass(frozen=True)
class TrainingState:
    """Weights before the decay, optimiser state, averaged weights and sample count.

    Attributes:
        model: Configuration of the network.
        recipe: Recipe of the last stretch, as JSON-serialisable data.
        steps: Optimiser steps so far.
        samples: Training samples used so far; the next stretch starts with this sample number.
        seconds: Training time so far.
        weights: State dict of the network.
        average: State dict of the averaged weights; if empty, averaging starts from ``weights``.
        means: Running mean of each trained parameter's gradient, bfloat16 in the file; empty for zeros.
        squares: Running mean of each squared gradient, in the same format.
    """

    model: ModelConfig
    recipe: dict[str, Any]
    steps: int
    samples: int
    seconds: float
    weights: dict[str, Tensor]
    average: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    means: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    squares: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


def save_state(state: TrainingState, path: Path) -> None:
    """Write a state atomically: the path always contains the complete old or the complete new file.

    Raises:
        OutputError: If the file cannot be written.
    """
    tensors = {
        f"{part}/{name}": value.detach()
        .to("cpu", torch.bfloat16 if part in ("means", "squares") else None)
        .contiguous()
        for part in _PARTS
        for name, value in getattr(state, part).items()
    }
    progress = {"steps": state.steps, "samples": state.samples, "seconds": state.seconds}
    content = {"model": state.model.model_dump(mode="json"), "recipe": state.recipe, **progress}
    metadata = {"format": _FORMAT, "content": json.dumps(content)}
    with whole_file(path) as part:
        part.write_bytes(to_safetensors(tensors, metadata))


def load_state(path: Path) -> TrainingState:
    """Read a state; all floating-point tensors are converted to float32.

    Raises:
        WeightsError: If the file is missing or damaged, or is not a training state.
    """
    try:
        with safe_open(path, "pt") as file:
            opened: Any = file
            metadata = opened.metadata() or {}
            if metadata.get("format") != _FORMAT:
                msg = f"{path} is not a training state; give a state.safetensors that moceir train wrote"
                raise WeightsError(msg)
            content: dict[str, Any] = json.loads(metadata["content"])
            parts: dict[str, Any] = {part: {} for part in _PARTS}
            for key in opened.keys():  # noqa: SIM118 - the file is not a mapping
                part, _, name = key.partition("/")
                parts[part][name] = opened.get_tensor(key).float()
    except (OSError, SafetensorError) as error:
        msg = f"{path} cannot be read as a training state ({error}); give a state.safetensors that moceir train wrote"
        raise WeightsError(msg) from error
    model = ModelConfig.model_validate(content.pop("model"))
    return TrainingState(model=model, **content, **parts)
