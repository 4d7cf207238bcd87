"""Degradation text, for example ``"low_light+rain:angle_deg=20,strength=0.6"``, and how to apply it."""

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
"""Degradations that ``DegradationSpec`` can draw, by name."""


class Range(NamedTuple):
    """Range to draw from uniformly; if both ends are ``int``, integers including both ends."""

    low: float
    high: float

    def __str__(self) -> str:
        """Return the text form that ``parse`` accepts for this range."""
        return f"{self.low}..{self.high}"

    def draw(self, generator: torch.Generator) -> float:
        """Draw one number."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return int(uniform(generator, self.low, self.high + 1))
        return uniform(generator, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class DegradationSpec:
    """A degradation by name, with some parameters fixed and the others to be drawn.

    Args:
        name: Key of ``DEGRADATIONS``.
        fixed: Values or ``Range`` objects by parameter name (or its short form). Text is converted to the type of the
            parameter, and for example ``"0.05..0.4"`` to a range.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a value is invalid.
    """

    name: str
    fixed: Mapping[str, object] = dataclasses.field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        """Validate everything up front, so that an invalid spec does not fail in the middle of a run."""
        if self.name not in DEGRADATIONS:
            raise _unknown(self.name, DEGRADATIONS)
        # Validate with the class, so that stored values have the parameter's type and full name.
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
        """Return the text that ``parse`` reads as this spec."""
        values = ",".join(f"{key}={value}" for key, value in self.fixed.items())
        return f"{self.name}:{values}" if values else self.name

    def __hash__(self) -> int:
        """Hash by name and fixed values."""
        return hash((self.name, tuple(sorted(self.fixed.items(), key=lambda item: item[0]))))

    def __reduce__(self) -> tuple[type["DegradationSpec"], tuple[str, dict[str, object]]]:
        """Pickle as name and values, because worker processes need specs and a mapping proxy cannot be pickled."""
        return DegradationSpec, (self.name, dict(self.fixed))

    @property
    def kind(self) -> type[Degradation]:
        """Class of the degradation."""
        return DEGRADATIONS[self.name]

    @property
    def names(self) -> tuple[str, ...]:
        """The name as a tuple, for the same interface as ``CompositeSpec``."""
        return (self.name,)

    def draw(self, generator: torch.Generator) -> Degradation:
        """Draw the parameters of one sample, with fixed values kept and ranges sampled."""
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
    """A sequence of degradations of one picture.

    Args:
        steps: Specs in order of application.
    """

    steps: tuple[DegradationSpec, ...]

    def __str__(self) -> str:
        """Return the text that ``parse`` reads as this spec."""
        return "+".join(map(str, self.steps))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the steps, in order."""
        return tuple(step.name for step in self.steps)

    def draw(self, generator: torch.Generator) -> Composite:
        """Draw the parameters of one sample for all steps in order."""
        return Composite(steps=flatten([step.draw(generator) for step in self.steps]))


Spec = DegradationSpec | CompositeSpec
"""Result of ``parse``: parameters can be drawn from it, and ``str`` gives its text."""


def parse(text: str) -> Spec:
    """Parse text that describes one degradation, or several joined by plus signs.

    Args:
        text: Each degradation is a name in ``DEGRADATIONS``, optionally followed by a colon and comma-separated
            ``parameter=value`` pairs: ``"noise:sigma=25"``, ``"low_light+haze+rain:strength=0.6"`` (applied from left
            to right). A value can be a range to draw from: ``"low_light:exposure=0.05..0.4"``. Names in ``CDD11``, for
            example ``"low_haze_rain"``, stand for their entry in that table.

    Returns:
        The spec. Its ``str`` is an equivalent text.

    Raises:
        ConfigError: If the text is malformed, or a name or value is invalid.
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
    """Draw parameters where needed and degrade a batch.

    Args:
        images: Clean pictures, ``(B, 3, H, W)`` float RGB in [0, 1].
        degradation: One degradation for all pictures (drawn anew for each picture if it is text or a spec), or one per
            picture, possibly of different kinds.
        generator: Source of all randomness, on the device of ``images``.
        depth: Depth maps ``(B, 1, H, W)`` for haze, if known; see ``Degradation.apply``.

    Returns:
        Degraded pictures ``(B, 3, H, W)`` in [0, 1].

    Raises:
        ConfigError: If the text cannot be parsed.
        ValueError: If the number of degradations differs from that of pictures, or ``depth`` has the wrong shape.
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
    """Map every accepted parameter name, including short forms, to its field name."""
    names: dict[str, str] = {}
    if issubclass(kind, Composite):  # its steps are drawn as a whole
        return names
    for field_name, field in kind.model_fields.items():
        names[field_name] = field_name
        if isinstance(field.validation_alias, pydantic.AliasChoices):
            names |= {alias: field_name for alias in field.validation_alias.choices if isinstance(alias, str)}
    return names


def _unknown(name: str, valid: Iterable[str]) -> ConfigError:
    return ConfigError(f"unknown degradation {name!r}; {_suggest(name, valid)}")


def _suggest(given: str, valid: Iterable[str]) -> str:
    """Format the valid names, after a suggestion of the most similar one."""
    options = list(valid)
    return f"{did_you_mean(given, options)} choose from {', '.join(options)}".lstrip()
