"""Training pairs made on the fly: a clean patch and a degraded version of it.

Every sample is a function of the seed and its number alone, so neither the number of loader processes nor an
interruption changes what the network sees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from moceir.data.photographs import Photographs
from moceir.degradations import Spec, degrade, parse
from moceir.recipe import AugmentConfig


class Sample(NamedTuple):
    """One pair, or a batch of them once collated.

    Attributes:
        degraded: ``(3, H, W)`` float32 in [0, 1], whole 8-bit levels.
        clean: The same shape and levels.
        task: Index of the task in the mixture.
    """

    degraded: Tensor
    clean: Tensor
    task: Tensor


def sample_generator(*keys: int | str) -> torch.Generator:
    """A CPU generator whose seed is a hash of the keys, so that neighbouring numbers share nothing."""
    digest = hashlib.blake2b("/".join(map(str, keys)).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def to_8_bit(images: Tensor) -> Tensor:
    """Round values in [0, 1] to the nearest of the 256 levels that a file can hold."""
    return (images * 255).round() / 255


class TaskMixture:
    """Degradations with weights.

    Args:
        weights: Weight by degradation text, as ``{"noise": 3, "rain": 1}``.

    Raises:
        ConfigError: If a text cannot be read.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.names = list(weights)
        self.specs: list[Spec] = [parse(text) for text in weights]
        self._weights = torch.tensor(list(weights.values()), dtype=torch.float64)

    def __len__(self) -> int:
        """Number of tasks."""
        return len(self.specs)

    def draw(self, generator: torch.Generator) -> int:
        """Draw the index of a task."""
        return int(torch.multinomial(self._weights, 1, generator=generator))


class TrainingPairs(Dataset[Sample]):
    """A run of numbered samples: random patches, random tasks.

    Args:
        photographs: Clean pictures.
        mixture: Tasks to draw from.
        augment: How patches are cut.
        patch_px: Side of the patches.
        first: Number of the first sample.
        count: How many samples.
        seed: Seed of the training run.
    """

    def __init__(
        self,
        photographs: Photographs,
        mixture: TaskMixture,
        augment: AugmentConfig,
        *,
        patch_px: int,
        first: int,
        count: int,
        seed: int,
    ) -> None:
        self.photographs = photographs
        self.mixture = mixture
        self.augment = augment
        self.patch_px = patch_px
        self.first = first
        self.count = count
        self.seed = seed

    def __len__(self) -> int:
        """Number of samples."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Make one pair."""
        generator = sample_generator(self.seed, "train", self.first + index)
        photo = self.photographs[int(torch.randint(len(self.photographs), (), generator=generator))]
        clean = to_8_bit(random_patch(photo, self.patch_px, self.augment, generator))
        task = self.mixture.draw(generator)
        degraded = degrade(clean[None], self.mixture.specs[task], generator)[0]
        return Sample(to_8_bit(degraded), clean, torch.tensor(task))


class ValidationPairs(Dataset[Sample]):
    """Each photograph's centre once per task, degraded the same way every time."""

    def __init__(self, photographs: Photographs, mixture: TaskMixture, *, patch_px: int, most: int, seed: int) -> None:
        self.photographs = photographs
        self.mixture = mixture
        self.patch_px = patch_px
        self.pictures = min(most, len(photographs))
        self.seed = seed

    def __len__(self) -> int:
        """Number of pairs."""
        return self.pictures * len(self.mixture)

    def __getitem__(self, index: int) -> Sample:
        """Make one pair."""
        task, picture = divmod(index, self.pictures)
        photo = self.photographs[picture].float() / 255
        side = min(self.patch_px, *photo.shape[-2:])
        top, left = ((size - side) // 2 for size in photo.shape[-2:])
        clean = to_8_bit(resize(photo[:, top : top + side, left : left + side], self.patch_px))
        generator = sample_generator(self.seed, "validation", self.mixture.names[task], picture)
        degraded = degrade(clean[None], self.mixture.specs[task], generator)[0]
        return Sample(to_8_bit(degraded), clean, torch.tensor(task))


def random_patch(photo: Tensor, patch_px: int, augment: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Cut a square from a ``(3, H, W)`` uint8 photograph, perhaps downscale it, flip and turn it.

    Returns:
        ``(3, patch_px, patch_px)`` float32 in [0, 1]. A photograph smaller than the patch is enlarged.
    """
    draws = torch.rand(3, generator=generator)
    scale = 1.0
    if draws[0] < augment.scale_chance:
        scale = augment.smallest_scale + (1 - augment.smallest_scale) * float(draws[1])
    side = min(round(patch_px / scale), *photo.shape[-2:])
    top = int(torch.randint(photo.shape[-2] - side + 1, (), generator=generator))
    left = int(torch.randint(photo.shape[-1] - side + 1, (), generator=generator))
    patch = resize(photo[:, top : top + side, left : left + side].float() / 255, patch_px)
    turn = int(draws[2] * 8)
    patch = patch.flip(-1) if turn % 2 else patch
    return torch.rot90(patch, turn // 2, (-2, -1)).contiguous()


def resize(patch: Tensor, side: int) -> Tensor:
    """Scale a square ``(3, s, s)`` patch to ``(3, side, side)``, antialiased."""
    if patch.shape[-1] == side:
        return patch
    return F.interpolate(patch[None], (side, side), mode="bilinear", antialias=True)[0].clamp(0, 1)
