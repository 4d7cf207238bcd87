"""What watches a run: its progress, pictures per validation, and the stop when gradients are no longer numbers."""

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
    """Reports how a Lightning run goes; see `Report`."""

    def __init__(self, schedule: ScheduleCallback) -> None:
        self._schedule = schedule
        self._report = Report(silent=True)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to report, in the first process only."""
        self._report = Report(silent=not trainer.is_global_zero)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show step, speed, loss and time left, if it is time to."""
        pixels = batch.clean.numel() // 3 * trainer.world_size
        if self._report.advance(pixels):
            step, budget = trainer.global_step, self._schedule.budget
            self._report.show(step, budget.progress(step), float(outputs["loss"]), budget.seconds_left(step))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print a table of the scores."""
        prefix = "val/psnr_db/"
        values = trainer.callback_metrics.items()
        scores = {name.removeprefix(prefix): float(value) for name, value in values if name.startswith(prefix)}
        self._report.say(score_table(trainer.global_step, scores))

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the bar away, however the run ended."""
        self._report.close()


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


class RoutingView(L.Callback):
    """Which experts each task uses, in the logs of every validation; experts that nothing goes to are named.

    ``routing/share/TASK/expert_N`` is a share over all decoder blocks; ``routing/entropy_bits/TASK`` says how evenly a
    block spreads a task over its experts (mean of the blocks; 0 for one expert alone).
    """

    def __init__(self) -> None:
        self._idle: set[tuple[int, int]] = set()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the usage over all processes; warn when other experts than before have nothing to do."""
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
