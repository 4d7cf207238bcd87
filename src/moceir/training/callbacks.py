"""What watches a run: a line and pictures per validation, and the stop when gradients are no longer numbers."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch.optim import Optimizer

from moceir.errors import TrainingError
from moceir.training.module import RestorationModule
from moceir.training.schedule import ScheduleCallback


class EpochLine(L.Callback):
    """One line per validation, so that a log file tells the story without a progress bar."""

    def __init__(self, schedule: ScheduleCallback) -> None:
        self.schedule = schedule

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print step, time, loss and the scores."""
        if not trainer.is_global_zero:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        tasks = " ".join(
            f"{name.removeprefix('val/psnr_db/')} {value:.2f}"
            for name, value in values.items()
            if name.startswith("val/psnr_db/")
        )
        print(  # noqa: T201 - this is the command's output
            f"step {trainer.global_step} {self.schedule.seconds:.0f}s progress "
            f"{self.schedule.progress(trainer.global_step):.1%} loss {values.get('loss/total', float('nan')):.4f} "
            f"val {values.get('val/psnr_db', float('nan')):.3f} dB | {tasks}",
            flush=True,
        )


class ValidationView(L.Callback):
    """What a person wants to see in TensorBoard: a picture of each task, and which experts it went to."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write degraded, restored and clean side by side, and a histogram of expert numbers per task."""
        logger: Any = trainer.logger
        if not isinstance(pl_module, RestorationModule) or not trainer.is_global_zero or logger is None:
            return
        board = logger.experiment
        for task, views in pl_module.examples.items():
            board.add_image(f"restored/{task}", torch.cat(list(views), dim=-1), trainer.global_step)
        edges = [number - 0.5 for number in range(pl_module.network.config.experts + 1)]
        for task, routes in pl_module.routes.items():
            chosen = torch.stack(routes).flatten().numpy()
            board.add_histogram(f"experts/{task}", chosen, trainer.global_step, bins=edges)


class FiniteGradients(L.Callback):
    """Ends the run when a gradient is infinite or not a number, before it reaches the weights.

    Gradients are what all processes share, so all of them stop together.

    Args:
        patience: Steps in a row that are let pass; loss scaling in float16 finds its scale by overflowing.
    """

    def __init__(self, patience: int = 0) -> None:
        self.patience = patience
        self.bad_steps = 0

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Check the gradients of the step to come.

        Raises:
            TrainingError: If they are not finite.
        """
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            self.bad_steps = 0
            return
        self.bad_steps += 1
        if self.bad_steps > self.patience:
            raise TrainingError(
                f"the loss or its gradient is not a number at step {trainer.global_step}; nothing of it reached the "
                "weights or the checkpoints. Lower optimizer.lr or optimizer.clip_norm, or use precision float32"
            )
