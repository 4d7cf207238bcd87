"""Sequences of degradations: their records, and the published mixtures by name."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Annotated, Any, Self, cast

import pydantic
import torch
from torch import Tensor

from moceir.degradations.base import Degradation, chance, choice, uniform
from moceir.degradations.blur import Blur
from moceir.degradations.clean import Clean
from moceir.degradations.haze import Haze
from moceir.degradations.jpeg import Jpeg
from moceir.degradations.low_light import LowLight
from moceir.degradations.noise import Noise, PoissonGaussian
from moceir.degradations.rain import Rain
from moceir.degradations.resize import Resize
from moceir.degradations.snow import Snow

SINGLE: dict[str, type[Degradation]] = {
    "noise": Noise,
    "poisson_gaussian": PoissonGaussian,
    "rain": Rain,
    "haze": Haze,
    "blur": Blur,
    "low_light": LowLight,
    "jpeg": Jpeg,
    "resize": Resize,
    "snow": Snow,
    "clean": Clean,
}
"""Single degradations by name, the building blocks of composites."""

# A degradation on top of a nearly black picture would leave nothing to restore.
_DUSK = "low_light:exposure=0.05..0.4"
# Haze as bright as in daylight would hide the darkness of the picture.
_DUSK_HAZE = "haze:airlight=0.5"

CDD11: dict[str, str] = {
    "low": "low_light",
    "haze": "haze",
    "rain": "rain",
    "snow": "snow",
    "low_haze": f"{_DUSK}+{_DUSK_HAZE}",
    "low_rain": f"{_DUSK}+rain",
    "low_snow": f"{_DUSK}+snow",
    "haze_rain": "haze+rain",
    "haze_snow": "haze+snow",
    "low_haze_rain": f"{_DUSK}+{_DUSK_HAZE}+rain",
    "low_haze_snow": f"{_DUSK}+{_DUSK_HAZE}+snow",
}
"""The eleven degradations of CDD-11 (Guo et al. 2024, OneRestore) by folder name, as text for ``parse``."""


def describe(record: Degradation) -> dict[str, Any]:
    """Convert a single degradation to JSON-serialisable data, with its name first."""
    name = next(name for name, kind in SINGLE.items() if kind is type(record))
    return {"name": name, **record.model_dump()}


def from_description(value: object) -> Degradation:
    """Convert the output of ``describe`` to a record; the record of a single degradation is returned unchanged.

    Raises:
        ValueError: If the value is a composite or not a description, the name is unknown, or a parameter is invalid.
    """
    if isinstance(value, Degradation):
        if type(value) not in SINGLE.values():
            raise ValueError(f"a step is a single degradation, not {type(value).__name__}; flatten the steps first")
        return value
    content = dict(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else {}
    name = content.pop("name", None)
    if not isinstance(name, str) or name not in SINGLE:
        raise ValueError(f"{name!r} names no degradation; expected 'name' to be one of {', '.join(SINGLE)}")
    return SINGLE[name].model_validate(content)


Step = Annotated[Degradation, pydantic.PlainValidator(from_description), pydantic.PlainSerializer(describe)]
"""A single degradation inside another record; in JSON its name and parameters are in one object."""


class Composite(Degradation):
    """A sequence of degradations, drawn by a ``CompositeSpec``."""

    steps: tuple[Step, ...]
    """Records in order of application."""

    @classmethod
    def _apply_at_depth(
        cls, images: Tensor, params: Sequence[Self], generator: torch.Generator, depth: Tensor | None
    ) -> Tensor:
        for records in zip_longest(*(p.steps for p in params), fillvalue=Clean()):
            images = apply_each(images, records, generator, depth)
        return images


class Real(Composite):
    """Realistic wear of a photograph: two rounds of blur, resizing, noise and JPEG in random order, then a final JPEG.

    Follows the second-order model of Real-ESRGAN (Wang et al. 2021) with the shuffled order of BSRGAN (Zhang et al.
    2021). It is milder than both: the picture keeps its size and enough detail to restore.
    """

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw all four kinds in the first round, about half of them (weaker) in the second, then mostly a JPEG."""
        steps: list[Degradation] = []
        for share, strength in ((1.0, 1.0), (0.5, 0.5)):
            order = torch.randperm(4, generator=generator, device=generator.device).tolist()
            drawn = _draw_wear(generator, strength)
            steps += [drawn[i] for i in order if chance(generator, share)]
        if chance(generator, 0.6):
            steps.append(Jpeg(quality=int(uniform(generator, 50, 96)), subsample=chance(generator, 0.75)))
        return cls(steps=tuple(steps))


def flatten(records: Sequence[Degradation]) -> tuple[Degradation, ...]:
    """List the single degradations in the records, in order."""
    return tuple(step for record in records for step in (record.steps if isinstance(record, Composite) else (record,)))


def apply_each(
    images: Tensor, params: Sequence[Degradation], generator: torch.Generator, depth: Tensor | None = None
) -> Tensor:
    """Apply one record to each picture; pictures with the same kind of degradation are processed together.

    Args:
        images: Pictures ``(B, 3, H, W)`` in [0, 1].
        params: B records.
        generator: Source of the random fields, on the device of ``images``.
        depth: Depth maps ``(B, 1, H, W)`` if known; see ``Degradation.apply``.

    Returns:
        Degraded pictures ``(B, 3, H, W)`` in [0, 1].
    """
    kinds = dict.fromkeys(type(p) for p in params)
    if len(kinds) == 1:
        return next(iter(kinds)).apply(images, params, generator, depth)
    degraded = images.clone()
    for kind in kinds:
        chosen = [i for i, p in enumerate(params) if type(p) is kind]
        known = None if depth is None else depth[chosen]
        degraded[chosen] = kind.apply(images[chosen], [params[i] for i in chosen], generator, known)
    return degraded


def _draw_wear(generator: torch.Generator, strength: float) -> tuple[Degradation, ...]:
    """Draw one degradation of each kind of wear; ``strength`` in (0, 1] scales the worst case."""
    sigma, shot = uniform(generator, 1, 12 * strength), uniform(generator, 0, 2 * strength)
    varied = chance(generator, 0.4)
    return (
        Blur(
            kind=choice(generator, ("shake", "motion", "defocus")),
            size_px=uniform(generator, 1, 1 + 6 * strength),
            angle_deg=uniform(generator, -90, 90),
            roll_deg=uniform(generator, -strength, strength) if varied else 0.0,
            zoom=1 + uniform(generator, -0.02, 0.02) * strength if varied else 1.0,
        ),
        Resize(
            scale=uniform(generator, 1, 1 + 1.5 * strength),
            up="nearest" if chance(generator, 0.1) else choice(generator, ("bilinear", "bicubic")),
            down=choice(generator, ("bicubic", "bilinear", "area")),
            sharpen=uniform(generator, 0, 1.2 * strength) if chance(generator, 0.4) else 0.0,
            quality=int(uniform(generator, 100 - 40 * strength, 96)) if chance(generator, 0.3) else 0,
        ),
        PoissonGaussian(sigma_255=sigma, shot=shot),
        Jpeg(quality=int(uniform(generator, 90 - 55 * strength, 96)), subsample=chance(generator, 0.75)),
    )
