"""Reproducible degraded test sets: a seed and the picture's name determine each degradation.

A folder of degraded pictures contains a file of descriptions with one line of JSON per picture: the degradations, their
parameters, and the seed of the random fields (for example noise samples and the positions of drops).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from moceir import image_io
from moceir.config import StrictModel, describe_validation_error
from moceir.data.synthesis import sample_generator
from moceir.degradations import Composite, Spec, Step, degrade, flatten
from moceir.errors import DataError
from moceir.files import whole_file

DESCRIPTIONS = "degradations.jsonl"
"""Name of the description file in a folder of degraded pictures."""


class Description(StrictModel):
    """Everything needed to recreate a degraded picture from the clean picture and its depth map."""

    file: str
    """Path of the degraded picture relative to the folder of the description file, with ``/`` as separator."""
    seed: int
    """Seed of all random draws, together with the name (``file`` without its suffix)."""
    degradation: str
    """Requested degradation, as text for ``moceir.degradations.parse``."""
    depth_map: bool = False
    """Whether the haze used a depth map supplied by the user."""
    steps: tuple[Step, ...]
    """Drawn parameters of each step, in order of application."""

    @property
    def name(self) -> str:
        """``file`` without its suffix."""
        return name_of(self.file)


def name_of(place: str | PurePosixPath) -> str:
    """Return the name that pictures, depth maps and descriptions are matched by: the relative path without suffix."""
    return image_io.matching_name(PurePosixPath(place))


def draw_description(spec: Spec, seed: int, file: str, *, depth_map: bool = False) -> Description:
    """Draw the parameters of one picture.

    Args:
        spec: Degradation to draw from.
        seed: Seed of the test set.
        file: Relative path of the degraded picture in the test set; the suffix does not affect the draw.
        depth_map: Whether a depth map will be supplied.
    """
    drawn = spec.draw(sample_generator(seed, "degrade", "parameters", name_of(file)))
    return Description(file=file, seed=seed, degradation=str(spec), depth_map=depth_map, steps=flatten([drawn]))


def degrade_picture(
    picture: image_io.Picture, description: Description, depth: Tensor | None = None
) -> image_io.Picture:
    """Degrade a picture as described; the result is deterministic.

    Args:
        picture: The clean picture.
        description: The degradation to apply.
        depth: Depth map ``(1, 1, H, W)`` if the description needs one, see ``read_depth``.

    Returns:
        The degraded picture, with the bit depth, alpha and metadata of the clean one. A grey picture stays grey: only
        the green channel is kept, because it has no colour cast, and averaging the channels would weaken the noise.
    """
    kind, top = picture.rgb.dtype, float(np.iinfo(picture.rgb.dtype).max)
    clean = torch.from_numpy(picture.rgb.astype(np.float32) / np.float32(top)).permute(2, 0, 1)[None]
    generator = sample_generator(description.seed, "degrade", "fields", description.name)
    made = degrade(clean, Composite(steps=description.steps), generator, depth)[0]
    if picture.grey:
        made = made[1:2].expand(3, -1, -1)
    levels = np.rint(made.permute(1, 2, 0).numpy() * top).astype(kind)
    return dataclasses.replace(picture, rgb=levels)


def read_depth(folder: Path, name: str, size: tuple[int, int]) -> Tensor:
    """Read the depth map of a picture: a grey picture (8 or 16 bits) that is brighter where the scene is farther away.

    Args:
        folder: Folder of depth maps.
        name: Name of the picture, see ``name_of``; the map may have any image suffix.
        size: Height and width of the picture.

    Returns:
        ``(1, 1, H, W)`` in [0, 1], scaled so that the farthest point has depth 1.

    Raises:
        DataError: If there is no map or more than one, or if it is in colour or has another size.
        ImageError: If the map cannot be read.
    """
    place = folder / name
    beside = image_io.sift(place.parent.iterdir(), place.parent).pictures if place.parent.is_dir() else []
    found = [p for p in beside if image_io.matching_name(p.name) == image_io.matching_name(f"{place.name}.png")]
    if len(found) != 1:
        have = " and ".join(p.name for p in found) or ("none" if place.parent.is_dir() else "no such folder")
        expected = f"expected one depth map named {place.name} in {place.parent}"
        raise DataError(f"{expected}, found {have}; mend that, or leave the depth maps out")
    rgb = image_io.read(found[0]).rgb
    if rgb.shape[:2] != size:
        raise DataError(
            f"the depth map {found[0]} has {rgb.shape[1]}x{rgb.shape[0]} pixels, its picture {size[1]}x{size[0]}; "
            "scale the map to the size of the picture"
        )
    if (rgb != rgb[..., :1]).any():
        raise DataError(f"the depth map {found[0]} is in colour; expected a grey picture, brighter where it is farther")
    plane = torch.from_numpy(rgb[..., 0].astype(np.float32))
    return (plane / plane.max().clamp(min=1))[None, None]


def read_descriptions(path: Path) -> dict[str, Description]:
    """Read a description file.

    Returns:
        Descriptions by picture name.

    Raises:
        DataError: If the file cannot be read, a line is not a description, or two descriptions have the same name.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is no text"
        raise DataError(f"{path} cannot be read ({reason}); give a {DESCRIPTIONS} that moceir degrade wrote") from error
    found: dict[str, Description] = {}
    for number, line in enumerate(lines, start=1):
        try:
            description = Description.model_validate_json(line)
        except ValidationError as error:
            reason = describe_validation_error(error, Description)
            raise DataError(f"line {number} of {path} is no description: {reason}; mend or remove it") from error
        if description.name in found:
            raise DataError(f"line {number} of {path} describes {description.name} again; remove one of the two")
        found[description.name] = description
    return found


def write_descriptions(path: Path, descriptions: Iterable[Description]) -> None:
    """Write a description file, sorted by picture name.

    Raises:
        OutputError: If the file cannot be written.
    """
    ordered = sorted(descriptions, key=lambda description: description.name)
    with whole_file(path) as part:
        part.write_text("".join(description.model_dump_json() + "\n" for description in ordered), encoding="utf-8")
