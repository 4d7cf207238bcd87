"""Training recipes: all settings that determine what a run computes, as strict YAML with overrides."""

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
    """Part of the training with one patch size; small patches first are cheap, large ones at the end teach context."""

    share: float = Field(gt=0, le=1)
    """Fraction of the whole training."""
    patch_px: int = Field(ge=8, le=1024, multiple_of=8)
    """Side of the square patches that the network gets, in pixels; clean patches of a network that enlarges are larger
    by its scale."""
    batch: int = Field(ge=1)
    """Patches per step."""


class OptimizerConfig(StrictModel):
    """AdamW with linear warm-up, followed by a decay that depends on the schedule."""

    schedule: Literal["cosine", "stretches"] = "cosine"
    """``cosine`` decays over the whole run. ``stretches`` keeps the rate constant and decays it shortly before the end;
    the state before the decay is saved, and ``moceir train --continue`` starts a further stretch from it."""
    decay_share: float = Field(default=0.15, gt=0, lt=1)
    """Fraction of a stretch in which the rate falls to zero (``stretches`` only)."""

    lr: float = Field(gt=0, le=1)
    """Learning rate at the end of the warm-up."""
    final_lr: float = Field(default=1e-6, ge=0)
    """Final learning rate (``cosine`` only)."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Fraction of the training in which the rate rises to ``lr``, starting above zero. Only the first of several
    stretches warms up."""
    decay_span: float = Field(default=1.0, ge=1, le=10)
    """Length of the cosine relative to the run; above 1 the run ends before the rate reaches ``final_lr``."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of the running averages of the gradient and its square."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decoupled weight decay."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Maximum gradient norm; None for no clipping."""


class LossConfig(StrictModel):
    """Weights of the losses that are added to the L1 loss on pixels, whose weight is 1."""

    fft: float = Field(default=0.1, ge=0)
    """Weight of the L1 loss on the 2-D spectrum."""
    balance: float = Field(default=0.01, ge=0)
    """Weight of the loss that balances the experts."""
    proportion_floor: float | None = Field(default=None, gt=0)
    """Minimise the logarithm of each image's loss plus this floor, so that improvements count relative to each image's
    own error; None minimises the loss itself, as published."""


class AugmentConfig(StrictModel):
    """Augmentation of the clean patches (flips and quarter turns are always on)."""

    smallest_scale: float = Field(default=0.5, gt=0, le=1)
    """Strongest downscaling of patches; downscaling shows objects at other sizes and removes JPEG artefacts."""
    scale_chance: float = Field(default=0.5, ge=0, le=1)
    """Probability that a patch is downscaled."""
    darkest: float = Field(default=0.1, gt=0, le=1)
    """Strongest dimming: fraction of its light that a medium grey keeps. The brightest pixels keep more, as at dusk or
    night. A network that sees dark pictures only as the low-light degradation brightens all of them."""
    dark_chance: float = Field(default=0.0, ge=0, le=1)
    """Probability that a patch is dimmed; patches whose degradation includes low light are never dimmed."""


class ValidationConfig(StrictModel):
    """Fixed validation pictures and degradations, set aside from the training pictures by name."""

    share: float = Field(default=0.05, ge=0, lt=1)
    """Fraction of each source's pictures; 0 disables validation, and the last weights then count as the best."""
    patch_px: int = Field(default=128, ge=8, multiple_of=8)
    """Side of the centre crops in pixels."""
    most: int = Field(default=16, ge=1)
    """Maximum number of pictures per source or task."""


class SourceConfig(StrictModel):
    """A source of training pairs: a published data set, two folders, or photographs to degrade.

    Folders are relative to the folder given as ``--data``.
    """

    set: str | None = None
    """Name of a published data set (``moceir data list``)."""
    pairs: tuple[Path, Path] | None = None
    """Folders of degraded and of clean pictures, matched by name."""
    photographs: Path | None = None
    """Folder of clean pictures, to be degraded by ``degrade``."""
    degrade: str | None = None
    """Degradation text for photographs and for sets with only clean pictures."""
    repeat: int = Field(default=1, ge=1)
    """Number of times each picture is used in an epoch."""

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
    """All settings that determine what a training run computes."""

    model: str | ModelConfig | None = None
    """Name of a preset, the full shape of the network, or None for the network of the starting weights."""
    scale: Literal[1, 2, 3, 4] | None = None
    """Factor by which the network enlarges; None for the one of ``model``."""
    kernels: dict[str, float] = Field(default={"cubic": 1.0}, min_length=1)
    """Kernels that reduce the clean patches for a network that enlarges, and their weights: ``cubic``, ``triangle``,
    ``box`` or ``lanczos3``. Degradations come after the reduction, so ``clean`` is the plain task."""
    steps: int | None = Field(default=None, ge=1)
    """Total number of optimiser steps; give this or ``epochs``."""
    epochs: int | None = Field(default=None, ge=1)
    """Number of passes through all pictures, including repeats; give this or ``steps``."""
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    """Patch and batch sizes, in order of training."""
    tasks: dict[str, float] = Field(default_factory=dict[str, float])
    """Degradations of one folder of photographs and their weights, for example ``noise: 3`` or
    ``"noise:sigma=25": 1``."""
    sources: tuple[SourceConfig, ...] = ()
    """Data sets and their repeats, instead of ``tasks``."""
    optimizer: OptimizerConfig
    """Optimiser and learning-rate schedule."""
    loss: LossConfig = LossConfig()
    """Weights of the losses."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation of the clean patches."""
    validation: ValidationConfig = ValidationConfig()
    """Held-out pictures that select the best weights."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Data type of the network's computations; weights, loss and spectra stay in float32."""
    accumulate: int = Field(default=1, ge=1)
    """Number of parts each batch is split into and processed in turn to save memory; each part balances its own
    experts."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay per step of an exponential moving average of the weights, which is then validated and saved; None for no
    average."""
    compile: bool = False
    """Compile the blocks of the network with ``torch.compile``: minutes at the start, but faster steps on a GPU."""
    epoch_steps: int = Field(default=500, ge=1)
    """Steps between validations, and between checkpoints."""
    seed: int = 0
    """Seed of the initial weights, patches, degradations and routing noise."""

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
        """Convert epochs to steps.

        Args:
            pictures: Number of pictures in an epoch, including repeats.

        Returns:
            The recipe with ``steps`` set, and the number of steps.
        """
        if self.steps is not None:
            return self, self.steps
        mean_batch = sum(stage.share * stage.batch for stage in self.stages)
        steps = max(1, round((self.epochs or 1) * pictures / mean_batch))
        return self.model_copy(update={"steps": steps, "epochs": None}), steps


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a training recipe from YAML.

    Args:
        path: The YAML file.
        overrides: See ``make_recipe``.

    Raises:
        ConfigError: If the file is missing or is not YAML, or ``make_recipe`` rejects its content.
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
    """Validate the content of a recipe.

    Args:
        content: Parsed YAML or JSON; the overrides change it in place.
        overrides: Changes such as ``optimizer.lr=1e-4``: the dotted path of the key (with an index for a list item),
            then the value as YAML.
        origin: Origin of the content, for error messages.

    Raises:
        ConfigError: If an override cannot be parsed, or a key is unknown, repeated, invalid or contradicts another.
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
    """A mapping that contains a key twice."""


class _UniqueKeys(yaml.SafeLoader):
    """YAML loader that rejects repeated keys; YAML forbids them, but PyYAML silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping and reject repeated keys."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _RepeatedKeyError(problem=f"key '{key.value}' is given twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _override(content: Any, text: str) -> None:
    """Set one value of a recipe's content in place."""
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
