"""Training and validation samples from several sources: real pairs, and photographs degraded on the fly.

Each sample depends only on the seed and its number, so neither the number of loader processes nor an interruption
changes what the network sees.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from moceir.data.layouts import find_data_set, find_pairs
from moceir.data.pairs import pair_folders
from moceir.data.photographs import Photographs, picture_files, split_by_name
from moceir.data.synthesis import (
    FULL_LIGHT,
    Augment,
    Crop,
    Light,
    Sample,
    centre_crop,
    cut,
    dimmed,
    random_crop,
    random_light,
    sample_generator,
    to_8_bit,
)
from moceir.degradations import Degradation, Spec, degrade, parse
from moceir.errors import ConfigError, DataError

FilePair = tuple[Path | None, Path]
"""Degraded and clean file; the first is None if the degraded picture is made from the clean one."""


@dataclass(frozen=True)
class Source:
    """Pictures of one task.

    Args:
        label: Name in logs and scores.
        files: Pairs of degraded and clean files.
        degrade: Degradation of the clean pictures; None if the files are real pairs.
        share: Weight relative to the other sources, or number of times each file is used in an epoch.

    Raises:
        ConfigError: If the source has both real pairs and a degradation, or neither.
        DataError: If the source has no files.
    """

    label: str
    files: Sequence[FilePair]
    degrade: Spec | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if not self.files:
            raise DataError(f"the source '{self.label}' has no pictures; give at least one")
        alone = sum(degraded is None for degraded, _ in self.files)
        if self.degrade is None and alone:
            raise ConfigError(
                f"the source '{self.label}' has clean pictures alone; add a degradation, as noise:sigma=25"
            )
        if self.degrade is not None and alone < len(self.files):
            raise ConfigError(
                f"the source '{self.label}' is degraded already; leave out the degradation '{self.degrade}'"
            )

    @property
    def clean(self) -> list[Path]:
        """Clean files in order, without duplicates."""
        return list(dict.fromkeys(clean for _, clean in self.files))

    @property
    def paths(self) -> list[Path]:
        """All files, without duplicates."""
        return list(dict.fromkeys(path for pair in self.files for path in pair if path is not None))


def photographs_source(location: Path, degradation: str, share: float = 1.0, label: str | None = None) -> Source:
    """Make a source from a folder (searched recursively) or pack of photographs; ``label`` defaults to the degradation.

    Raises:
        ConfigError: If the degradation text is invalid.
        DataError: If there are no pictures.
    """
    return Source(label or degradation, [(None, path) for path in picture_files(location)], parse(degradation), share)


def pairs_source(degraded: Path, clean: Path, share: float = 1.0, label: str | None = None) -> Source:
    """Make a source from two folders or packs matched by name; ``label`` defaults to the name of the degraded one.

    Raises:
        DataError: If a folder is missing, or a picture has no partner; the message names it.
    """
    return Source(label or degraded.stem, [*pair_folders(degraded, clean)], share=share)


def set_source(name: str, root: Path, degradation: str | None = None, share: float = 1.0) -> Source:
    """Make a source from a published set; a set with only clean pictures needs a degradation.

    Raises:
        ConfigError: If the set is unknown, or the degradation is missing, invalid or not allowed.
        DataError: If the set is not below the root or is incomplete.
    """
    dataset = find_data_set(name)
    text = degradation or dataset.degrade
    label = f"{name}:{degradation}" if degradation else name
    return Source(label, find_pairs(dataset, root), parse(text) if text else None, share)


def split_sources(sources: Sequence[Source], share: float) -> tuple[list[Source], list[Source]]:
    """Set part of each source aside for validation, by the names of its clean pictures.

    Args:
        sources: All sources.
        share: Fraction of each source's clean pictures; 0 sets nothing aside.

    Returns:
        Training and validation sources in the same order. No clean picture is in both, even if several sources share
        it. With a share of 0 there are no validation sources.

    Raises:
        DataError: If a source has too few pictures.
    """
    if not share:
        return list(sources), []
    held_out = {path for source in sources for path in split_by_name(source.clean, share)[1]}
    training, validation = (
        [replace(s, files=[pair for pair in s.files if (pair[1] in held_out) == wanted]) for s in sources]
        for wanted in (False, True)
    )
    return training, validation


def epoch_length(sources: Sequence[Source]) -> int:
    """Count the samples in a pass through all files, each repeated according to the share of its source.

    Raises:
        ConfigError: If a share is not a positive whole number.
    """
    for source in sources:
        if source.share < 1 or source.share != int(source.share):
            raise ConfigError(f"the source '{source.label}' is to be repeated {source.share:g} times; give 1, 2, 3 ...")
    return sum(int(source.share) * len(source.files) for source in sources)


class Plan(NamedTuple):
    """Everything that determines a training pair except its random fields.

    Attributes:
        task: Index of the source.
        files: Degraded and clean file.
        crop: Square to cut out of both.
        light: How to dim the clean patch.
        record: Degradation to apply; None for a real pair.
    """

    task: int
    files: FilePair
    crop: Crop
    light: Light
    record: Degradation | None


class MixedPairs(Dataset[Sample]):
    """Numbered training samples: random patches of the pictures of several sources.

    Both pictures of a real pair are cut, mirrored and turned alike. They are never scaled, because scaling would
    strengthen or weaken the degradation.

    Args:
        sources: Sources of the pictures.
        photographs: Reads and caches the pictures.
        augment: How patches of photographs may be downscaled and dimmed before they are degraded.
        by: ``weight`` draws a source and one of its files for each sample; ``repeat`` goes through all files, each
            repeated according to the share of its source, in a new order in each epoch.
        patch_px: Side of the patches in pixels.
        first: Number of the first sample.
        count: Number of samples.
        seed: Seed of the training run.

    Raises:
        ConfigError: If the shares are invalid for ``by``, or two sources have the same label.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        photographs: Photographs,
        augment: Augment,
        *,
        by: Literal["weight", "repeat"],
        patch_px: int,
        first: int,
        count: int,
        seed: int,
    ) -> None:
        labels = [source.label for source in sources]
        shares = [source.share for source in sources]
        if len(set(labels)) < len(labels):
            raise ConfigError(f"two sources have the same label among {', '.join(labels)}; merge them")
        if by == "weight" and not (min(shares, default=0) >= 0 and 0 < sum(shares) < math.inf):
            raise ConfigError(f"weights of sources must be finite, not negative and not all zero, got {shares}")
        self.sources = list(sources)
        self.photographs = photographs
        self.augment = augment
        self.patch_px = patch_px
        self.first = first
        self.count = count
        self.seed = seed
        self._weights = torch.tensor(shares, dtype=torch.float64)
        self._epoch_length = epoch_length(sources) if by == "repeat" else None
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Make one pair.

        Raises:
            DataError: If the two pictures of a pair differ in size; the message names both.
            ImageError: If a file cannot be read.
            IndexError: If the index is out of range, so that a loop over the samples ends.
        """
        plan, generator = self._plan(index)
        degraded, clean = read_pair(self.photographs, plan.files)
        clean = to_8_bit(dimmed(cut(clean, plan.crop, self.patch_px), plan.light))
        if plan.record is None:
            patch = cut(degraded, plan.crop, self.patch_px) if degraded is not None else clean
        else:
            patch = degrade(clean[None], plan.record, generator)[0]
        return Sample(to_8_bit(patch), clean, torch.tensor(plan.task))

    def plan(self, index: int) -> Plan:
        """Draw everything about one pair except its random fields."""
        return self._plan(index)[0]

    def _plan(self, index: int) -> tuple[Plan, torch.Generator]:
        """Draw a plan; also return the generator in its state after the draw, for the random fields."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        number = self.first + index
        generator = sample_generator(self.seed, "train", number)
        if self._epoch_length is None:
            task = int(torch.multinomial(self._weights, 1, generator=generator))
            file = int(torch.randint(len(self.sources[task].files), (), generator=generator))
        else:
            task, file = self.source_at(*divmod(number, self._epoch_length))
        source = self.sources[task]
        files = source.files[file]
        height, width = self.photographs[files[1]].shape[-2:]
        augment = None if source.degrade is None else self.augment
        crop = random_crop(height, width, self.patch_px, augment, generator)
        lit = source.degrade is None or "low_light" in source.degrade.names  # restored to full light
        light = FULL_LIGHT if lit else random_light(self.augment, generator)
        record = None if source.degrade is None else source.degrade.draw(generator)
        return Plan(task, files, crop, light, record), generator

    def source_at(self, epoch: int, place: int) -> tuple[int, int]:
        """Return the source and file at a position in an epoch's order."""
        if self._order is None or self._order[0] != epoch:
            order = torch.randperm(self._epoch_length or 0, generator=sample_generator(self.seed, "order", epoch))
            self._order = epoch, order
        ticket = int(self._order[1][place])
        ends = list(accumulate(int(source.share) * len(source.files) for source in self.sources))
        task = bisect_right(ends, ticket)
        return task, (ends[task] - 1 - ticket) % len(self.sources[task].files)


class ValidationPairs(Dataset[Sample]):
    """Centre crops of some pictures of each source, degraded the same way every time.

    Args:
        sources: Sources of the pictures.
        photographs: Reads and caches the pictures.
        patch_px: Side of the centre crops in pixels.
        most: Largest number of pictures per source, spread evenly over its files.
        seed: Seed of the degradations.
    """

    def __init__(
        self, sources: Sequence[Source], photographs: Photographs, *, patch_px: int, most: int, seed: int
    ) -> None:
        self.sources = list(sources)
        self.photographs = photographs
        self.patch_px = patch_px
        self.seed = seed
        self._items: list[tuple[int, int]] = []
        for task, source in enumerate(self.sources):
            taken = min(most, len(source.files))
            self._items += [(task, place * len(source.files) // taken) for place in range(taken)]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        """Make one pair.

        Raises:
            DataError: If the two pictures of a pair differ in size; the message names both.
            ImageError: If a file cannot be read.
        """
        task, file = self._items[index]
        source = self.sources[task]
        degraded, clean = read_pair(self.photographs, source.files[file])
        crop = centre_crop(clean.shape[-2], clean.shape[-1], self.patch_px)
        generator = sample_generator(self.seed, "validation", source.label, source.files[file][1].name)
        clean = to_8_bit(cut(clean, crop, self.patch_px))
        if degraded is not None:
            patch = cut(degraded, crop, self.patch_px)
        else:
            patch = degrade(clean[None], source.degrade or "clean", generator)[0]
        return Sample(to_8_bit(patch), clean, torch.tensor(task))


def read_pair(photographs: Photographs, files: FilePair) -> tuple[Tensor | None, Tensor]:
    """Read the degraded picture, if there is one, and the clean one, both ``(3, H, W)`` uint8.

    Raises:
        DataError: If they differ in size; the message names both.
    """
    clean = photographs[files[1]]
    degraded = None if files[0] is None else photographs[files[0]]
    if degraded is not None and degraded.shape != clean.shape:
        sizes = " and ".join(f"{p.shape[-1]}x{p.shape[-2]}" for p in (degraded, clean))
        raise DataError(f"{files[0]} and {files[1]} differ in size ({sizes}); mend the pair")
    return degraded, clean
