"""A training recipe: everything that decides what a run computes, as strict YAML with overrides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from moceir.config import ModelConfig, StrictModel, describe_validation_error
from moceir.errors import ConfigError


class StageConfig(StrictModel):
    """A stretch of training at one patch size; small patches first are cheap, large ones last teach context."""

    share: float = Field(gt=0, le=1)
    """Share of the whole training."""
    patch_px: int = Field(ge=8, le=1024, multiple_of=8)
    """Side of the square training patches."""
    batch: int = Field(ge=1)
    """Patches per step."""


class OptimizerConfig(StrictModel):
    """AdamW with linear warm-up, then a decay that depends on the schedule."""

    schedule: Literal["cosine", "stretches"] = "cosine"
    """``cosine`` decays over the whole run. ``stretches`` keeps the rate constant and decays shortly before the end;
    the state from before the decay is saved, and ``moceir train --continue`` goes on from it in a further stretch."""
    decay_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of a stretch in which the rate falls to zero (``stretches`` only)."""

    lr: float = Field(gt=0, le=1)
    """Learning rate at the end of the warm-up."""
    final_lr: float = Field(default=1e-6, ge=0)
    """Learning rate at the very end (``cosine`` only)."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the training in which the rate climbs to ``lr``; it starts above zero. Only the first of several
    stretches warms up."""
    decay_span: float = Field(default=1.0, ge=1, le=10)
    """Length of the cosine, in runs; above 1 the run ends before the rate has come down to ``final_lr``."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of the running mean and square of the gradient."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decoupled weight decay."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest gradient norm; None for no clipping."""


class LossConfig(StrictModel):
    """Weights beside the L1 loss on pixels, which counts 1."""

    fft: float = Field(default=0.1, ge=0)
    """L1 of the two-dimensional spectrum."""
    balance: float = Field(default=0.01, ge=0)
    """Balance of the experts."""
    proportion_floor: float | None = Field(default=None, gt=0)
    """Minimise the logarithm of each image's loss plus this floor, so that every task counts by gains in proportion to
    its own error; None minimises the loss itself, as published."""


class AugmentConfig(StrictModel):
    """Variety of the clean patches (flips and quarter turns are always on)."""

    smallest_scale: float = Field(default=0.5, gt=0, le=1)
    """Patches may be downscaled by up to this factor; it shows objects at other sizes and sheds JPEG artefacts."""
    scale_chance: float = Field(default=0.5, ge=0, le=1)
    """How often a patch is downscaled at all."""
    darkest: float = Field(default=0.1, gt=0, le=1)
    """Greys of a patch may be dimmed to this share of their light, and what is brightest in it by less, as in scenes at
    dusk and by night: a network that knows dark pictures only from the degradation low light brightens them all."""
    dark_chance: float = Field(default=0.0, ge=0, le=1)
    """How often a patch is dimmed at all; never where the degradation holds low light."""


class ValidationConfig(StrictModel):
    """Fixed pictures and degradations, set aside from the training pictures by name."""

    share: float = Field(default=0.05, ge=0, lt=1)
    """Share of each source's pictures; 0 for no validation, and then the last weights count as the best."""
    patch_px: int = Field(default=128, ge=8, multiple_of=8)
    """Side of the centre crops."""
    most: int = Field(default=16, ge=1)
    """Use at most so many pictures of each source or task."""


class SourceConfig(StrictModel):
    """Where some of the pairs come from: a published data set, two folders, or photographs to degrade.

    Folders are relative to the folder that is given as ``--data``.
    """

    set: str | None = None
    """Name of a published data set (``moceir data list``)."""
    pairs: tuple[Path, Path] | None = None
    """Folder of degraded and folder of clean pictures, matched by name."""
    photographs: Path | None = None
    """Folder of clean pictures, which ``degrade`` then degrades."""
    degrade: str | None = None
    """Degradation text, for photographs and for sets of clean pictures."""
    repeat: int = Field(default=1, ge=1)
    """How often each picture is used in an epoch."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("set", "pairs", "photographs") if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"a source needs exactly one of set, pairs and photographs, got {' and '.join(given) or 'none'}"
            raise ValueError(msg)
        if self.pairs is not None and self.degrade is not None:
            msg = f"pairs are degraded already, so degrade '{self.degrade}' contradicts them; leave one of them out"
            raise ValueError(msg)
        if self.photographs is not None and self.degrade is None:
            raise ValueError("photographs need a degradation; add degrade, as degrade: noise:sigma=25")
        return self


class Recipe(StrictModel):
    """Everything that decides what a training run computes."""

    model: str | ModelConfig | None = None
    """A preset's name, the network's shape in full, or nothing for the network of the weights to start from."""
    steps: int | None = Field(default=None, ge=1)
    """Optimiser steps in all; give this or ``epochs``."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes through all pictures, repeats included; give this or ``steps``."""
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    """Patch and batch sizes in order."""
    tasks: dict[str, float] = Field(default_factory=dict[str, float])
    """Degradations of one folder of photographs with their weights, as ``noise: 3`` or ``"noise:sigma=25": 1``."""
    sources: tuple[SourceConfig, ...] = ()
    """Data sets with their repeats, instead of ``tasks``."""
    optimizer: OptimizerConfig
    """How the weights are updated."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    augment: AugmentConfig = AugmentConfig()
    """How clean patches are cut."""
    validation: ValidationConfig = ValidationConfig()
    """What the best weights are chosen by."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the network's arithmetic; weights, loss and spectra stay in float32."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that each batch is cut into, one after the other, to save memory; each balances its own experts."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential moving average of the weights with this decay per step, and validate and ship that."""
    compile: bool = False
    """Whether ``torch.compile`` works on the blocks of the network: minutes to begin with, faster steps on a GPU."""
    epoch_steps: int = Field(default=500, ge=1)
    """Steps between two validations and checkpoints."""
    seed: int = 0
    """Seed of the initial weights, the patches, the degradations and the routing noise."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = sum(stage.share for stage in self.stages)
        if abs(total - 1) > 1e-6:
            msg = f"the shares of the stages add up to {total:g}; make them add up to 1"
            raise ValueError(msg)
        if (self.steps is None) == (self.epochs is None):
            msg = f"give either steps or epochs and leave the other out, got {self.steps} and {self.epochs}"
            raise ValueError(msg)
        if bool(self.tasks) == bool(self.sources):
            raise ValueError(f"give either tasks or sources, got {'both' if self.tasks else 'neither'}")
        if self.tasks and (min(self.tasks.values()) < 0 or not 0 < sum(self.tasks.values()) < math.inf):
            msg = f"task weights must be finite, not negative and not all zero, got {self.tasks}"
            raise ValueError(msg)
        if self.optimizer.schedule == "stretches":
            if self.accumulate > 1 or self.precision == "float16":
                raise ValueError(
                    "stretches take whole batches in float32 or bfloat16; leave out accumulate and float16"
                )
            if self.optimizer.warmup_share + self.optimizer.decay_share > 1:
                raise ValueError("optimizer.warmup_share and optimizer.decay_share overlap; make one of them smaller")
        if self.optimizer.final_lr > self.optimizer.lr:
            msg = f"optimizer.final_lr {self.optimizer.final_lr:g} is above optimizer.lr {self.optimizer.lr:g}"
            raise ValueError(msg)
        uneven = [stage.batch for stage in self.stages if stage.batch % self.accumulate]
        if uneven:
            raise ValueError(
                f"a batch of {uneven[0]} cannot be cut into {self.accumulate} equal parts; change accumulate"
            )
        return self

    def resolved(self, pictures: int) -> tuple[Self, int]:
        """Turn epochs into steps.

        Args:
            pictures: Pictures in an epoch, repeats included.

        Returns:
            The recipe with its steps written out, and the steps.
        """
        if self.steps is not None:
            return self, self.steps
        mean_batch = sum(stage.share * stage.batch for stage in self.stages)
        steps = max(1, round((self.epochs or 1) * pictures / mean_batch))
        return self.model_copy(update={"steps": steps, "epochs": None}), steps


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a training recipe from YAML.

    Args:
        path: The file.
        overrides: See `make_recipe`.

    Raises:
        ConfigError: If the file is missing or is not YAML, or `make_recipe` refuses its content.
    """
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # noqa: S506 - a SafeLoader
    except OSError as error:
        msg = f"the recipe {path} cannot be read ({error.strerror}); give a YAML file like recipes/tiny.yaml"
        raise ConfigError(msg) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        twice = f": {error.problem}" if isinstance(error, _RepeatedKeyError) else ""
        msg = f"the recipe {path} is not valid YAML{line}{twice}; compare it with recipes/tiny.yaml"
        raise ConfigError(msg) from error
    return make_recipe(content, overrides, origin=str(path))


def make_recipe(content: Any, overrides: Sequence[str], origin: str) -> Recipe:
    """Check a recipe's content.

    Args:
        content: What YAML or JSON holds; changed in place by the overrides.
        overrides: Changes as ``optimizer.lr=1e-4``: the key's path with dots (a number for the place in a list), then
            the value as YAML.

        origin: Where the content comes from, for messages.

    Raises:
        ConfigError: If an override cannot be read, or a key is unknown, is given twice, has an impossible value or
            contradicts another.
    """
    for text in overrides:
        _override(content, text)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        changed = f" with {', '.join(map(repr, overrides))}" if overrides else ""
        msg = f"the recipe {origin}{changed} is wrong: {describe_validation_error(error, Recipe)}"
        raise ConfigError(msg) from error


class _RepeatedKeyError(yaml.MarkedYAMLError):
    """A mapping that names a key twice."""


class _UniqueKeys(yaml.SafeLoader):
    """YAML itself forbids repeated keys, but the library silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, refusing a key that stands there already."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _RepeatedKeyError(problem=f"key '{key.value}' is given twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _override(content: Any, text: str) -> None:
    """Change one value of a recipe's content in place."""
    path, equals, value_text = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"cannot read the override {text!r}; write it as optimizer.lr=1e-4")
    try:
        value = yaml.safe_load(value_text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the value in the override {text!r} is not valid YAML; quote it") from error
    at: Any = content
    for number, key in enumerate(keys):
        place: Any = key
        if isinstance(at, list) and key.isdecimal() and int(key) < len(at):
            place = int(key)
        elif not isinstance(at, dict):
            raise ConfigError(f"the override {text!r} does not fit: {'.'.join(keys[:number])!r} has no part {key!r}")
        if number == len(keys) - 1:
            at[place] = value
        else:
            if isinstance(at, dict):
                at.setdefault(place, {})
            at = at[place]
