"""Loaders for training and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from moceir import image_io
from moceir.data.photographs import Photographs, split_by_name
from moceir.data.synthesis import Sample, TaskMixture, TrainingPairs, ValidationPairs
from moceir.errors import DataError, ImageError
from moceir.recipe import Recipe
from moceir.training.schedule import ScheduleCallback, stage_at


class Pairs(L.LightningDataModule):
    """Loaders for training (a new stretch of samples each epoch) and validation (always the same)."""

    def __init__(self, recipe: Recipe, data: Path, *, workers: int, processes: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.workers = workers
        self.processes = processes
        self.mixture = TaskMixture(recipe.tasks)
        self.names = self.mixture.names
        try:
            files = [path for path, _ in image_io.find([data])]
        except ImageError as error:
            raise DataError(str(error)) from error
        training, validation = split_by_name(files, recipe.validation.share)
        self.photographs = Photographs(training)
        self.held_out = Photographs(validation)
        self.pictures = len(self.photographs)

    def follow(self, schedule: ScheduleCallback) -> None:
        """Take patch sizes and the end of the run from this schedule."""
        self.schedule = schedule

    def setup(self, stage: str) -> None:
        """Decode the photographs before loader processes are forked."""
        self.photographs.preload()
        self.held_out.preload()

    def train_dataloader(self) -> DataLoader[Sample]:
        """The samples of the current epoch, at the patch size that the progress asks for."""
        trainer: Any = self.trainer
        step = int(trainer.global_step)
        stage = stage_at(self.recipe.stages, self.schedule.progress(step))
        steps = min(self.recipe.epoch_steps, max(self.schedule.steps - step, 1))
        pairs = TrainingPairs(
            self.photographs,
            self.mixture,
            self.recipe.augment,
            patch_px=stage.patch_px,
            # Numbers of different epochs must never meet, whatever the batch sizes of the stages were.
            first=step * max(s.batch for s in self.recipe.stages),
            count=steps * stage.batch,
            seed=self.recipe.seed,
        )
        return self._loader(pairs, stage.batch // (self.processes * self.recipe.accumulate))

    def val_dataloader(self) -> DataLoader[Sample]:
        """The fixed validation pairs."""
        settings = self.recipe.validation
        pairs = ValidationPairs(
            self.held_out, self.mixture, patch_px=settings.patch_px, most=settings.most, seed=self.recipe.seed
        )
        return self._loader(pairs, 1)

    def _loader(self, pairs: Dataset[Sample], batch: int) -> DataLoader[Sample]:
        """Deal out samples in turn, so that the processes' batches of a step make up the batch of one process."""
        trainer: Any = self.trainer
        dealt: Any = DistributedSampler(pairs, trainer.world_size, trainer.global_rank, shuffle=False)
        return DataLoader(
            pairs,
            batch_size=batch,
            sampler=dealt if self.processes > 1 else None,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
        )
