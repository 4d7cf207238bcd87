"""The written rule by which weights are chosen: means over held-out pictures, never a test set.

Weights replace the best so far if the mean over all tasks rises and no task falls by more than `ALLOWED_LOSS_DB`. Tasks
are degradations of whole held-out photographs, as they are and as darker scenes, and pairs of real photographs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from moceir import image_io
from moceir.data.synthesis import dimmed, random_light, sample_generator, to_pixels
from moceir.degradations import CDD11, parse
from moceir.errors import DataError
from moceir.recipe import AugmentConfig

ALLOWED_LOSS_DB = 0.15
"""The most that a single task may lose against the best weights so far."""

HIGHEST_DB = 45.0
"""Scores above this count as this: clean pictures are to stay above it, and nobody sees more."""

SINGLE = ("noise:sigma=25", "poisson_gaussian", "rain", "haze", "low_light", "snow", "jpeg", "blur", "clean")
DARK = ("noise:sigma=25", "rain", "jpeg", "clean")
"""What darker scenes are given: low light and what lies on it would leave nothing of them."""
COMPOSITES = tuple(name for name, text in CDD11.items() if len(parse(text).names) > 1)


_DUSK = AugmentConfig(darkest=0.1, dark_chance=1)
"""Makes every picture a darker scene."""


def darken(path: Path, target: Path, seed: int) -> Path:
    """Write a picture as a darker scene, and return its path.

    Args:
        path: The picture.
        target: The file to write.
        seed: Seed of the light, which also depends on the name of the picture.
    """
    rgb = image_io.to_network(image_io.read(path))
    patch = torch.from_numpy(rgb.astype(np.float32) / np.iinfo(rgb.dtype).max).permute(2, 0, 1)
    light = random_light(_DUSK, sample_generator("dusk", seed, path.name))
    image_io.write(target, image_io.Picture(to_pixels(dimmed(patch, light).clamp(0, 1))))
    return target


class Verdict(NamedTuple):
    """What the rule says about a candidate.

    Attributes:
        accepted: Whether it replaces the best weights.
        mean_gain_db: Mean over tasks of what it gains.
        worst_task: The task that gains least.
        worst_gain_db: What that one gains.
    """

    accepted: bool
    mean_gain_db: float
    worst_task: str
    worst_gain_db: float

    def __str__(self) -> str:
        """Say it in one line."""
        word = "accepted" if self.accepted else "refused"
        return (
            f"{word}: {self.mean_gain_db:+.3f} dB in the mean (must rise); {self.worst_task} gains least with "
            f"{self.worst_gain_db:+.3f} dB (must not fall by more than {ALLOWED_LOSS_DB})"
        )


def judge_scores(candidate: Mapping[str, float], best: Mapping[str, float]) -> Verdict:
    """Apply the rule.

    Args:
        candidate: PSNR in dB by task; infinite for perfect restoration.
        best: That of the best weights so far, on the same pictures.

    Raises:
        DataError: If there are no tasks, or the two have different ones.
    """
    if not best or candidate.keys() != best.keys():
        raise DataError("the two models were scored on different tasks; score both on the same ones")
    gains = {task: min(candidate[task], HIGHEST_DB) - min(best[task], HIGHEST_DB) for task in best}
    mean = sum(gains.values()) / len(gains)
    worst = min(gains, key=lambda task: gains[task])
    return Verdict(mean > 0 and gains[worst] >= -ALLOWED_LOSS_DB, mean, worst, gains[worst])
