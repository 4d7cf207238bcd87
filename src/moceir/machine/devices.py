"""Where a network computes, and in which precision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moceir.errors import ConfigError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def check_device_name(device: str | torch.device) -> str:
    """Return the name of a device that may exist, on this machine or on another.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, ``mps``, one of several devices such as ``cuda:1``, or a ``torch.device``.

    Raises:
        ConfigError: If there is no such kind of device.
    """
    name = str(device)
    kind = re.fullmatch(r"(auto|(?:cpu|cuda|mps)(?::\d+)?)", name)
    if kind is None:
        raise ConfigError(f"unknown device '{name}'; choose from {', '.join(DEVICES)}, or one of several as cuda:1")
    return name


def choose_device(device: str | torch.device) -> torch.device:
    """Return a device of this machine.

    Args:
        device: As for `check_device_name`; ``auto`` is CUDA, else MPS, else CPU.

    Raises:
        ConfigError: If the name is unknown or this machine has no such device.
    """
    import torch  # noqa: PLC0415 - names of devices are checked without torch, too

    name = check_device_name(device)
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if present[kind]))
    chosen = torch.device(name)
    if not present[chosen.type]:
        raise ConfigError(f"this machine has no usable {chosen.type} device; use auto or cpu")
    if (chosen.index or 0) >= present[chosen.type]:
        known = ", ".join(f"{chosen.type}:{i}" for i in range(present[chosen.type]))
        raise ConfigError(f"this machine has no {name}; use {known}")
    return chosen


def check_precision_name(precision: str) -> str:
    """Return a known name of a precision.

    Raises:
        ConfigError: If it is unknown.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision '{precision}'; choose from {', '.join(PRECISIONS)}")
    return precision


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the type of a network's arithmetic.

    ``auto`` is bfloat16 on CUDA devices that compute in it, and float32 elsewhere. Processors with AVX512_BF16 would be
    faster in bfloat16 too, but it costs more quality than is worth it (``benchmarks/precision.py``).

    Args:
        precision: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        device: Device of the network.

    Raises:
        ConfigError: If the name is unknown, or the device is a processor and cannot compute in float16.
    """
    import torch  # noqa: PLC0415 - names of precisions are checked without torch, too

    name = check_precision_name(precision)
    if name == "auto":
        made_for_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if made_for_it else torch.float32
    if name == "float16" and device.type == "cpu":
        raise ConfigError("float16 needs a GPU; on the processor use float32, or bfloat16 where that is faster")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
