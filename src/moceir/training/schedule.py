"""Progress of a training run, which determines the learning rate, the patch size and the end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning as L

from moceir.recipe import OptimizerConfig, StageConfig


def warm_up_rate(config: OptimizerConfig, progress: float) -> float:
    """Return the learning rate during the linear warm-up, which starts above zero."""
    return config.lr * (0.01 + 0.99 * progress / config.warmup_share)


def learning_rate(config: OptimizerConfig, progress: float) -> float:
    """Return the learning rate of a run with linear warm-up and cosine decay.

    Args:
        config: Optimiser settings.
        progress: Completed fraction of the run, in [0, 1].
    """
    if progress < config.warmup_share:
        return warm_up_rate(config, progress)
    decay = (progress - config.warmup_share) / (config.decay_span - config.warmup_share)
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1 + math.cos(math.pi * min(decay, 1.0)))


def stretch_rate(config: OptimizerConfig, progress: float, *, first: bool) -> float:
    """Return the learning rate within a stretch: warm-up (first stretch only), constant, then decay to zero.

    The decay follows ``1 - sqrt(x)``, where ``x`` is the completed fraction of the decay. Source: Hägele et al. (arXiv
    2405.18392), section 3, where it beats linear decay, and a fifth of the steps is enough to match a cosine.

    Args:
        config: Optimiser settings.
        progress: Completed fraction of the stretch, in [0, 1].
        first: Whether this is the first stretch.
    """
    if first and progress < config.warmup_share:
        return warm_up_rate(config, progress)
    decayed = (progress - decay_start(config)) / config.decay_share
    return config.lr * (1 - math.sqrt(min(max(decayed, 0.0), 1.0)))


def decay_start(config: OptimizerConfig) -> float:
    """Return the progress at which the decay of a stretch starts."""
    return 1 - config.decay_share


def stage_at(stages: Sequence[StageConfig], progress: float) -> StageConfig:
    """Return the stage at a given progress."""
    end = 0.0
    for stage in stages:
        end += stage.share
        if progress < end - 1e-9:
            return stage
    return stages[-1]


class Budget:
    """Step and time budget of a run. Progress is the larger of the two fractions used.

    A run with a time budget therefore completes its annealing on any machine. The first step may compile for minutes,
    long enough to use up the warm-up. Its time counts as spent, but not as progress.

    Args:
        steps: Total number of steps.
        max_seconds: Total time in seconds; None for no limit.
    """

    def __init__(self, steps: int, max_seconds: float | None) -> None:
        self.steps = steps
        self.max_seconds = max_seconds
        self.seconds = 0.0
        """Time spent so far, in seconds."""
        self.preparing = 0.0
        """Part of ``seconds`` spent on first steps."""

    def progress(self, step: int) -> float:
        """Return how far the run is after ``step`` steps, 0 to 1."""
        by_time = 0.0
        if self.max_seconds:
            left = self.max_seconds - self.preparing
            by_time = (self.seconds - self.preparing) / left if left > 0 else 1.0
        return min(max(step / self.steps, by_time), 1.0)

    def seconds_left(self, step: int) -> float:
        """Estimate the remaining seconds from the progress after ``step`` (at least 1) steps; NaN without progress."""
        progress = self.progress(step)
        return (self.seconds - self.preparing) * (1 - progress) / progress if progress else math.nan


class ScheduleCallback(L.Callback):
    """Sets the learning rate before each step and ends the run; the time spent is saved in checkpoints.

    Args:
        optimizer: Learning-rate settings.
        steps: Total number of steps.
        max_seconds: Time budget in seconds; None for no limit.
    """

    def __init__(self, optimizer: OptimizerConfig, steps: int, max_seconds: float | None) -> None:
        self.optimizer = optimizer
        self.budget = Budget(steps, max_seconds)
        """Steps and time as last agreed on by all processes."""
        self._batches = 0
        """Batches started since the last start or resume."""
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
        """Synchronise the time across processes and set the learning rate of the next step.

        All processes use the clock of the first one. With different clocks they would train at different rates and
        wait for each other forever at the end.
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
        """Stop when the steps or the time are used up; Lightning still validates and saves."""
        if self.progress(trainer.global_step) >= 1:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return the time spent, for the checkpoint."""
        return {"seconds": self.budget.seconds, "preparing": self.budget.preparing}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the time spent before."""
        self._spent_before = self.budget.seconds = state_dict["seconds"]
        self.budget.preparing = state_dict.get("preparing", 0.0)  # older checkpoints lack it
