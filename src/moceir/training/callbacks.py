"""Lightning callbacks for progress reports, validation pictures, routing statistics and non-finite gradients."""

from __future__ import annotations

import sys
from statistics import mean
from typing import Any

import lightning as L
import torch
from torch.optim import Optimizer

from moceir.errors import TrainingError
from moceir.restoration.reports import ExpertUsage
from moceir.training.module import RestorationModule
from moceir.training.progress import Report, score_table
from moceir.training.schedule import ScheduleCallback


class ProgressCallback(L.Callback):
    """Reports the progress of a Lightning run; see ``Report``."""

    def __init__(self, schedule: ScheduleCallback) -> None:
        self._schedule = schedule
        self._report = Report(silent=True)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start reporting, in the first process only."""
        self._report = Report(silent=not trainer.is_global_zero)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show step, speed, loss and time left when an update is due."""
        pixels = batch.clean.numel() // 3 * trainer.world_size
        if self._report.advance(pixels):
            step, budget = trainer.global_step, self._schedule.budget
            self._report.show(step, budget.progress(step), float(outputs["loss"]), budget.seconds_left(step))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print a table of validation scores."""
        prefix = "val/psnr_db/"
        values = trainer.callback_metrics.items()
        scores = {name.removeprefix(prefix): float(value) for name, value in values if name.startswith(prefix)}
        self._report.say(score_table(trainer.global_step, scores))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Remove the progress bar, however the run ended."""
        self._report.close()


class ValidationView(L.Callback):
    """Writes to TensorBoard one picture per task and the experts that the task was routed to."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write degraded, restored and clean pictures side by side, and a histogram of expert indices per task."""
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


class RoutingView(L.Callback):
    """Logs at every validation which experts each task uses, and warns about unused experts.

    ``routing/share/TASK/expert_N`` is the share over all decoder blocks. ``routing/entropy_bits/TASK`` measures how
    evenly a block distributes a task over its experts (mean over blocks; 0 if a task uses only one expert).
    """

    def __init__(self) -> None:
        self._idle: set[tuple[int, int]] = set()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the usage over all processes; warn when further experts have become unused."""
        if not isinstance(pl_module, RestorationModule):
            return
        usage = self._usage(trainer, pl_module)
        values: dict[str, float] = {}
        for task, counts in usage.counts.items():
            shares = usage.shares(task)
            for expert in range(len(counts[0])):
                values[f"routing/share/{task}/expert_{expert}"] = mean(row[expert] for row in shares)
            values[f"routing/entropy_bits/{task}"] = mean(usage.entropy_bits(task))
        pl_module.log_dict(values, sync_dist=True)  # the same in all processes
        idle = set(usage.dead())
        if idle - self._idle and trainer.is_global_zero:
            named = ", ".join(f"expert {expert} of block {block}" for block, expert in sorted(idle))
            print(f"warning: at step {trainer.global_step} no validation picture went to {named}", file=sys.stderr)  # noqa: T201 - training goes on, a person should look
        self._idle = idle

    @staticmethod
    def _usage(trainer: L.Trainer, module: RestorationModule) -> ExpertUsage:
        config = module.network.config
        own = {
            task: [route.tolist() for route in module.routes[task]] for task in module.tasks if task in module.routes
        }
        counts = torch.zeros(len(module.tasks), config.routed_blocks, config.experts, device=module.device)
        for task, rows in ExpertUsage.of_routes(own, config.experts).counts.items():
            counts[module.tasks.index(task)] = torch.tensor(rows)
        whole: Any = trainer.strategy.reduce(counts, reduce_op="sum")
        return ExpertUsage({task: rows.int().tolist() for task, rows in zip(module.tasks, whole, strict=True)})


class FiniteGradients(L.Callback):
    """Stops the run when a gradient is infinite or NaN, before it reaches the weights.

    All processes have the same gradients, so they all stop together.

    Args:
        patience: Consecutive bad steps to tolerate; float16 loss scaling finds its scale by overflowing.
    """

    def __init__(self, patience: int = 0) -> None:
        self.patience = patience
        self.bad_steps = 0

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        """Check the gradients before the optimiser step.

        Raises:
            TrainingError: If too many steps in a row had gradients that are not finite.
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
