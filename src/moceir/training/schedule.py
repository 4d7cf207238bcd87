"""How far a training run has come, and what follows from it: learning rate, patch size, the end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning as L

from moceir.recipe import OptimizerConfig, StageConfig


def warm_up_rate(config: OptimizerConfig, progress: float) -> float:
    """Return the rate of the linear warm-up, above zero from the first step on."""
    return config.lr * (0.01 + 0.99 * progress / config.warmup_share)


def learning_rate(config: OptimizerConfig, progress: float) -> float:
    """Return the rate of a run with linear warm-up and cosine decay.

    Args:
        config: Peak, end and length of the warm-up.
        progress: How far the run is, 0 to 1.
    """
    if progress < config.warmup_share:
        return warm_up_rate(config, progress)
    decay = (progress - config.warmup_share) / (config.decay_span - config.warmup_share)
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(decay, 1.0)))


def stretch_rate(config: OptimizerConfig, progress: float, *, first: bool) -> float:
    """Return the rate within a stretch: warm-up if it is the first one, constant, then a decay to zero.

    The decay follows ``1 - sqrt(share of the decay)``. Source: Hägele et al. (arXiv 2405.18392), section 3, where it
    beats a linear one, and a fifth of the steps is enough to match a cosine.

    Args:
        config: Peak, warm-up and decay.
        progress: How far the stretch is, 0 to 1.
        first: Whether nothing was trained before it.
    """
    if first and progress < config.warmup_share:
        return warm_up_rate(config, progress)
    decayed = (progress - decay_start(config)) / config.decay_share
    return config.lr * (1 - math.sqrt(min(max(decayed, 0.0), 1.0)))


def decay_start(config: OptimizerConfig) -> float:
    """Return the progress at which a stretch begins to decay."""
    return 1 - config.decay_share


def stage_at(stages: Sequence[StageConfig], progress: float) -> StageConfig:
    """Return the stage that a given progress falls into."""
    end = 0.0
    for stage in stages:
        end += stage.share
        if progress < end - 1e-9:
            return stage
    return stages[-1]


class Budget:
    """Steps and time of a run. Progress is the larger of the shares of the two that are spent.

    A run with a time budget thus anneals to its end on any machine. The first step may compile for minutes, in which a
    warm-up would pass without a step: its time counts as spent, but not as progress.

    Args:
        steps: Steps of the whole run.
        max_seconds: Time of the whole run; None for no limit.
    """

    def __init__(self, steps: int, max_seconds: float | None) -> None:
        self.steps = steps
        self.max_seconds = max_seconds
        self.seconds = 0.0
        """Time spent so far."""
        self.preparing = 0.0
        """Part of it that first steps took."""

    def progress(self, step: int) -> float:
        """Return how far the run is after ``step`` steps, 0 to 1."""
        by_time = 0.0
        if self.max_seconds:
            left = self.max_seconds - self.preparing
            by_time = (self.seconds - self.preparing) / left if left > 0 else 1.0
        return min(max(step / self.steps, by_time), 1.0)

    def seconds_left(self, step: int) -> float:
        """Estimate the time to the end of the run from the progress after ``step`` steps, at least 1."""
        progress = self.progress(step)
        return (self.seconds - self.preparing) * (1 - progress) / progress if progress else math.nan


class ScheduleCallback(L.Callback):
    """Sets the learning rate before each step and ends the run. The time spent survives a resume.

    Args:
        optimizer: Learning-rate settings.
        steps: Steps of the whole run.
        max_seconds: Time budget of the whole run; None for none.
    """

    def __init__(self, optimizer: OptimizerConfig, steps: int, max_seconds: float | None) -> None:
        self.optimizer = optimizer
        self.budget = Budget(steps, max_seconds)
        """Steps and time, as all processes last agreed on them."""
        self._batches = 0
        """Batches begun since the last start or resume."""
        self._spent_before = 0.0
        self._started = 0.0

    def progress(self, step: int) -> float:
        """Return how far the run is after ``step`` steps, 0 to 1."""
        return self.budget.progress(step)

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
        budget, before = self.budget, self.budget.seconds
        budget.seconds = trainer.strategy.broadcast(self._spent_before + time.monotonic() - self._started)
        if self._batches == 1:
            budget.preparing += budget.seconds - before
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
        return {"seconds": self.budget.seconds, "preparing": self.budget.preparing}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from the time spent before."""
        self._spent_before = self.budget.seconds = state_dict["seconds"]
        self.budget.preparing = state_dict.get("preparing", 0.0)  # older checkpoints lack it
