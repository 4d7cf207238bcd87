"""From what a person writes, `"low_light+rain:angle_deg=20,strength=0.6"`, to degraded pictures."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import pydantic
import torch
from torch import Tensor

from moceir.degradations.base import Degradation, check_depth, uniform
from moceir.degradations.composite import CDD11, SINGLE, Composite, Real, apply_each, flatten
from moceir.errors import ConfigError, did_you_mean

DEGRADATIONS: dict[str, type[Degradation]] = SINGLE | {"real": Real}
"""What `DegradationSpec` can draw, by name."""


class Range(NamedTuple):
    """Numbers to draw from, uniformly; whole ones, both ends included, if both ends are whole by type."""

    low: float
    high: float

    def __str__(self) -> str:
        """Return the text that `parse` reads as this range."""
        return f"{self.low}..{self.high}"

    def draw(self, generator: torch.Generator) -> float:
        """Draw one number."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return int(uniform(generator, self.low, self.high + 1))
        return uniform(generator, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class DegradationSpec:
    """A degradation by name, some of its parameters fixed and the others left to be drawn.

    Args:
        name: A key of `DEGRADATIONS`.
        fixed: Values, or a `Range` of them, by parameter name (or its short form); text is converted as the parameter
            needs, `"0.05..0.4"` to a range.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a value does not fit.
    """

    name: str
    fixed: Mapping[str, object] = dataclasses.field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        """Check everything now, so that a wrong spec fails where it is written and not in the middle of a run."""
        if self.name not in DEGRADATIONS:
            raise _unknown(self.name, DEGRADATIONS)
        # Through the class, so that what is stored has the parameter's own type and full name.
        names = _names(self.kind)
        checked: dict[str, object] = {}
        for key, value in self.fixed.items():
            if key not in names:
                valid = _suggest(key, self.kind.model_fields) if names else "it takes none, so leave it out"
                raise ConfigError(f"unknown parameter {key!r} of degradation {self.name!r}; {valid}")
            if names[key] in checked:
                raise ConfigError(f"parameter {names[key]!r} of degradation {self.name!r} is given twice; give it once")
            checked[names[key]] = self._checked(names[key], value)
        object.__setattr__(self, "fixed", MappingProxyType(checked))

    def __str__(self) -> str:
        """Return the text that `parse` reads as this spec."""
        values = ",".join(f"{key}={value}" for key, value in self.fixed.items())
        return f"{self.name}:{values}" if values else self.name

    def __hash__(self) -> int:
        """Hash by name and fixed values."""
        return hash((self.name, tuple(sorted(self.fixed.items(), key=lambda item: item[0]))))

    def __reduce__(self) -> tuple[type["DegradationSpec"], tuple[str, dict[str, object]]]:
        """Pickle as name and values: worker processes get specs too, and a mapping proxy cannot be pickled."""
        return DegradationSpec, (self.name, dict(self.fixed))

    @property
    def kind(self) -> type[Degradation]:
        """The class of the parameters."""
        return DEGRADATIONS[self.name]

    @property
    def names(self) -> tuple[str, ...]:
        """The name alone, as a `CompositeSpec` has those of its steps."""
        return (self.name,)

    def draw(self, generator: torch.Generator) -> Degradation:
        """Draw the parameters of one sample; the fixed values stand, and ranges are drawn from."""
        drawn = self.kind.draw(generator)
        values = {k: v.draw(generator) if isinstance(v, Range) else v for k, v in self.fixed.items()}
        return drawn.override(values)

    def _checked(self, key: str, value: object) -> object:
        if isinstance(value, Range) or (isinstance(value, str) and ".." in value):
            low, high = (
                self._checked(key, end) for end in (value if isinstance(value, Range) else value.split("..", 1))
            )
            if (
                not (isinstance(low, int | float) and isinstance(high, int | float))
                or isinstance(low, bool)
                or low >= high
            ):
                raise ConfigError(
                    f"bad range '{value}' for parameter {key!r} of degradation {self.name!r}; give two numbers, "
                    "the smaller one first"
                )
            return Range(low, high)
        try:
            return getattr(self.kind.model_validate({key: value}), key)
        except pydantic.ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ConfigError(
                f"bad value {value!r} for parameter {key!r} of degradation {self.name!r}: {reason}; give another value"
            ) from None


@dataclasses.dataclass(frozen=True)
class CompositeSpec:
    """Degradations of one picture, one after the other.

    Args:
        steps: The specs, first to last.
    """

    steps: tuple[DegradationSpec, ...]

    def __str__(self) -> str:
        """Return the text that `parse` reads as this spec."""
        return "+".join(map(str, self.steps))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the steps, first to last."""
        return tuple(step.name for step in self.steps)

    def draw(self, generator: torch.Generator) -> Composite:
        """Draw the parameters of one sample, those of all steps in order."""
        return Composite(steps=flatten([step.draw(generator) for step in self.steps]))


Spec = DegradationSpec | CompositeSpec
"""What `parse` returns: it can be drawn from, and its `str` is its text."""


def parse(text: str) -> Spec:
    """Read a degradation, or several with plus signs between, from text.

    Args:
        text: Each one is a name of `DEGRADATIONS`, or a name, a colon and `parameter=value` pairs with commas between:
            `"noise:sigma=25"`, `"low_light+haze+rain:strength=0.6"` (applied from left to right). A value can be a
            range to draw from: `"low_light:exposure=0.05..0.4"`. The names of `CDD11`, for example `"low_haze_rain"`,
            stand for what that table holds.

    Returns:
        The spec. Its `str` is a text with the same meaning.

    Raises:
        ConfigError: If the text is malformed, or names or values do not fit.
    """
    steps: list[DegradationSpec] = []
    # A plus sign before a digit belongs to a number, as in 1e+1.
    for part in re.split(r"\+(?![\d.])", text):
        name, colon, rest = part.partition(":")
        meaning = CDD11.get(name.strip(), name.strip())
        if colon and "+" in meaning:
            raise ConfigError(f"{name.strip()!r} takes no parameters; write {meaning!r} and give them to one of these")
        steps += [_parse_single(single + colon + rest) for single in meaning.split("+")]
    return steps[0] if len(steps) == 1 else CompositeSpec(tuple(steps))


def _parse_single(text: str) -> DegradationSpec:
    name, colon, rest = text.partition(":")
    if name not in DEGRADATIONS:
        raise _unknown(name, DEGRADATIONS | CDD11)
    fixed: dict[str, object] = {}
    for pair in rest.split(",") if colon else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise ConfigError(f"cannot read {pair!r} in degradation {text!r}; write it as 'name:parameter=value,...'")
        if key in fixed:
            raise ConfigError(f"parameter {key!r} is given twice in degradation {text!r}; give it once")
        fixed[key] = value
    return DegradationSpec(name, fixed)


def degrade(
    images: Tensor,
    degradation: str | Spec | Degradation | Sequence[Spec | Degradation],
    generator: torch.Generator,
    depth: Tensor | None = None,
) -> Tensor:
    """Draw what is to be drawn and degrade a batch.

    Args:
        images: Clean pictures, `(B, 3, H, W)` float RGB in [0, 1].
        degradation: One for all pictures (drawn anew for each if it is text or a spec), or one per picture, of the same
            or of different kinds.
        generator: Source of all randomness, on the device of `images`.
        depth: Depth maps `(B, 1, H, W)` for haze, if they are known; see `Degradation.apply`.

    Returns:
        Degraded pictures `(B, 3, H, W)` in [0, 1].

    Raises:
        ConfigError: If a text cannot be read.
        ValueError: If there is not one degradation per picture, or `depth` does not fit.
    """
    if isinstance(degradation, str):
        degradation = parse(degradation)
    if isinstance(degradation, (DegradationSpec, CompositeSpec, Degradation)):
        degradation = [degradation] * images.shape[0]
    if len(degradation) != images.shape[0]:
        raise ValueError(f"{images.shape[0]} images need as many degradations, got {len(degradation)}")
    check_depth(images, depth)
    params = [item if isinstance(item, Degradation) else item.draw(generator) for item in degradation]
    return apply_each(images, params, generator, depth)


def _names(kind: type[Degradation]) -> dict[str, str]:
    """Map every accepted parameter name, short forms included, to the field's own."""
    names: dict[str, str] = {}
    if issubclass(kind, Composite):  # its steps are drawn whole
        return names
    for field_name, field in kind.model_fields.items():
        names[field_name] = field_name
        if isinstance(field.validation_alias, pydantic.AliasChoices):
            names |= {alias: field_name for alias in field.validation_alias.choices if isinstance(alias, str)}
    return names


def _unknown(name: str, valid: Iterable[str]) -> ConfigError:
    return ConfigError(f"unknown degradation {name!r}; {_suggest(name, valid)}")


def _suggest(given: str, valid: Iterable[str]) -> str:
    """Say which names are valid, the most similar one first."""
    options = list(valid)
    return f"{did_you_mean(given, options)} choose from {', '.join(options)}".lstrip()
