"""Checkpoints that a power cut cannot damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from moceir.files import whole_file


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes beside the old file, flushes to the disk, and only then takes its name.

    Lightning's own way goes through the system's folder for temporary files; from another file system that is a copy,
    which a kill cuts short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint; at every moment the path holds the whole old file or the whole new one."""
        with whole_file(Path(path)) as part:
            torch.save(checkpoint, part)
