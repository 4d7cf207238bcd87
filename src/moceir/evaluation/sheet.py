"""Sheets of evaluated pictures side by side: degraded, restored, clean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from moceir.evaluation.scoring import Evaluation, FloatPixels, ImageScore, TestSet, fitted
from moceir.restoration import Restorer

if TYPE_CHECKING:
    from PIL import Image

MARGIN_PX, TITLE_PX, LABEL_PX = 8, 26, 22
CELL_PX = 400
"""Pictures wider than this are scaled down to it; narrower ones keep their size. Columns take at least half of it."""

Choice = Callable[[Sequence[ImageScore]], Sequence[int]]
"""Function that returns the indices of the pictures to show, in the order of the rows."""


def worst_sheet(restorer: Restorer, evaluated: list[tuple[TestSet, Evaluation]], count: int) -> Image.Image:
    """Draw the pictures with the lowest PSNR of each test set, worst first.

    Args:
        restorer: Restorer that was evaluated.
        evaluated: Test sets with their evaluations.
        count: Number of pictures per test set, at least 1.

    Raises:
        DataError: If a pair differs in size.
        ImageError: If a picture cannot be read.
    """
    return picture_sheet(restorer, evaluated, lambda s: sorted(range(len(s)), key=lambda i: s[i].psnr_db)[:count])


def picture_sheet(
    restorer: Restorer,
    evaluated: list[tuple[TestSet, Evaluation]],
    choose: Choice,
    window: tuple[int, int] | None = None,
) -> Image.Image:
    """Draw chosen pictures of each test set, one row each: degraded, restored, clean.

    The pictures are read, degraded and restored again. The result is the same as that which was scored, because a
    degradation depends only on the seed and the name of the file.

    Args:
        restorer: Restorer that was evaluated.
        evaluated: Test sets with their evaluations.
        choose: Chooses the pictures of each test set.
        window: Largest width and height in pixels of the central part to show; None shows whole pictures.

    Raises:
        DataError: If a pair differs in size.
        ImageError: If a picture cannot be read.
    """
    rows: list[Image.Image] = []
    for test_set, result in evaluated:
        places = choose(result.scores)
        restorer = fitted(restorer, test_set.scale)
        chosen = replace(test_set, files=[test_set.files[i] for i in places])
        pairs = chosen.pairs(result.protocol, result.seed, None)
        for index, pair in zip(places, pairs, strict=True):
            score = result.scores[index]
            gain = f", {score.gain_db:+.2f} dB" if math.isfinite(score.gain_db) else ""
            cells = [pair.degraded, restorer.restore(pair.given(restorer.upscale)), pair.clean]
            if window:
                cells = [_middle(pixels, *window) for pixels in cells]
            rows.append(_row(f"{result.benchmark}: {pair.name}{gain}", cells, score))
    return stack_rows(rows)


def _middle(pixels: FloatPixels, width: int, height: int) -> FloatPixels:
    top, left = max(0, (pixels.shape[0] - height) // 2), max(0, (pixels.shape[1] - width) // 2)
    return pixels[top : top + height, left : left + width]


def stack_rows(rows: list[Image.Image]) -> Image.Image:
    """Stack pictures of any size on a white background, one below the other."""
    from PIL import Image  # noqa: PLC0415 - an extra that only sheets need

    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _row(title: str, pictures: Sequence[FloatPixels], score: ImageScore) -> Image.Image:
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - an extra that only sheets need

    labels = (
        f"input: {_scores(score.input_psnr_db, score.input_ssim)}",
        f"restored: {_scores(score.psnr_db, score.ssim)}",
        "clean",
    )
    height, width = pictures[0].shape[:2]
    scale = min(1, CELL_PX / width)
    shown = (max(1, round(width * scale)), max(1, round(height * scale)))
    column = max(shown[0], CELL_PX // 2) + MARGIN_PX
    row = Image.new("RGB", (len(labels) * column + MARGIN_PX, TITLE_PX + LABEL_PX + shown[1] + MARGIN_PX), "white")
    draw = ImageDraw.Draw(row)
    draw.text((MARGIN_PX, 6), title, fill="black", font=ImageFont.load_default(16))
    for i, (label, pixels) in enumerate(zip(labels, pictures, strict=True)):
        left = MARGIN_PX + i * column
        draw.text((left, TITLE_PX + 2), label, fill="black", font=ImageFont.load_default(14))
        picture = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
        row.paste(picture.resize(shown, Image.Resampling.LANCZOS), (left, TITLE_PX + LABEL_PX))
    return row


def _scores(psnr_db: float, ssim: float) -> str:
    """Format ``28.31 dB, SSIM 0.871``; SSIM is left out where it is not defined."""
    if math.isinf(psnr_db):
        return "equal to clean"
    return f"{psnr_db:.2f} dB" + ("" if math.isnan(ssim) else f", SSIM {ssim:.3f}")
