"""A stretch of training: a constant learning rate, a short decay, and two results.

The decayed weights are the model to use and publish. The next stretch continues from the undecayed state, on any device
and with any number of processes. A training can therefore consist of any number of stretches, without fixing its end in
advance (warmup-stable-decay; Hägele et al., arXiv 2405.18392).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from moceir.config import ModelConfig
from moceir.data.synthesis import Sample, sample_generator
from moceir.errors import TrainingError
from moceir.models.network import MoCEIR
from moceir.recipe import Recipe, StageConfig
from moceir.training.data import Pairs
from moceir.training.forms import Form, Step, choose_step, forms_for
from moceir.training.learner import Learner
from moceir.training.options import TrainOptions
from moceir.training.progress import Report, score_table
from moceir.training.schedule import Budget, decay_start, stage_at, stretch_rate
from moceir.training.state import TrainingState, save_state
from moceir.training.team import Team
from moceir.training.validation import validate
from moceir.weights import ModelFile, save

STATE_FILE = "state.safetensors"
"""File name of the undecayed state in a run folder."""
LOOK_EVERY_STEPS, LOOK_EVERY_S = 50, 10.0
"""Steps and seconds between readings of the losses; each reading waits for the device."""

VALIDATED_AT_ONCE = 8
"""Batch size for validation."""


@dataclass(frozen=True)
class Beginning:
    """Starting point of a stretch.

    Attributes:
        config: Configuration of the network.
        weights: Initial state dict; None for random weights.
        state: State of an earlier stretch to continue from.
    """

    config: ModelConfig
    weights: dict[str, Tensor] | None = None
    state: TrainingState | None = None


def train_stretch(
    team: Team, recipe: Recipe, options: TrainOptions, beginning: Beginning, pairs: Pairs, device: torch.device
) -> Path:
    """Train one stretch.

    Args:
        team: Processes that share each batch.
        recipe: Recipe with resolved steps.
        options: Folders, time budget and other machine-dependent options.
        beginning: Starting point.
        pairs: Training and validation data.
        device: Device to train on.

    Returns:
        Folder of the decayed model; the undecayed state is saved next to it.

    Raises:
        TrainingError: If the loss or its gradient is not a number.
    """
    stretch = _Stretch(team, recipe, options, beginning, pairs, device)
    try:
        return stretch.run()
    finally:
        stretch.close()


class _Stretch:
    def __init__(
        self,
        team: Team,
        recipe: Recipe,
        options: TrainOptions,
        beginning: Beginning,
        pairs: Pairs,
        device: torch.device,
    ) -> None:
        self.recipe, self.options, self.team, self.pairs = recipe, options, team, pairs
        torch.manual_seed(recipe.seed)
        network = MoCEIR(beginning.config)
        if beginning.weights is not None:
            network.load_state_dict(beginning.weights)
        self.learner = Learner(network, recipe, device, team)
        self.first = beginning.state is None
        self.seconds_before = 0.0
        if beginning.state is not None:
            self.learner.restore(beginning.state)
            self.seconds_before = beginning.state.seconds
        self.begun_at_step, self.begun_at_sample = self.learner.steps, self.learner.samples
        self.budget = Budget(recipe.steps or 1, options.max_seconds)
        self.report = Report(silent=team.rank > 0)
        board: Any = SummaryWriter(options.output / "logs") if team.rank == 0 else None
        self.board = board
        self.loss = float("nan")

    @property
    def done(self) -> int:
        """Number of completed steps of this stretch."""
        return self.learner.steps - self.begun_at_step

    def run(self) -> Path:
        """Train, save the state before the decay, decay, validate, and save the model."""
        self.pairs.setup("fit")
        began, clock = time.time(), time.monotonic()
        saved, branched, preparing = clock, False, 0.0
        looked, looked_at = self.learner.steps, clock
        batches: Iterator[Sample] = iter(())
        stage: StageConfig | None = None
        step: Step = self.learner.step
        while True:
            now = time.monotonic()
            self.budget.seconds, self.budget.preparing, since_saved = self.team.first_says(
                now - clock, preparing, now - saved
            )
            progress = self.budget.progress(self.done)
            if not branched and (
                since_saved >= self.options.save_every_s or progress >= decay_start(self.recipe.optimizer)
            ):
                self._save_state()
                saved, branched = now, progress >= decay_start(self.recipe.optimizer)
            if progress >= 1:
                break
            new_shape = stage is not (stage := stage_at(self.recipe.stages, progress))
            if new_shape:
                batches = self._batches(stage)
            batch, noise = next(batches), self._noise(stage.batch)
            if new_shape:
                before = time.monotonic()
                step = choose_step(self.learner, batch, noise, self._forms(), self.report.say)
                preparing += time.monotonic() - before
            self.learner.rate.fill_(stretch_rate(self.recipe.optimizer, progress, first=self.first))
            step(batch, noise)
            self.learner.steps += 1
            self.learner.samples += stage.batch
            due = self.report.advance(stage.batch * stage.patch_px**2)
            if due or self.learner.steps - looked >= LOOK_EVERY_STEPS or now - looked_at >= LOOK_EVERY_S:
                self._look(self.learner.steps - looked)
                looked, looked_at = self.learner.steps, now
                if self.options.watch is not None:
                    spent = time.monotonic() - clock - preparing
                    self.options.watch(spent, self.learner.samples - self.begun_at_sample)
            if due:
                self.report.show(self.done, progress, self.loss, self.budget.seconds_left(self.done))
        if self.learner.steps > looked:
            self._look(self.learner.steps - looked)
        return self._finish(began)

    def close(self) -> None:
        """Remove the progress bar and flush the log, however the stretch ended."""
        self.report.close()
        if self.board is not None:
            self.board.close()

    def _forms(self) -> Sequence[Form]:
        return forms_for(self.learner.device, compiled=self.recipe.compile, adapted=self.options.device_layers)

    def _batches(self, stage: StageConfig) -> Iterator[Sample]:
        """Yield this process's share of the batches, starting at the next sample."""
        count = max(self.budget.steps - self.done, 1) * stage.batch
        return self.pairs.batches(stage, self.learner.samples, count, self.team, self.learner.device)

    def _noise(self, images: int) -> Tensor:
        """Draw noise ``(blocks, B, n)`` that depends only on seed and sample; return this process's share."""
        config = self.learner.network.config
        generator = sample_generator(self.recipe.seed, "routing", self.learner.samples)
        noise = torch.randn(config.routed_blocks, images, config.experts, generator=generator)
        own = noise[:, self.team.rank :: self.team.size].contiguous()
        if self.learner.device.type == "cuda":
            own = own.pin_memory()  # otherwise the copy waits for the previous step
        return own.to(self.learner.device, non_blocking=True)

    def _look(self, steps: int) -> None:
        """Read and log the losses of the last steps.

        Raises:
            TrainingError: If a loss or gradient was not finite.
        """
        *sums, bad = self.learner.read_totals()
        if bad:
            raise TrainingError(
                f"the loss or its gradient is not a number within {steps} steps before step {self.learner.steps}; "
                "nothing of it reached the weights. Lower optimizer.lr or optimizer.clip_norm, or use precision float32"
            )
        self.loss = sums[0] / steps
        if self.board is not None:
            for name, value in zip(("total", "l1", "fft", "balance"), sums, strict=True):
                self.board.add_scalar(f"loss/{name}", value / steps, self.learner.steps)
            self.board.add_scalar("lr", self.learner.rate.item(), self.learner.steps)

    def _save_state(self) -> None:
        if self.team.rank == 0:
            seconds = self.seconds_before + self.budget.seconds
            save_state(self.learner.state(seconds), self.options.output / STATE_FILE)

    def _finish(self, began: float) -> Path:
        """Validate and save the decayed weights."""
        learner, results = self.learner, {}
        if self.recipe.validation.share:
            batches = self.pairs.validation(self.team, VALIDATED_AT_ONCE)
            scores = validate(learner.result, batches, self.pairs.names, learner.device, self.team)
            mean = sum(scores.values()) / len(scores)
            results = {"validation_psnr_db": round(mean, 3)}
            self.report.say(score_table(learner.steps, scores))
            if self.board is not None:
                for name, value in {"val/psnr_db": mean, **{f"val/psnr_db/{t}": v for t, v in scores.items()}}.items():
                    self.board.add_scalar(name, value, learner.steps)
        folder = self.options.output / "best"
        if self.team.rank == 0:
            description = ModelFile(
                model=learner.network.config,
                provenance={
                    "started_unix": round(began),
                    "seconds": round(self.seconds_before + self.budget.seconds),
                    "steps": learner.steps,
                    "samples": learner.samples,
                    "device": str(learner.device),
                    "processes": self.team.size,
                    "start": self.options.start,
                },
                training=self.recipe.model_dump(mode="json"),
                results=results,
            )
            save(learner.result, folder, description)
        return folder
