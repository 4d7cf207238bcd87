"""Machine-dependent options of a training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainOptions:
    """Options that may differ between machines that run the same recipe."""

    data: Path
    """Folder of clean photographs (searched recursively), root folder of the recipe's sources, or a pack of either."""
    output: Path
    """Run folder for the recipe, checkpoints, TensorBoard logs, and the model in ``best``."""
    resume: bool = False
    """Resume from the last checkpoint in the run folder. Under torchrun, start if there is none."""
    continue_from: Path | None = None
    """State of an earlier stretch to continue from."""
    start: str | None = None
    """Model to take the initial weights from; a model smaller than the recipe's is grown. None for random weights."""
    max_seconds: float | None = None
    """Time budget of the run; the learning rate is annealed to fit. None for no limit."""
    workers: int = 0
    """Loader processes per training process; 0 makes the pairs in the training process itself."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``mps``."""
    processes: int = 1
    """Data-parallel processes per machine, which share each batch; one per GPU, or groups of CPU cores."""
    nodes: int = 1
    """Machines that share each batch. Each runs the same command; torchrun or SLURM connects them."""

    device_layers: bool = False
    """Whether to try the layers of ``models.execution.device`` in compiled steps."""
    save_every_s: float = 120.0
    """Seconds between saves of a stretch's state before its decay."""
    watch: Callable[[float, int], None] | None = None
    """Called during a stretch with its training seconds (without preparation) and samples so far; an exception that it
    raises ends the stretch."""

    @property
    def world(self) -> int:
        """Total number of data-parallel processes."""
        return self.processes * self.nodes
