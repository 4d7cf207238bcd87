"""Evaluation of a restorer on a test set: PSNR and SSIM per picture and on average, by a stated protocol.

The published protocol crops the centre of each picture to multiples of 16 and degrades 8-bit values. It compares the
clipped result, not rounded to 8 bits, with the clean picture in full RGB. Scores are averaged over the pictures.

Sets for super-resolution follow the protocol of that field instead: pictures are cropped to multiples of the scale
from the top left and reduced as by MATLAB's imresize; PSNR and SSIM on Y leave out a border as wide as the scale. What
counts as the input there is the bicubic enlargement, which is also what networks that do not enlarge are given.
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
from moceir.data.metrics import luma_scores, picture_psnr_db, ssim
from moceir.data.pairs import pair_folders
from moceir.data.synthesis import sample_generator, to_8_bit
from moceir.degradations import degrade, parse
from moceir.degradations.reduction import reduced, resample
from moceir.errors import ConfigError, DataError
from moceir.models.cost import Route
from moceir.restoration import Restorer
from moceir.restoration.reports import ExpertUsage

Protocol = Literal["published", "uncropped"]
FloatPixels = NDArray[np.float32]
CROP_MULTIPLE = 16
"""Sides of pictures are cropped to multiples of this by the published protocol, in pixels."""


class Pair(NamedTuple):
    """A degraded picture and its clean version, both ``(H, W, 3)`` float32 in [0, 1], with the name of the file.

    If the degraded picture was enlarged bicubically, ``small`` is what it was before.
    """

    name: str
    degraded: FloatPixels
    clean: FloatPixels
    small: FloatPixels | None = None

    def given(self, upscale: int) -> FloatPixels:
        """Return what a restorer is given: the small picture, if it enlarges."""
        return self.degraded if self.small is None or upscale == 1 else self.small


@dataclass(frozen=True)
class TestSet:
    """Pictures to evaluate on. See ``benchmark_set``, ``paired_set`` and ``synthetic_set``.

    Attributes:
        name: Name of the test set in the results.
        files: Degraded and clean files. The degraded file is None if ``degrade`` makes it.
        degrade: Degradation as text, if the set has only clean pictures.
        scale: Factor by which pictures are reduced before they are degraded.
    """

    __test__ = False  # its name looks like that of a pytest class

    name: str
    files: list[tuple[Path | None, Path]]
    degrade: str | None = None
    scale: int = 1

    def pairs(self, protocol: Protocol, seed: int, limit: int | None) -> Iterator[Pair]:
        """Read, crop and degrade one pair after the other.

        Args:
            protocol: Whether to crop.
            seed: Seed of synthetic degradations. Each one depends only on the seed, its text and the name of the file.
            limit: Largest number of pairs, from the start of the set; None for all.

        Yields:
            The pairs.

        Raises:
            DataError: If a pair differs in size, or a picture is too small to crop.
            ImageError: If a picture cannot be read.
        """
        for degraded_file, clean_file in self.files[:limit]:
            clean = _read(clean_file, protocol, self.scale)
            small = None
            if degraded_file is not None:
                degraded = _read(degraded_file, protocol, self.scale)
                if degraded.shape != clean.shape:
                    sizes = " and ".join(f"{a.shape[1]}x{a.shape[0]}" for a in (degraded, clean))
                    raise DataError(f"{degraded_file} and {clean_file} differ in size ({sizes}); fix the pair")
            else:
                generator = sample_generator(seed, "evaluate", self.degrade or "", clean_file.stem)
                batch = torch.from_numpy(clean).permute(2, 0, 1)[None]
                reduced_batch = to_8_bit(reduced(batch, self.scale))
                made = to_8_bit(degrade(reduced_batch, parse(self.degrade or "clean"), generator))
                if self.scale > 1:
                    small = made[0].permute(1, 2, 0).numpy()
                    made = to_8_bit(resample(made, self.scale).clamp(0, 1))
                degraded = made[0].permute(1, 2, 0).numpy()
            yield Pair((degraded_file or clean_file).name, degraded, clean, small)


@dataclass(frozen=True)
class ImageScore:
    """Scores of one picture. PSNR is infinite for equal pictures; SSIM is NaN for pictures below 11 pixels.

    Attributes:
        image: Name of the degraded file, or of the clean file if there is no other.
        input_psnr_db: PSNR of the degraded picture, in dB.
        psnr_db: PSNR of the restored picture, in dB.
        input_ssim: SSIM of the degraded picture.
        ssim: SSIM of the restored picture.
        seconds: Time of the restoration, without reading and scoring.
        gmacs: Cost on the route taken, in 10^9 multiply-accumulates.
        experts: Experts taken in each decoder block, deep first.
        lpips: LPIPS of the restored picture; None if not measured.
        input_y_psnr_db: PSNR of the enlarged input on Y, without a border; None outside of super-resolution.
        y_psnr_db: That of the restored picture.
        input_y_ssim: SSIM of the enlarged input on Y likewise.
        y_ssim: That of the restored picture.
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
    input_y_psnr_db: float | None = None
    y_psnr_db: float | None = None
    input_y_ssim: float | None = None
    y_ssim: float | None = None

    @property
    def gain_db(self) -> float:
        """Gain in PSNR by the restoration, in dB; minus infinity if the input already equals the clean picture."""
        return self.psnr_db - self.input_psnr_db if math.isfinite(self.input_psnr_db) else -math.inf

    def to_row(self) -> dict[str, Any]:
        """Return the fields for JSON and CSV. Infinite and NaN become None; what was not measured is left out."""
        return {name: _finite(value) for name, value in asdict(self).items() if value is not None}


ON_Y = ("input_y_psnr_db", "y_psnr_db", "input_y_ssim", "y_ssim")
MEASURES = ("input_psnr_db", "psnr_db", "input_ssim", "ssim", *ON_Y, "lpips", "seconds", "gmacs")
"""Attributes of ``ImageScore`` that are averaged."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one test set.

    Attributes:
        benchmark: Name of the test set.
        model: Name of the model.
        protocol: Protocol, which says how pictures were cropped.
        seed: Seed of synthetic degradations.
        device: Device that the network ran on.
        expert_count: Number of experts per decoder block.
        available: Number of pictures in the test set.
        scores: Scores of the pictures that were measured.
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
        """Average a measure over the pictures for which it is finite.

        Args:
            measure: Name of an attribute of ``ImageScore``.

        Returns:
            The mean; NaN if there are no such pictures.
        """
        values = (getattr(score, measure) for score in self.scores)
        known = [value for value in values if value is not None and math.isfinite(value)]
        return sum(known) / len(known) if known else math.nan

    def measures(self) -> list[str]:
        """List the measures that at least one picture has."""
        return [name for name in MEASURES if any(getattr(score, name) is not None for score in self.scores)]

    def expert_shares(self) -> list[list[float]]:
        """Compute the share of the pictures that used each expert (columns), by decoder block (rows, deep first)."""
        routes = {self.benchmark: [score.experts for score in self.scores]}
        return ExpertUsage.of_routes(routes, self.expert_count).shares(self.benchmark)

    def to_json(self) -> dict[str, Any]:
        """Return a summary with one row per picture for JSON. Values that are not finite become None."""
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
    """Find the pictures of a published benchmark.

    Args:
        name: Name of the benchmark, for example ``cbsd68-s25``.
        root: Folder that contains the data sets.

    Raises:
        ConfigError: If the benchmark is unknown.
        DataError: If its folders are not in ``root`` or its pairs are incomplete.
    """
    benchmark = find_benchmark(name)
    return TestSet(name, find_pairs(benchmark, root), benchmark.degrade, benchmark.scale)


def paired_set(degraded: Path, clean: Path) -> TestSet:
    """Pair the pictures of two folders by name.

    Args:
        degraded: Folder of degraded pictures.
        clean: Folder of clean pictures.

    Raises:
        DataError: If a picture has no partner.
    """
    return TestSet(f"pairs:{degraded.name}", [*pair_folders(degraded, clean)])


def synthetic_set(clean: Path, degradation: str, name: str | None = None) -> TestSet:
    """Combine a folder of clean pictures with a degradation.

    Args:
        clean: Folder of clean pictures.
        degradation: Degradation as text, for example ``noise:sigma=25``.
        name: Name of the test set; None for that of the degradation.

    Raises:
        ConfigError: If the degradation cannot be parsed.
        ImageError: If the folder contains no pictures.
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
    lpips: Callable[[FloatPixels, FloatPixels], float] | None = None,
    on_score: Callable[[ImageScore], None] | None = None,
) -> Evaluation:
    """Restore every picture of a test set and score it.

    Args:
        restorer: Restorer to evaluate.
        model_name: Name of the model in the results.
        test_set: Pictures to evaluate on.
        protocol: ``published`` crops to multiples of 16; ``uncropped`` uses whole pictures.
        seed: Seed of synthetic degradations.
        limit: Number of pictures to use, from the start of the set; None for all.
        lpips: Computes LPIPS (see ``moceir.data.metrics.load_lpips``); None to leave it out.
        on_score: Called after each picture, for progress.

    Raises:
        ConfigError: If the limit is not positive, or the network does not enlarge as much as the set asks.
        DataError: If a pair differs in size, or a picture is too small to crop.
        ImageError: If a picture cannot be read.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; give a number of pictures from 1")
    restorer = fitted(restorer, test_set.scale)
    scores: list[ImageScore] = []
    for pair in test_set.pairs(protocol, seed, limit):
        name, degraded, clean, small = pair
        given = pair.given(restorer.upscale)
        began = time.perf_counter()
        restored, routing = restorer.restore(given, return_routing=True)
        seconds = time.perf_counter() - began
        on_y = {} if small is None else _scores_on_y(degraded, restored, clean, test_set.scale)
        score = ImageScore(
            image=name,
            input_psnr_db=picture_psnr_db(degraded, clean),
            psnr_db=picture_psnr_db(restored, clean),
            input_ssim=ssim(degraded, clean),
            ssim=ssim(restored, clean),
            seconds=seconds,
            gmacs=routing.gmacs,
            experts=routing.experts,
            lpips=lpips(restored, clean) if lpips else None,
            **on_y,
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


def fitted(restorer: Restorer, scale: int) -> Restorer:
    """Return the restorer for a test set: as it is if it does not enlarge, else enlarging by the scale of the set.

    Raises:
        ConfigError: If its network enlarges less than that.
    """
    return restorer if restorer.upscale in (1, scale) else restorer.with_options(upscale=scale)


def _scores_on_y(degraded: FloatPixels, restored: FloatPixels, clean: FloatPixels, border_px: int) -> dict[str, float]:
    before, after = (luma_scores(pixels, clean, border_px) for pixels in (degraded, restored))
    return dict(zip(ON_Y, (before[0], after[0], before[1], after[1]), strict=True))


def _read(path: Path, protocol: Protocol, scale: int) -> FloatPixels:
    rgb = image_io.read(path).rgb
    pixels = rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    if scale > 1:
        height, width = (size - size % scale for size in pixels.shape[:2])
        if not height or not width:
            raise DataError(f"{path} is smaller than {scale} pixels, so nothing of it can be reduced; leave it out")
        return pixels[:height, :width]
    if protocol == "uncropped":
        return pixels
    height, width = (size - size % CROP_MULTIPLE for size in pixels.shape[:2])
    if not height or not width:
        raise DataError(f"{path} is smaller than {CROP_MULTIPLE} pixels; evaluate it with --protocol uncropped")
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, since JSON has no infinity and no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
