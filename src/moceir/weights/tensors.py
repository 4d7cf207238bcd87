"""Reading of tensor files without executing code, and strict copying of tensors into networks."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from moceir.errors import WeightsError
from moceir.models.network import MoCEIR


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Args:
        path: File to read.

    Raises:
        WeightsError: If the file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        msg = f"{path} cannot be read as safetensors ({error}); fetch or export the model again"
        raise WeightsError(msg) from error


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a published Lightning checkpoint without executing code.

    Args:
        path: File to read, written by torch or Lightning.

    Raises:
        WeightsError: If the file is missing or damaged, contains anything but data, or has no state dict.
    """
    try:
        with warnings.catch_warnings():
            # Torch warns about unusual pickle protocols. For the user it only matters whether the file is refused.
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
    """Check whether a file starts like a pickle of protocol 2 or later (files of torch are zip archives)."""
    with path.open("rb") as file:
        return file.read(1) == pickle.PROTO


def fill(model: MoCEIR, state: Mapping[str, Tensor], origin: str) -> None:
    """Copy a state dict into a model. Names and shapes must match exactly.

    Args:
        model: Network to fill. Its tensors keep their type.
        state: Tensors by name.
        origin: Name of the weights in error messages.

    Raises:
        WeightsError: If a tensor is missing, unknown or has the wrong shape.
    """
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
