"""How far a training run has come, and what follows from it: learning rate, patch size, the end."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning as L

from moceir.recipe import OptimizerConfig, StageConfig


def learning_rate(config: OptimizerConfig, progress: float) -> float:
    """Linear warm-up, then cosine decay.

    Args:
        config: Peak, end and length of the warm-up.
        progress: How far the run is, 0 to 1.

    Returns:
        The learning rate; above zero from the first step on.
    """
    if progress < config.warmup_share:
        return config.lr * (0.01 + 0.99 * progress / config.warmup_share)
    decay = (progress - config.warmup_share) / (config.decay_span - config.warmup_share)
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(decay, 1.0)))


def stage_at(stages: tuple[StageConfig, ...], progress: float) -> StageConfig:
    """The stage that a given progress falls into."""
    end = 0.0
    for stage in stages:
        end += stage.share
        if progress < end - 1e-9:
            return stage
    return stages[-1]


class ScheduleCallback(L.Callback):
    """Sets the learning rate before each step and ends the run.

    Progress is the larger of the share of steps done and the share of the time budget spent, so a run with a budget
    anneals to its end on any machine. The time spent survives a resume. What the first step takes is no progress: it
    may compile for minutes, in which the warm-up would go by without a step.

    Args:
        optimizer: Learning-rate settings.
        steps: Steps of the whole run.
        max_seconds: Time budget of the whole run; None for none.
    """

    def __init__(self, optimizer: OptimizerConfig, steps: int, max_seconds: float | None) -> None:
        self.optimizer = optimizer
        self.steps = steps
        self.max_seconds = max_seconds
        self.seconds = 0.0
        """Time spent so far, over all stretches, as all processes last agreed on it."""
        self._preparing = 0.0
        """Part of it that first steps took."""
        self._batches = 0
        """Batches begun since the last start or resume."""
        self._spent_before = 0.0
        self._started = 0.0

    def progress(self, step: int) -> float:
        """How far the run is after ``step`` steps, 0 to 1."""
        by_time = 0.0
        if self.max_seconds:
            budget = self.max_seconds - self._preparing
            by_time = (self.seconds - self._preparing) / budget if budget > 0 else 1.0
        return min(max(step / self.steps, by_time), 1.0)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self._batches = 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Agree on the time and set the learning rate of the step to come.

        Processes whose clocks differ would train at different rates and, at the end, wait for each other for ever: the
        clock of the first one counts for all.
        """
        before = self.seconds
        self.seconds = trainer.strategy.broadcast(self._spent_before + time.monotonic() - self._started)
        if self._batches == 1:
            self._preparing += self.seconds - before
        self._batches += 1
        rate = learning_rate(self.optimizer, self.progress(trainer.global_step))
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        pl_module.log("lr", rate)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop when steps or time are used up; Lightning still validates and saves."""
        if self.progress(trainer.global_step) >= 1:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Remember the time spent."""
        return {"seconds": self.seconds, "preparing": self._preparing}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from the time spent before."""
        self._spent_before = self.seconds = state_dict["seconds"]
        self._preparing = state_dict.get("preparing", 0.0)  # checkpoints of before do not know it
