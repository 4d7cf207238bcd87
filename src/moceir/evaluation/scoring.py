"""A restorer on a test set: PSNR and SSIM per picture and on average, by a stated protocol.

The published protocol crops pictures centrally to multiples of 16, degrades 8-bit values, and compares the clipped
result, not rounded to 8 bits, with the clean picture on full RGB; per picture, then averaged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from moceir import image_io
from moceir.data.layouts import find_benchmark, find_pairs
from moceir.data.metrics import psnr_db, ssim
from moceir.data.pairs import pair_folders
from moceir.data.synthesis import sample_generator, to_8_bit
from moceir.degradations import degrade, parse
from moceir.errors import ConfigError, DataError
from moceir.models.cost import Route
from moceir.restoration import Restorer
from moceir.restoration.reports import ExpertUsage

Protocol = Literal["published", "uncropped"]
Pixels = NDArray[np.float32]
CROP_MULTIPLE = 16


class Pair(NamedTuple):
    """A degraded picture and its clean version, both ``(H, W, 3)`` float32 in [0, 1]."""

    name: str
    degraded: Pixels
    clean: Pixels


@dataclass(frozen=True)
class TestSet:
    """Pictures to evaluate on, from one of three sources (see the functions below).

    Attributes:
        name: What the result is called.
        files: Degraded and clean files; the degraded one is None where ``degrade`` makes it.
        degrade: Degradation text, if the set has clean pictures alone.
    """

    __test__ = False  # not a pytest class, whatever its name looks like

    name: str
    files: list[tuple[Path | None, Path]]
    degrade: str | None = None

    def pairs(self, protocol: Protocol, seed: int, limit: int | None) -> Iterator[Pair]:
        """Read, crop and degrade one pair after the other; a picture's noise depends on seed and name alone."""
        for degraded_file, clean_file in self.files[:limit]:
            clean = _read(clean_file, protocol)
            if degraded_file is not None:
                degraded = _read(degraded_file, protocol)
                if degraded.shape != clean.shape:
                    sizes = " and ".join(f"{a.shape[1]}x{a.shape[0]}" for a in (degraded, clean))
                    raise DataError(f"{degraded_file} and {clean_file} differ in size ({sizes}); mend the pair")
            else:
                generator = sample_generator(seed, "evaluate", self.degrade or "", clean_file.stem)
                batch = torch.from_numpy(clean).permute(2, 0, 1)[None]
                made = to_8_bit(degrade(batch, parse(self.degrade or "clean"), generator))
                degraded = made[0].permute(1, 2, 0).numpy()
            yield Pair((degraded_file or clean_file).name, degraded, clean)


@dataclass(frozen=True)
class ImageScore:
    """Scores of one picture; PSNR is infinite for equal pictures, SSIM is NaN for pictures under 11 pixels.

    Attributes:
        image: Name of the degraded (or only) file.
        input_psnr_db: PSNR of the degraded picture.
        psnr_db: PSNR of the restored picture.
        input_ssim: SSIM of the degraded picture.
        ssim: SSIM of the restored picture.
        seconds: Time of the restoration alone.
        gmacs: Cost on the route taken, in 10^9 multiply-accumulates.
        experts: The route: experts taken in each decoder block, deep first.
        lpips: LPIPS of the restored picture, if it was asked for.
    """

    image: str
    input_psnr_db: float
    psnr_db: float
    input_ssim: float
    ssim: float
    seconds: float
    gmacs: float
    experts: Route
    lpips: float | None = None

    @property
    def gain_db(self) -> float:
        """How much nearer to the clean picture restoring brought it, in dB; minus infinity if it was clean already."""
        return self.psnr_db - self.input_psnr_db if math.isfinite(self.input_psnr_db) else -math.inf

    def to_row(self) -> dict[str, Any]:
        """The fields in order for JSON and CSV; what is not finite becomes None, what was not measured is left out."""
        fields = {name: _finite(value) for name, value in asdict(self).items()}
        if self.lpips is None:
            del fields["lpips"]
        return fields


MEASURES = ("input_psnr_db", "psnr_db", "input_ssim", "ssim", "lpips", "seconds", "gmacs")


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one model on one test set.

    Attributes:
        benchmark: Name of the test set.
        model: Name of the model.
        protocol: How pictures were cropped.
        seed: Seed of synthetic degradations.
        device: Where the network ran.
        expert_count: How many experts each decoder block has.
        available: How many pictures the set has.
        scores: One per picture that was measured.
    """

    benchmark: str
    model: str
    protocol: Protocol
    seed: int
    device: str
    expert_count: int
    available: int
    scores: list[ImageScore]

    def mean(self, measure: str) -> float:
        """Average of a measure (an attribute of `ImageScore`) over the pictures for which it is defined; else NaN."""
        values = (getattr(score, measure) for score in self.scores)
        known = [value for value in values if value is not None and math.isfinite(value)]
        return sum(known) / len(known) if known else math.nan

    def measures(self) -> list[str]:
        """Names of what was measured."""
        return [name for name in MEASURES if any(getattr(score, name) is not None for score in self.scores)]

    def expert_shares(self) -> list[list[float]]:
        """How large a share of the pictures went to each expert (columns), by decoder block (rows, deep first)."""
        routes = {self.benchmark: [score.experts for score in self.scores]}
        return ExpertUsage.of_routes(routes, self.expert_count).shares(self.benchmark)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able summary with one row per picture; what is not finite becomes null."""
        return {
            "benchmark": self.benchmark,
            "model": self.model,
            "protocol": self.protocol,
            "seed": self.seed,
            "images": len(self.scores),
            "available_images": self.available,
            **{measure: _finite(self.mean(measure)) for measure in self.measures()},
            "expert_shares": self.expert_shares(),
            "device": self.device,
            "torch": torch.__version__,
            "rows": [score.to_row() for score in self.scores],
        }


def benchmark_set(name: str, root: Path) -> TestSet:
    """A published benchmark.

    Raises:
        ConfigError: If the benchmark is unknown.
        DataError: If its folders are not below ``root`` or its pairs are incomplete.
    """
    benchmark = find_benchmark(name)
    return TestSet(name, find_pairs(benchmark, root), benchmark.degrade)


def paired_set(degraded: Path, clean: Path) -> TestSet:
    """Two folders, matched by name.

    Raises:
        DataError: If a picture has no partner.
    """
    return TestSet(f"pairs:{degraded.name}", [*pair_folders(degraded, clean)])


def synthetic_set(clean: Path, degradation: str, name: str | None = None) -> TestSet:
    """A folder of clean pictures and a degradation such as ``noise:sigma=25``.

    Raises:
        ConfigError: If the degradation cannot be read.
        ImageError: If the folder holds no picture.
    """
    parse(degradation)
    return TestSet(name or degradation, [(None, path) for path, _ in image_io.find([clean])], degradation)


def evaluate(
    restorer: Restorer,
    model_name: str,
    test_set: TestSet,
    *,
    protocol: Protocol = "published",
    seed: int = 0,
    limit: int | None = None,
    lpips: Callable[[Pixels, Pixels], float] | None = None,
    on_score: Callable[[ImageScore], None] | None = None,
) -> Evaluation:
    """Restore every picture of a test set and score it.

    Args:
        restorer: What to judge.
        model_name: What the result calls it.
        test_set: On what.
        protocol: ``published`` crops to multiples of 16, ``uncropped`` takes pictures whole.
        seed: Seed of synthetic degradations.
        limit: Take the first so many pictures only.
        lpips: Measure this distance too (see ``moceir.data.metrics.load_lpips``).
        on_score: Called after each picture, for progress.

    Raises:
        ConfigError: If the limit is not positive.
        DataError: If a pair differs in size.
        ImageError: If a picture cannot be read.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; give a number of pictures from 1")
    scores: list[ImageScore] = []
    for name, degraded, clean in test_set.pairs(protocol, seed, limit):
        began = time.perf_counter()
        restored, routing = restorer.restore(degraded, return_routing=True)
        seconds = time.perf_counter() - began
        score = ImageScore(
            image=name,
            input_psnr_db=_psnr(degraded, clean),
            psnr_db=_psnr(restored, clean),
            input_ssim=ssim(degraded, clean),
            ssim=ssim(restored, clean),
            seconds=seconds,
            gmacs=routing.gmacs,
            experts=routing.experts,
            lpips=lpips(restored, clean) if lpips else None,
        )
        scores.append(score)
        if on_score:
            on_score(score)
    return Evaluation(
        benchmark=test_set.name,
        model=model_name,
        protocol=protocol,
        seed=seed,
        device=str(restorer.device),
        expert_count=restorer.model.config.experts,
        available=len(test_set.files),
        scores=scores,
    )


def _read(path: Path, protocol: Protocol) -> Pixels:
    rgb = image_io.read(path).rgb
    pixels = rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    if protocol == "uncropped":
        return pixels
    height, width = (size - size % CROP_MULTIPLE for size in pixels.shape[:2])
    if not height or not width:
        raise DataError(f"{path} is smaller than {CROP_MULTIPLE} pixels; evaluate it with --protocol uncropped")
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _psnr(restored: Pixels, clean: Pixels) -> float:
    return float(
        psnr_db(torch.from_numpy(restored).permute(2, 0, 1)[None], torch.from_numpy(clean).permute(2, 0, 1)[None])
    )


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
