"""Every setting as a frozen, strictly checked value: the network's shape and the reading of YAML files."""

from __future__ import annotations

import math
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moceir.errors import ConfigError


class StrictModel(BaseModel):
    """Base of all settings: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelConfig(StrictModel):
    """Shape of a MoCE-IR network; it travels with the weights and alone decides how they are used."""

    dim: int = Field(ge=8, le=512)
    """Channels at full resolution; each of the three levels below has twice the channels of the one above."""
    encoder_blocks: tuple[int, int, int] = (4, 6, 6)
    """Transformer blocks per encoder level, from full resolution down."""
    latent_blocks: int = Field(default=8, ge=0)
    """Transformer blocks at an eighth of the resolution."""
    decoder_blocks: tuple[int, int, int] = (4, 4, 2)
    """Routed blocks per decoder stage, from deep to full resolution (the order of execution)."""
    refinement_blocks: int = Field(default=4, ge=0)
    """Transformer blocks behind the decoder at full resolution."""
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    """Attention heads per level, from full resolution down."""
    experts: int = Field(default=4, ge=2, le=6)
    """Complexity experts per routed block; the last has the full rank, each one before it half of the next."""
    top_k: int = Field(default=1, ge=1)
    """How many experts work on an image in each routed block."""
    complexity_bias: bool = True
    """Whether the balance loss weighs experts by their size, so that cheap ones are preferred."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.top_k > self.experts:
            msg = f"top_k is {self.top_k} but there are only {self.experts} experts; choose top_k <= experts"
            raise ValueError(msg)
        for level, heads in enumerate(self.heads):
            if heads < 1 or self.channels(level) % heads:
                msg = f"{self.channels(level)} channels at level {level} cannot be split into {heads} heads"
                raise ValueError(msg)
        if self.dim % 2 ** (self.experts - 1):
            msg = f"dim is {self.dim}, but {self.experts} experts need a multiple of {2 ** (self.experts - 1)}"
            raise ValueError(msg)
        if min(*self.encoder_blocks, *self.decoder_blocks) < 0:
            msg = f"block counts cannot be negative: encoder {self.encoder_blocks}, decoder {self.decoder_blocks}"
            raise ValueError(msg)
        return self

    def channels(self, level: int) -> int:
        """Channels at a level (0 is full resolution)."""
        return self.dim * 2**level

    def expert_ranks(self, level: int) -> tuple[int, ...]:
        """Inner width of each expert at a level, cheapest first."""
        return tuple(self.channels(level) // 2 ** (self.experts - 1 - e) for e in range(self.experts))

    def expert_windows(self) -> tuple[int, ...]:
        """Side in pixels of each expert's FFT window, cheapest first."""
        return tuple(2 ** (e + 2) for e in range(self.experts))


class StageConfig(StrictModel):
    """A stretch of training at one patch size; small patches first are cheap, large ones last teach context."""

    share: float = Field(gt=0, le=1)
    """Share of the whole training."""
    patch_px: int = Field(ge=8, le=1024, multiple_of=8)
    """Side of the square training patches."""
    batch: int = Field(ge=1)
    """Patches per step."""


class OptimizerConfig(StrictModel):
    """AdamW with linear warm-up and cosine decay."""

    lr: float = Field(gt=0, le=1)
    """Learning rate at the end of the warm-up."""
    final_lr: float = Field(default=1e-6, ge=0)
    """Learning rate at the very end."""
    warmup_share: float = Field(default=0.05, ge=0, lt=1)
    """Share of the training in which the rate climbs to ``lr``; it starts above zero."""
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


class AugmentConfig(StrictModel):
    """Geometric variety of the clean patches (flips and quarter turns are always on)."""

    smallest_scale: float = Field(default=0.5, gt=0, le=1)
    """Patches may be downscaled by up to this factor; it shows objects at other sizes and sheds JPEG artefacts."""
    scale_chance: float = Field(default=0.5, ge=0, le=1)
    """How often a patch is downscaled at all."""


class ValidationConfig(StrictModel):
    """Fixed pictures and degradations, set aside from the training folder by name."""

    share: float = Field(default=0.05, gt=0, lt=1)
    """Share of the photographs."""
    patch_px: int = Field(default=128, ge=8, multiple_of=8)
    """Side of the centre crops."""
    most: int = Field(default=16, ge=1)
    """Use at most so many photographs, each once per task."""


class Recipe(StrictModel):
    """Everything that decides what a training run computes."""

    model: str | ModelConfig
    """A preset's name or the network's shape in full."""
    steps: int = Field(ge=1)
    """Optimiser steps in all."""
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    """Patch and batch sizes in order."""
    tasks: dict[str, float] = Field(min_length=1)
    """Degradations with their weights, as ``noise: 3`` or ``"noise:sigma=25": 1``."""
    optimizer: OptimizerConfig
    """How the weights are updated."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    augment: AugmentConfig = AugmentConfig()
    """How clean patches are cut."""
    validation: ValidationConfig = ValidationConfig()
    """What the best weights are chosen by."""
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
        if min(self.tasks.values()) < 0 or not 0 < sum(self.tasks.values()) < math.inf:
            msg = f"task weights must be finite, not negative and not all zero, got {self.tasks}"
            raise ValueError(msg)
        if self.optimizer.final_lr > self.optimizer.lr:
            msg = f"optimizer.final_lr {self.optimizer.final_lr:g} is above optimizer.lr {self.optimizer.lr:g}"
            raise ValueError(msg)
        return self


def load_recipe(path: Path) -> Recipe:
    """Read a training recipe from YAML.

    Raises:
        ConfigError: If the file is missing, is not YAML, or has an unknown key or an impossible value.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"the recipe {path} cannot be read ({error.strerror}); give a YAML file like recipes/tiny.yaml"
        raise ConfigError(msg) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that does not exist
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        msg = f"the recipe {path} is not valid YAML{line}; compare it with recipes/tiny.yaml"
        raise ConfigError(msg) from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        msg = f"the recipe {path} is wrong: {describe_validation_error(error, Recipe)}"
        raise ConfigError(msg) from error


def describe_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one line what is wrong, and which valid key comes closest to a misspelt one."""
    problems = error.errors(include_url=False)
    # Of a union each member complains: that a mapping is no string helps nobody.
    telling = [p for p in problems if not (p["type"] == "string_type" and isinstance(p["input"], dict))] or problems
    # A misspelt key is also a missing one: name the word that stands there.
    first = next((p for p in telling if p["type"] == "extra_forbidden"), telling[0])
    key, siblings = _place(model, first["loc"])
    more = f" (and {len(telling) - 1} more)" if len(telling) > 1 else ""
    if first["type"] == "extra_forbidden":
        guess = get_close_matches(str(first["loc"][-1]), siblings, n=1)
        hint = f"did you mean '{guess[0]}'?" if guess else f"valid keys here: {', '.join(siblings)}"
        return f"unknown key '{key}'; {hint}{more}"
    if first["type"] == "missing":
        return f"key '{key}' is missing{more}"
    shown = " ".join(repr(first["input"]).split())
    given = f", got {shown if len(shown) <= 80 else shown[:77] + '...'}" if not isinstance(first["input"], dict) else ""
    return f"key '{key}': {first['msg'].removeprefix('Value error, ')}{given}{more}"


def _place(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Where an error lies: the key as it is written in the file, and the names that may stand beside it."""
    annotation: Any = model
    written: list[str] = []
    siblings: list[str] = []
    for part in location:
        models = _models_in(annotation)
        chosen = next((m for m in models if not isinstance(part, int) and m.__name__ in part), None)
        if chosen is not None:  # the label of a union's member, which no file holds
            annotation = chosen
            continue
        written.append(str(part))
        if isinstance(part, str):
            siblings = [name for m in models for name in m.model_fields]
            fields = [m.model_fields[part] for m in models if part in m.model_fields]
            annotation = fields[0].annotation if fields else None
    return ".".join(written) or "(top level)", siblings


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a type holds, itself or inside unions, tuples and lists."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
