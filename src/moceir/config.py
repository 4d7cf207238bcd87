"""Frozen, strictly validated settings: their base class, the network's configuration, and readable error messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moceir.errors import ConfigError, did_you_mean

Value = TypeVar("Value")


class StrictModel(BaseModel):
    """Base class of all settings: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelConfig(StrictModel):
    """Configuration of a MoCE-IR network; it is saved with the weights and fully determines how they are used."""

    dim: int = Field(ge=8, le=512)
    """Channels at full resolution; each of the three levels below has twice the channels of the one above."""
    encoder_blocks: tuple[int, int, int] = (4, 6, 6)
    """Transformer blocks per encoder level, from full resolution down."""
    latent_blocks: int = Field(default=8, ge=0)
    """Transformer blocks at an eighth of the resolution."""
    decoder_blocks: tuple[int, int, int] = (4, 4, 2)
    """Routed blocks per decoder stage, from deep to full resolution (the order of execution)."""
    refinement_blocks: int = Field(default=4, ge=0)
    """Transformer blocks after the decoder, at full resolution."""
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    """Attention heads per level, from full resolution down."""
    experts: int = Field(default=4, ge=2, le=6)
    """Complexity experts per routed block; the last has full rank, and each earlier one half the rank of the next."""
    top_k: int = Field(default=1, ge=1)
    """Number of experts that process an image in each routed block."""
    complexity_bias: bool = True
    """Whether the balance loss weights experts by their size, so that the router prefers cheap ones."""
    join: Literal["published", "added", "values"] = "published"
    """Path of the experts' features to the output of a routed block: ``published`` uses them as queries of the
    cross-attention only; ``added`` also adds them through a projection that starts at zero; ``values`` takes the
    values of the cross-attention from them as well."""
    gate: Literal["softmax", "straight_through", "residual"] = "softmax"
    """Factor that multiplies an expert's features: ``softmax`` is its share among all experts; ``straight_through`` is
    its share among the chosen ones (1 for a single expert) with the gradient of the softmax; ``residual`` is the same
    number, but its gradient comes only from what the expert adds to its input."""

    scale: Literal[1, 2, 3, 4] = 1
    """Factor by which the network enlarges both sides of the picture; 1 restores at the same size, as published."""

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

    size_multiple: ClassVar[int] = 8
    """Required multiple of the picture's sides in pixels (three halvings); other sizes are padded by reflection."""

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Round a height and width in pixels up to the size that the network processes."""
        rows, columns = (-(-side // self.size_multiple) * self.size_multiple for side in (height, width))
        return rows, columns

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width in pixels of what becomes of a picture."""
        return height * self.scale, width * self.scale

    def channels(self, level: int) -> int:
        """Return the number of channels at a level (0 is full resolution)."""
        return self.dim * 2**level

    @property
    def encoder_stages(self) -> tuple[tuple[int, int], ...]:
        """Level and number of blocks of each encoder stage, in order of execution."""
        return tuple(enumerate(self.encoder_blocks))

    @property
    def decoder_stages(self) -> tuple[tuple[int, int], ...]:
        """Level and number of routed blocks of each decoder stage, in order of execution (deep first)."""
        return tuple(zip((2, 1, 0), self.decoder_blocks, strict=True))

    @property
    def routed_levels(self) -> tuple[int, ...]:
        """Level of each routed block, in order of execution (deep first)."""
        return tuple(level for level, blocks in self.decoder_stages for _ in range(blocks))

    @property
    def routed_blocks(self) -> int:
        """Number of routed blocks, and so the length of a route."""
        return sum(self.decoder_blocks)

    @property
    def depths(self) -> tuple[int, ...]:
        """Number of blocks of each stage, in order of execution."""
        return (*self.encoder_blocks, self.latent_blocks, *self.decoder_blocks, self.refinement_blocks)

    def expert_ranks(self, level: int) -> tuple[int, ...]:
        """Return the inner width of each expert at a level, cheapest first."""
        return tuple(self.channels(level) // 2 ** (self.experts - 1 - e) for e in range(self.experts))

    def expert_windows(self) -> tuple[int, ...]:
        """Return the side in pixels of each expert's FFT window, cheapest first."""
        return tuple(2 ** (e + 2) for e in range(self.experts))


def look_up(name: str, table: Mapping[str, Value], kind: str) -> Value:
    """Look up a table entry by name.

    Args:
        name: Name given by the user.
        table: Entries by name.
        kind: Word for one entry in the error, for example ``preset``.

    Raises:
        ConfigError: If the name is unknown. The message lists the known names and suggests the closest one.
    """
    if name in table:
        return table[name]
    known = f"there is no {kind} '{name}'; the {kind}s are {', '.join(table)}"
    raise ConfigError("; ".join(filter(None, (known, did_you_mean(name, table)))))


def describe_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Describe a validation error in one line; for a misspelt key, suggest the closest valid one."""
    problems = error.errors(include_url=False)
    # Every member of a union reports an error; "a mapping is not a string" does not help the user.
    telling = [p for p in problems if not (p["type"] == "string_type" and isinstance(p["input"], dict))] or problems
    # A misspelt key also counts as missing: report the misspelling.
    first = next((p for p in telling if p["type"] == "extra_forbidden"), telling[0])
    key, siblings = _place(model, first["loc"])
    more = f" (and {len(telling) - 1} more)" if len(telling) > 1 else ""
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(str(first["loc"][-1]), siblings) or f"valid keys here: {', '.join(siblings)}"
        return f"unknown key '{key}'; {hint}{more}"
    if first["type"] == "missing":
        return f"key '{key}' is missing{more}"
    said = first["msg"].removeprefix("Value error, ")
    if not first["loc"] and first["type"] == "value_error":  # a contradiction between keys; the message names them
        return said + more
    shown = " ".join(repr(first["input"]).split())
    given = f", got {shown if len(shown) <= 80 else shown[:77] + '...'}" if not isinstance(first["input"], dict) else ""
    return f"key '{key}': {said}{given}{more}"


def _place(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[str, list[str]]:
    """Return the key of an error as written in the file, and the valid keys at that level."""
    annotation: Any = model
    written: list[str] = []
    siblings: list[str] = []
    for part in location:
        models = _models_in(annotation)
        chosen = next((m for m in models if not isinstance(part, int) and m.__name__ in part), None)
        if chosen is not None:  # the label of a union member, which is not in the file
            annotation = chosen
            continue
        written.append(str(part))
        if isinstance(part, str):
            siblings = [name for m in models for name in m.model_fields]
            fields = [m.model_fields[part] for m in models if part in m.model_fields]
            annotation = fields[0].annotation if fields else None
    return ".".join(written) or "(top level)", siblings


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in a type annotation, including those inside unions, tuples and lists."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
