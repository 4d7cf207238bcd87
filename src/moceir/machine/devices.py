"""Where a network computes, and with what numbers."""

from __future__ import annotations

import torch

from moceir.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def choose_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there.

    Args:
        name: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ConfigError: If the name is unknown or the machine has no such device.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if present[kind]))
    if name not in present:
        raise ConfigError(f"unknown device '{name}'; choose from {', '.join(DEVICES)}")
    if not present[name]:
        raise ConfigError(f"this machine has no usable {name} device; use --device auto or cpu")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Turn a precision's name into the type of a network's arithmetic.

    Args:
        name: ``float32``, ``bfloat16``, ``float16``; or ``auto``: bfloat16 on CUDA devices made for it, else float32.
        device: Where it computes.

    Raises:
        ConfigError: If the name is unknown, or the device is a processor and cannot compute in float16.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"unknown precision '{name}'; choose from {', '.join(PRECISIONS)}")
    if name == "auto":
        made_for_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if made_for_it else torch.float32
    if name == "float16" and device.type == "cpu":
        raise ConfigError("float16 needs a GPU; on the processor use float32, or bfloat16 where that is faster")
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
