"""Data loaders for training and validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from moceir.data.mixtures import (
    MixedPairs,
    Source,
    ValidationPairs,
    epoch_length,
    pairs_source,
    photographs_source,
    set_source,
    split_sources,
)
from moceir.data.photographs import Photographs
from moceir.data.resident import ResidentPhotographs
from moceir.data.synthesis import Sample
from moceir.degradations.reduction import Reduction
from moceir.recipe import Recipe, SourceConfig, StageConfig
from moceir.training.feed import fits, made_on_device
from moceir.training.schedule import ScheduleCallback, stage_at
from moceir.training.team import Team


class Pairs(L.LightningDataModule):
    """Data loaders for training (new samples in each epoch) and validation (always the same)."""

    def __init__(self, recipe: Recipe, data: Path, *, workers: int, scale: int = 1) -> None:
        super().__init__()
        self.recipe = recipe
        self.reduction = Reduction(scale, recipe.kernels)
        self.workers = workers
        sources = sources_of(recipe, data)
        self.names = [source.label for source in sources]
        self.sources, self.held_out = split_sources(sources, recipe.validation.share)
        self.photographs = Photographs()
        self._on_device: ResidentPhotographs | None = None
        self.pictures = epoch_length(self.sources) if recipe.sources else len(self.sources[0].files)

    def follow(self, schedule: ScheduleCallback) -> None:
        """Use this schedule for the patch sizes and the end of the run."""
        self.schedule = schedule

    def setup(self, stage: str) -> None:
        """Decode the photographs before loader processes are forked."""
        self.photographs.preload(path for source in (*self.held_out, *self.sources) for path in source.paths)

    def batches(
        self, stage: StageConfig, first: int, count: int, team: Team, device: torch.device, *, resident: bool = False
    ) -> Iterator[Sample]:
        """Yield this process's share of numbered training samples, in batches on a device.

        If the photographs fit into the device's memory, the pairs are made there; otherwise see ``numbered``.

        Args:
            stage: Patch and batch size.
            first: Number of the first sample.
            count: Number of samples.
            team: Processes that share each batch.
            device: Device of the batches.
            resident: Whether to make the pairs on the device even if the photographs do not seem to fit.
        """
        paths = [path for source in self.sources for path in source.paths]
        if team.size == 1 and (resident or fits(self.photographs, paths, device)):
            if self._on_device is None:
                self._on_device = ResidentPhotographs(self.photographs, paths, device)
            pairs = self._pairs(stage, first, count)
            yield from made_on_device(pairs, self._on_device, stage.batch, self.workers, device)
            return
        for batch in self.numbered(stage, first, count, team):
            yield Sample(*(part.to(device, non_blocking=True) for part in batch))

    def numbered(self, stage: StageConfig, first: int, count: int, team: Team) -> DataLoader[Sample]:
        """Load this process's share of numbered training samples.

        Args:
            stage: Patch and batch size.
            first: Number of the first sample; a sample depends only on the seed and its number.
            count: Total number of samples for all processes.
            team: Processes that share each batch. Samples are distributed round-robin, so that the shares of a step
                make up the joint batch.
        """
        batch = stage.batch // (team.size * self.recipe.accumulate)
        return self._loader(self._pairs(stage, first, count), batch, range(team.rank, count, team.size))

    def _pairs(self, stage: StageConfig, first: int, count: int) -> MixedPairs:
        return MixedPairs(
            self.sources,
            self.photographs,
            self.recipe.augment,
            by="repeat" if self.recipe.sources else "weight",
            patch_px=stage.patch_px,
            first=first,
            count=count,
            seed=self.recipe.seed,
            reduction=self.reduction,
        )

    def validation(self, team: Team, batch: int = 1) -> DataLoader[Sample]:
        """Load this process's share of the validation pairs, which are always the same."""
        settings = self.recipe.validation
        pairs = ValidationPairs(
            self.held_out,
            self.photographs,
            patch_px=settings.patch_px,
            most=settings.most,
            seed=self.recipe.seed,
            scale=self.reduction.scale,
        )
        return self._loader(pairs, batch, range(team.rank, len(pairs), team.size))

    def train_dataloader(self) -> DataLoader[Sample]:
        """Load the samples of the current epoch, with the patch size of the current stage."""
        trainer: Any = self.trainer
        step = int(trainer.global_step)
        stage = stage_at(self.recipe.stages, self.schedule.progress(step))
        steps = min(self.recipe.epoch_steps, max(self.schedule.budget.steps - step, 1))
        # Sample numbers of different epochs must never overlap, whatever the batch sizes of the stages.
        first = step * max(s.batch for s in self.recipe.stages)
        return self.numbered(stage, first, steps * stage.batch, Team(trainer.global_rank, trainer.world_size))

    def val_dataloader(self) -> DataLoader[Sample]:
        """Load the validation pairs."""
        trainer: Any = self.trainer
        return self.validation(Team(trainer.global_rank, trainer.world_size))

    def _loader(self, pairs: Dataset[Sample], batch: int, numbers: Sequence[int]) -> DataLoader[Sample]:
        return DataLoader(
            pairs,
            batch_size=batch,
            sampler=numbers,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
            pin_memory=torch.cuda.is_available(),  # copy batches to the device while it computes
        )


def sources_of(recipe: Recipe, data: Path) -> list[Source]:
    """Make the sources of a recipe: tasks on one folder of photographs, or sets, pairs and folders below it.

    Raises:
        ConfigError: If a set or degradation is unknown, or a set and its degradation do not match.
        DataError: If pictures are missing or pairs are incomplete.
    """
    if recipe.tasks:
        return [photographs_source(data, text, weight) for text, weight in recipe.tasks.items()]
    return [_source(config, data) for config in recipe.sources]


def _source(config: SourceConfig, data: Path) -> Source:
    if config.set is not None:
        return set_source(config.set, data, config.degrade, config.repeat)
    if config.pairs is not None:
        degraded, clean = config.pairs
        return pairs_source(data / degraded, data / clean, config.repeat, degraded.as_posix())
    folder, degradation = config.photographs or Path(), config.degrade or "clean"
    return photographs_source(data / folder, degradation, config.repeat, f"{folder.as_posix()}:{degradation}")
