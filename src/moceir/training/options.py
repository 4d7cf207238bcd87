"""Where and on what a training runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainOptions:
    """What may differ between two machines that run the same recipe."""

    data: Path
    """Folder of clean photographs, searched recursively, or the root of the recipe's sources; or a pack of either."""
    output: Path
    """Run folder: recipe, checkpoints, TensorBoard logs, and the model in ``best``."""
    resume: bool = False
    """Go on from the last checkpoint in the run folder."""
    continue_from: Path | None = None
    """State of an earlier stretch to go on from."""
    start: str | None = None
    """Model whose weights to begin with, instead of random ones; a smaller one than the recipe's is grown."""
    max_seconds: float | None = None
    """End after this time, with the learning rate annealed to fit."""
    workers: int = 0
    """Extra processes for each training process that make pairs; 0 makes them in the training process itself."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``mps``."""
    processes: int = 1
    """Data-parallel processes on each machine that share a batch: devices of the kind, or groups of CPU cores."""
    nodes: int = 1
    """Machines that share a batch; each starts the same command (torchrun and SLURM tell them of each other)."""

    device_layers: bool = False
    """Try the layers of ``models.execution.device`` in compiled steps."""
    save_every_s: float = 120.0
    """Seconds between two savings of a stretch's state before its decay."""
    watch: Callable[[float, int], None] | None = None
    """Called while a stretch trains with its seconds so far, without preparations, and its samples so far; what it
    raises ends the stretch."""

    @property
    def world(self) -> int:
        """Data-parallel processes in all."""
        return self.processes * self.nodes
