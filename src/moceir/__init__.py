"""moceir: give it any degraded photograph and it gives back a clean one, without being told what is wrong.

    >>> import moceir
    >>> restorer = moceir.Restorer.from_pretrained("tiny")
    >>> clean = restorer.restore(noisy)  # an (H, W, 3) uint8 array

The names below load what they need when they are first used, so that the command line can answer at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moceir.config import ModelConfig
    from moceir.errors import MoceirError
    from moceir.models.network import MoCEIR
    from moceir.models.presets import preset
    from moceir.restoration import Restorer
    from moceir.weights import load

__all__ = ["MoCEIR", "MoceirError", "ModelConfig", "Restorer", "load", "preset"]

_HOMES = {
    "MoCEIR": "moceir.models.network",
    "MoceirError": "moceir.errors",
    "ModelConfig": "moceir.config",
    "Restorer": "moceir.restoration.restorer",
    "load": "moceir.weights",
    "preset": "moceir.models.presets",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'moceir' has no attribute '{name}'; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
