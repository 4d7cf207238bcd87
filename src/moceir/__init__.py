"""moceir: give it any degraded photograph and it gives back a clean one, without being told what is wrong.

    >>> import moceir
    >>> restorer = moceir.Restorer.from_pretrained("tiny")
    >>> clean = restorer.restore(noisy)  # an (H, W, 3) uint8 array

The names below load what they need when they are first used: `import moceir` and the command line start at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from moceir.machine.threads import sleep_soon

if TYPE_CHECKING:
    from moceir.config import ModelConfig
    from moceir.errors import MoceirError
    from moceir.models.network import MoCEIR
    from moceir.models.presets import preset
    from moceir.models.routing import RoutingDecision
    from moceir.restoration import RestorationResult, RestoreOptions, Restorer
    from moceir.restoration.reports import RoutingReport
    from moceir.web.client import Client
    from moceir.weights import load

    __version__: str

__all__ = [
    "Client",
    "MoCEIR",
    "MoceirError",
    "ModelConfig",
    "RestorationResult",
    "RestoreOptions",
    "Restorer",
    "RoutingDecision",
    "RoutingReport",
    "__version__",
    "load",
    "preset",
]

_HOMES = {
    "Client": "moceir.web.client",
    "MoCEIR": "moceir.models.network",
    "MoceirError": "moceir.errors",
    "ModelConfig": "moceir.config",
    "RestorationResult": "moceir.restoration.result",
    "RestoreOptions": "moceir.restoration.options",
    "Restorer": "moceir.restoration.restorer",
    "RoutingDecision": "moceir.models.routing",
    "RoutingReport": "moceir.restoration.reports",
    "load": "moceir.weights",
    "preset": "moceir.models.presets",
}


sleep_soon()


def __getattr__(name: str) -> Any:
    """Import a public name from its home (PEP 562)."""
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version(__name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'moceir' has no attribute '{name}'; it offers {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
