"""Checkpoints that survive a power cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from moceir.files import whole_file


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint next to the old one, flushes it to disk, and only then renames it.

    Lightning's default writes to the system's temporary folder first. If that is on another file system, the move is a
    copy, which a kill can truncate.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint atomically: the path always contains the complete old or the complete new file."""
        with whole_file(Path(path)) as part:
            torch.save(checkpoint, part)
