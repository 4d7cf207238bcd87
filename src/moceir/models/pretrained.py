"""The methods of a network that load, save and publish its weights.

Weights live in a room above the networks (``moceir.weights``). It is imported by name when a method is called, so that
the network itself depends on nothing but its layers.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Self


class Pretrained:
    """Loading and saving, as methods of the network."""

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path) -> Self:
        """Load a network in evaluation mode.

        Args:
            name_or_folder: A bundled model (``"tiny"``), a model folder, a published ``.ckpt`` file, or ``user/name``
                on the Hugging Face Hub.

        Raises:
            WeightsError: If there is no such model, or its files are missing, damaged, unsafe or do not fit together.
        """
        return _weights("folders").load(name_or_folder)

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Write a model folder with a model card; see `moceir.weights.hub.save_pretrained`."""
        _weights("hub").save_pretrained(self, folder, **options)

    def push_to_hub(self, name: str, **options: Any) -> str:
        """Publish the network as ``user/name`` on the Hugging Face Hub; see `moceir.weights.hub.push_to_hub`."""
        return _weights("hub").push_to_hub(self, name, **options)


def _weights(module: str) -> Any:
    return importlib.import_module(f"moceir.weights.{module}")
