"""Training runs: from a recipe and a folder of pictures to a trained model."""

from __future__ import annotations

import logging
import os
import time
import warnings
from pathlib import Path

import lightning as L
import torch
import yaml
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from moceir.config import ModelConfig
from moceir.errors import ConfigError
from moceir.files import cannot_write
from moceir.machine.devices import choose_device
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.recipe import Recipe, load_recipe
from moceir.training.callbacks import FiniteGradients, ProgressCallback, RoutingView, ValidationView
from moceir.training.checkpoints import DurableCheckpointIO
from moceir.training.data import Pairs
from moceir.training.module import RestorationModule
from moceir.training.options import TrainOptions
from moceir.training.schedule import ScheduleCallback
from moceir.training.state import load_state
from moceir.training.stretch import STATE_FILE, Beginning, train_stretch
from moceir.training.team import run_together
from moceir.weights import ModelFile, load, save
from moceir.weights.growth import check_growth, grow

RECIPE_FILE = "recipe.yaml"
"""File name of the resolved recipe in every run folder."""
LAST = Path("checkpoints") / "last.ckpt"
"""Checkpoint that a run resumes from, written after every validation."""
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
"""Lightning's name of each precision."""


def train(recipe: Recipe, options: TrainOptions) -> Path:
    """Run a recipe to completion.

    Args:
        recipe: Recipe to run.
        options: Folders, devices and other machine-dependent options.

    Returns:
        Folder of the best model by validation PSNR, or of the last model if the recipe has no validation.

    Raises:
        ConfigError: If the run folder contains another run or no run to resume, the settings do not suit the machine,
            or the starting weights cannot be grown to the recipe's network.
        DataError: If pictures are missing, damaged or too few.
        TrainingError: If the loss or its gradient is no longer finite.
        WeightsError: If the starting weights are missing or damaged.
    """
    _check_options(recipe, options)
    if recipe.optimizer.schedule == "stretches":
        return _train_stretch(recipe, options)
    started = load(options.start) if options.start is not None else None
    config = _network_config(recipe, started.config if started else None)
    if started is not None:
        check_growth(started.config, config)
    pairs = Pairs(recipe, options.data, workers=options.workers, scale=config.scale)
    recipe, steps = recipe.resolved(pairs.pictures)
    last = _prepare_folder(recipe, options)
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    module = RestorationModule(recipe, config, pairs.names)
    if started is not None and last is None:
        module.network.load_state_dict(grow(started, config, seed=recipe.seed).state_dict())
    schedule = ScheduleCallback(recipe.optimizer, steps, options.max_seconds)
    pairs.follow(schedule)
    validated = recipe.validation.share > 0
    # ``last_one`` comes second, so that it records the current best.
    folder, early = options.output / LAST.parent, not validated
    best = ModelCheckpoint(folder, "best-{step}", monitor="val/psnr_db", mode="max", save_on_train_epoch_end=early)
    last_one = ModelCheckpoint(folder, LAST.stem, enable_version_counter=False, save_on_train_epoch_end=early)
    checkpoints = [best, last_one] if validated else [last_one]
    callbacks: list[L.Callback] = [schedule, *checkpoints, ProgressCallback(schedule), RoutingView(), ValidationView()]
    callbacks.append(FiniteGradients(patience=20 if recipe.precision == "float16" else 0))
    if recipe.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema_decay))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # hide its advertising
    trainer = L.Trainer(
        accelerator={"cuda": "gpu"}.get(options.device, options.device),
        devices=options.processes,
        num_nodes=options.nodes,
        # Experts that receive no image of a batch have no gradient in this step.
        strategy="ddp_find_unused_parameters_true" if options.world > 1 else "auto",
        precision=PRECISIONS[recipe.precision],  # pyright: ignore[reportArgumentType] - a Literal of all its names
        max_steps=steps,
        accumulate_grad_batches=recipe.accumulate,
        gradient_clip_val=recipe.optimizer.clip_norm,
        callbacks=callbacks,
        plugins=[DurableCheckpointIO()],
        logger=TensorBoardLogger(options.output, name="logs", version=""),
        use_distributed_sampler=False,  # our sampler needs no shuffling: sample numbers determine random samples
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        limit_val_batches=None if validated else 0,
        log_every_n_steps=min(20, recipe.epoch_steps),
        enable_progress_bar=False,  # ours shows the same values with and without a terminal
        enable_model_summary=False,
    )
    began = time.time()
    with warnings.catch_warnings():
        # Hide deprecation warnings between libraries, which users cannot act on.
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"lightning|torch")
        warnings.filterwarnings("ignore", ".*(does not have many workers|logging interval|exists and is not empty)")
        trainer.fit(module, pairs, ckpt_path=last)
    network = network_of_checkpoint(Path(checkpoints[0].best_model_path), config)
    score = checkpoints[0].best_model_score
    description = ModelFile(
        model=config,
        provenance={
            "started_unix": round(began),
            "seconds": round(schedule.budget.seconds),
            "steps": trainer.global_step,
            "device": str(trainer.strategy.root_device),
            "processes": options.world,
            "start": options.start,
        },
        training=recipe.model_dump(mode="json"),
        results={} if score is None else {"validation_psnr_db": round(float(score), 3)},
    )
    if trainer.is_global_zero:
        save(network, options.output / "best", description)
    return options.output / "best"


def _train_stretch(recipe: Recipe, options: TrainOptions) -> Path:
    """Prepare a stretch and train it in the requested number of processes."""
    state = load_state(options.continue_from) if options.continue_from is not None else None
    started = load(options.start) if options.start is not None else None
    if state is not None:
        config = _network_config(recipe, state.model)
        if config != state.model:
            msg = f"{options.continue_from} is the state of another network than the recipe's; leave out its model"
            raise ConfigError(msg)
        beginning = Beginning(config, state=state)
    else:
        config = _network_config(recipe, started.config if started else None)
        weights = None if started is None else grow(started, config, seed=recipe.seed).state_dict()
        beginning = Beginning(config, weights=weights)
    pairs = Pairs(recipe, options.data, workers=options.workers, scale=config.scale)
    recipe, _ = recipe.resolved(pairs.pictures)
    occupied = options.output / STATE_FILE
    if occupied.exists() and (options.continue_from is None or not occupied.samefile(options.continue_from)):
        raise ConfigError(f"{options.output} already holds a run; give --continue {occupied}, or another folder")
    _write_recipe(recipe, options)
    device = choose_device(options.device)
    return run_together(train_stretch, options.processes, recipe, options, beginning, pairs, device)


def _check_options(recipe: Recipe, options: TrainOptions) -> None:
    """Reject options that do not suit the machine, and divide its cores among the processes."""
    parts = options.world * recipe.accumulate
    uneven = [stage.batch for stage in recipe.stages if stage.batch % parts]
    if uneven:
        cut = f" of {recipe.accumulate} parts" if recipe.accumulate > 1 else ""
        msg = f"a batch of {uneven[0]} cannot be shared by {options.world} processes{cut}; choose a divisor of it"
        raise ConfigError(msg)
    on_cpu = options.device == "cpu" or (options.device == "auto" and not torch.cuda.is_available())
    if recipe.precision == "float16" and on_cpu:
        raise ConfigError("float16 cannot be trained on a CPU; set precision to float32 or bfloat16")
    if recipe.optimizer.schedule == "stretches":
        if options.resume:
            raise ConfigError("stretches are not resumed; give --continue and the state.safetensors of the run")
        if options.continue_from is not None and options.start is not None:
            raise ConfigError("--continue and --start both name weights to begin with; give one of them")
        if options.nodes > 1 or (options.processes > 1 and not on_cpu):
            raise ConfigError("a stretch runs on one GPU, or in processes of one machine's CPU; give one process")
    elif options.continue_from is not None:
        raise ConfigError("only stretches can be continued; set optimizer.schedule to stretches")
    if options.processes > 1 and torch.get_num_threads() > 1:
        # Processes with few threads beat one process with many: small layers need less synchronisation.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.processes))


def _network_config(recipe: Recipe, started: ModelConfig | None) -> ModelConfig:
    """Return the network configuration from the recipe or, if it has none, from the starting weights."""
    config = preset(recipe.model) if isinstance(recipe.model, str) else recipe.model or started
    if config is None:
        raise ConfigError("the recipe names no model; name one, or give weights to start from with --start")
    return config if recipe.scale is None else config.model_copy(update={"scale": recipe.scale})


def network_of_checkpoint(checkpoint: Path, config: ModelConfig) -> MoCEIR:
    """Load the network from a checkpoint of this run, with averaged weights if the run averages them."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    network = MoCEIR(config)
    prefix = "network."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return network


def _prepare_folder(recipe: Recipe, options: TrainOptions) -> Path | None:
    """Write the recipe to a new run folder, or find the checkpoint to resume from."""
    last = options.output / LAST
    saved = options.output / RECIPE_FILE
    if not options.resume:
        if last.exists():
            msg = f"{options.output} already holds a run; add --resume to go on with it, or choose another folder"
            raise ConfigError(msg)
        _write_recipe(recipe, options)
        return None
    if not last.exists():
        if torch.distributed.is_torchelastic_launched():
            # torchrun repeats its command, whether the run had come to a first checkpoint or not.
            _write_recipe(recipe, options)
            return None
        msg = f"{options.output} holds no checkpoint to resume from; start without --resume"
        raise ConfigError(msg)
    if load_recipe(saved).model_dump_json() != recipe.model_dump_json():  # the order of tasks counts too
        msg = f"the recipe differs from the one this run began with; resume with {saved}"
        raise ConfigError(msg)
    return last


def _write_recipe(recipe: Recipe, options: TrainOptions) -> None:
    """Write the resolved recipe to the run folder."""
    path = options.output / RECIPE_FILE
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error
