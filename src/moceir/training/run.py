"""From a recipe and a folder of photographs to a trained model folder."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from moceir import image_io
from moceir.config import ModelConfig
from moceir.data.photographs import Photographs, split_by_name
from moceir.data.synthesis import Sample, TaskMixture, TrainingPairs, ValidationPairs
from moceir.errors import ConfigError, DataError, ImageError, WeightsError
from moceir.models.presets import preset
from moceir.recipe import Recipe, load_recipe
from moceir.training.module import RestorationModule
from moceir.training.schedule import ScheduleCallback, stage_at
from moceir.weights import ModelFile, load, save

RECIPE_FILE = "recipe.yaml"
"""The resolved recipe, written into every run folder."""


@dataclass(frozen=True)
class TrainOptions:
    """What may differ between two machines that run the same recipe."""

    data: Path
    """Folder of clean photographs, searched recursively."""
    output: Path
    """Run folder: recipe, checkpoints, TensorBoard logs, and the model in ``best``."""
    resume: bool = False
    """Go on from the last checkpoint in the run folder."""
    start: str | None = None
    """Model whose weights to begin with, instead of random ones."""
    max_seconds: float | None = None
    """End after this time, with the learning rate annealed to fit."""
    workers: int = 0
    """Extra processes for each training process that make pairs; 0 makes them in the training process itself."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``mps``."""
    processes: int = 1
    """Data-parallel processes that share each batch: devices of the kind, or groups of CPU cores."""


class Pairs(L.LightningDataModule):
    """Loaders for training (a new stretch of samples each epoch) and validation (always the same)."""

    def __init__(self, recipe: Recipe, schedule: ScheduleCallback, options: TrainOptions) -> None:
        super().__init__()
        self.recipe = recipe
        self.schedule = schedule
        self.workers = options.workers
        self.processes = options.processes
        self.mixture = TaskMixture(recipe.tasks)
        try:
            files = [path for path, _ in image_io.find([options.data])]
        except ImageError as error:
            raise DataError(str(error)) from error
        training, validation = split_by_name(files, recipe.validation.share)
        self.photographs = Photographs(training)
        self.held_out = Photographs(validation)

    def setup(self, stage: str) -> None:
        """Decode the photographs before loader processes are forked."""
        self.photographs.preload()
        self.held_out.preload()

    def train_dataloader(self) -> DataLoader[Sample]:
        """The samples of the current epoch, at the patch size that the progress asks for."""
        trainer: Any = self.trainer
        step = int(trainer.global_step)
        stage = stage_at(self.recipe.stages, self.schedule.progress(step))
        steps = min(self.recipe.epoch_steps, max(self.recipe.steps - step, 1))
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
        return DataLoader(
            pairs,
            batch_size=stage.batch // self.processes,
            num_workers=self.workers,
            prefetch_factor=4 if self.workers else None,
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """The fixed validation pairs."""
        settings = self.recipe.validation
        pairs = ValidationPairs(
            self.held_out, self.mixture, patch_px=settings.patch_px, most=settings.most, seed=self.recipe.seed
        )
        return DataLoader(pairs, batch_size=1, num_workers=self.workers)


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


def network_config(recipe: Recipe) -> ModelConfig:
    """The shape that a recipe's ``model`` stands for.

    Raises:
        ConfigError: If it names an unknown preset.
    """
    return preset(recipe.model) if isinstance(recipe.model, str) else recipe.model


def train(recipe: Recipe, options: TrainOptions) -> Path:
    """Run a recipe to its end.

    Args:
        recipe: What to compute.
        options: Where and on what.

    Returns:
        The folder of the best model by validation PSNR.

    Raises:
        ConfigError: If the run folder holds another run, or nothing to resume.
        DataError: If the photographs are missing, too few or damaged.
        WeightsError: If the starting weights do not fit the recipe's network.
    """
    config = network_config(recipe)
    uneven = [stage.batch for stage in recipe.stages if stage.batch % options.processes]
    if uneven:
        msg = f"a batch of {uneven[0]} cannot be shared by {options.processes} processes; choose a divisor of it"
        raise ConfigError(msg)
    if options.processes > 1 and torch.get_num_threads() > 1:
        # One thread per process and core beats many threads in one process: small layers do not wait for each other.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.processes))
    last = _prepare_folder(recipe, options)
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    module = RestorationModule(recipe, config)
    if options.start is not None and last is None:
        started = load(options.start)
        if started.config != config:
            msg = f"the weights '{options.start}' belong to another network than the recipe's model; change one of them"
            raise WeightsError(msg)
        module.network.load_state_dict(started.state_dict())
    schedule = ScheduleCallback(recipe.optimizer, recipe.steps, options.max_seconds)
    checkpoints = ModelCheckpoint(
        options.output / "checkpoints",
        "best-{step}",
        monitor="val/psnr_db",
        mode="max",
        save_last=True,
        save_on_train_epoch_end=False,  # but after validation, when there is a score
    )
    callbacks: list[L.Callback] = [schedule, checkpoints, EpochLine(schedule)]
    interactive = sys.stderr.isatty()
    if interactive:
        callbacks.append(RichProgressBar())
    trainer = L.Trainer(
        accelerator={"cuda": "gpu"}.get(options.device, options.device),
        devices=options.processes,
        # An expert that no image of the batch chose has no gradient in this step.
        strategy="ddp_find_unused_parameters_true" if options.processes > 1 else "auto",
        max_steps=recipe.steps,
        gradient_clip_val=recipe.optimizer.clip_norm,
        callbacks=callbacks,
        logger=TensorBoardLogger(options.output, name="logs", version=""),
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=min(20, recipe.epoch_steps),
        enable_progress_bar=interactive,
        enable_model_summary=False,
    )
    began = time.time()
    trainer.fit(module, Pairs(recipe, schedule, options), ckpt_path=last)
    best = module
    if checkpoints.best_model_path:
        best = RestorationModule.load_from_checkpoint(checkpoints.best_model_path, recipe=recipe, config=config)
    score = checkpoints.best_model_score
    description = ModelFile(
        model=config,
        provenance={
            "started_unix": round(began),
            "seconds": round(schedule.seconds),
            "steps": trainer.global_step,
            "device": str(trainer.strategy.root_device),
            "start": options.start,
        },
        training=recipe.model_dump(mode="json"),
        results={} if score is None else {"validation_psnr_db": round(float(score), 3)},
    )
    if trainer.is_global_zero:
        save(best.network, options.output / "best", description)
    return options.output / "best"


def _prepare_folder(recipe: Recipe, options: TrainOptions) -> Path | None:
    """Write the recipe into a new run folder, or find the checkpoint to go on from."""
    last = options.output / "checkpoints" / "last.ckpt"
    saved = options.output / RECIPE_FILE
    if not options.resume:
        if last.exists():
            msg = f"{options.output} already holds a run; add --resume to go on with it, or choose another folder"
            raise ConfigError(msg)
        options.output.mkdir(parents=True, exist_ok=True)
        saved.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
        return None
    if not last.exists():
        msg = f"{options.output} holds no checkpoint to resume from; start without --resume"
        raise ConfigError(msg)
    if load_recipe(saved) != recipe:
        msg = f"the recipe differs from the one this run began with; resume with {saved}"
        raise ConfigError(msg)
    return last
