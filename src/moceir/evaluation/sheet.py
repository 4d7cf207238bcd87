"""The worst pictures of an evaluation side by side: degraded, restored, clean."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from moceir.evaluation.scoring import Evaluation, ImageScore, Pair, Pixels, TestSet
from moceir.restoration import Restorer

if TYPE_CHECKING:
    from PIL import Image

MARGIN_PX, TITLE_PX, LABEL_PX = 8, 26, 22
CELL_PX = 400
"""Pictures wider than this are scaled down to it; narrower ones get their own size and at least half this column."""


def worst_sheet(restorer: Restorer, evaluated: list[tuple[TestSet, Evaluation]], count: int) -> Image.Image:
    """Draw the pictures of lowest PSNR, those of each test set below each other, worst first.

    They are read, degraded and restored anew, which gives what was scored: a picture depends on seed and name alone.

    Args:
        restorer: What was evaluated.
        evaluated: Test sets with their outcomes.
        count: How many pictures of each set, from 1.
    """
    rows: list[Image.Image] = []
    for test_set, result in evaluated:
        order = sorted(range(len(result.scores)), key=lambda i, scores=result.scores: scores[i].psnr_db)[:count]
        worst = replace(test_set, files=[test_set.files[i] for i in order])
        pairs = worst.pairs(result.protocol, result.seed, None)
        for index, pair in zip(order, pairs, strict=True):
            title = f"{result.benchmark}: {pair.name}"
            rows.append(_row(title, restorer.restore(pair.degraded), pair, result.scores[index]))
    return stack_rows(rows)


def stack_rows(rows: list[Image.Image]) -> Image.Image:
    """Rows below each other on white."""
    from PIL import Image  # noqa: PLC0415 - an extra, needed for sheets alone

    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _row(title: str, restored: Pixels, pair: Pair, score: ImageScore) -> Image.Image:
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - an extra, needed for sheets alone

    cells = (
        (f"input: {_scores(score.input_psnr_db, score.input_ssim)}", pair.degraded),
        (f"restored: {_scores(score.psnr_db, score.ssim)}", restored),
        ("clean", pair.clean),
    )
    height, width = pair.clean.shape[:2]
    scale = min(1, CELL_PX / width)
    shown = (max(1, round(width * scale)), max(1, round(height * scale)))
    column = max(shown[0], CELL_PX // 2) + MARGIN_PX
    row = Image.new("RGB", (len(cells) * column + MARGIN_PX, TITLE_PX + LABEL_PX + shown[1] + MARGIN_PX), "white")
    draw = ImageDraw.Draw(row)
    draw.text((MARGIN_PX, 6), title, fill="black", font=ImageFont.load_default(16))
    for i, (label, pixels) in enumerate(cells):
        left = MARGIN_PX + i * column
        draw.text((left, TITLE_PX + 2), label, fill="black", font=ImageFont.load_default(14))
        picture = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
        row.paste(picture.resize(shown, Image.Resampling.LANCZOS), (left, TITLE_PX + LABEL_PX))
    return row


def _scores(psnr_db: float, ssim: float) -> str:
    """``28.31 dB, SSIM 0.871``; SSIM is left out where it is not defined."""
    return f"{psnr_db:.2f} dB" + ("" if math.isnan(ssim) else f", SSIM {ssim:.3f}")
