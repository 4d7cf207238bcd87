"""JPEG: a batched round trip through the lossy part of the baseline codec (ITU-T T.81).

Only the steps that lose information are computed: colour conversion, chroma subsampling, the 8x8 cosine transform, and
rounding to multiples of the standard tables, on the quality scale of the Independent JPEG Group. Entropy coding is
lossless.
"""

import math
from collections.abc import Sequence
from typing import Self

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor

from moceir.degradations.base import Degradation, chance, per_image, uniform

# ITU-T T.81, tables K.1 (luminance) and K.2 (chrominance).
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


class Jpeg(Degradation):
    """JPEG compression with a quality from 1 (worst) to 100."""

    quality: int = pydantic.Field(default=30, ge=1, le=100)
    """Quality on the usual scale of encoders."""
    subsample: bool = True
    """Whether to halve the resolution of the chroma planes (4:2:0), the default of most encoders."""

    @classmethod
    def draw(cls, generator: torch.Generator) -> Self:
        """Draw a quality from 10 to 60, with chroma subsampling in three out of four cases."""
        return cls(quality=int(uniform(generator, 10, 61)), subsample=chance(generator, 0.75))

    @classmethod
    def _apply(cls, images: Tensor, params: Sequence[Self], generator: torch.Generator) -> Tensor:
        del generator
        planes = _to_ycbcr((images * 255).round())
        scale = per_image([5000 // p.quality if p.quality < 50 else 200 - 2 * p.quality for p in params], images)
        luminance = round_trip(planes[:, :1], _table(_LUMINANCE, scale))
        chroma_table = _table(_CHROMINANCE, scale)
        full = [i for i, p in enumerate(params) if not p.subsample]
        half = [i for i, p in enumerate(params) if p.subsample]
        chroma = torch.empty_like(planes[:, 1:])
        if full:
            chroma[full] = round_trip(planes[full, 1:], chroma_table[full])
        if half:
            chroma[half] = _subsampled(planes[half, 1:], chroma_table[half])
        return _to_rgb(torch.cat([luminance, chroma], dim=1)) / 255


def round_trip(planes: Tensor, tables: Tensor) -> Tensor:
    """Transform 8x8 blocks, round to multiples of the table, and transform back.

    Args:
        planes: Levels centred on 0 (-128..127), ``(B, C, H, W)``.
        tables: Quantisation step of each frequency, ``(B, 1, 8, 8)``.

    Returns:
        Decoded planes ``(B, C, H, W)``.
    """
    batch, channels, height, width = planes.shape
    padded = F.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate")
    rows, columns = padded.shape[-2] // 8, padded.shape[-1] // 8
    blocks = padded.reshape(batch, channels, rows, 8, columns, 8).transpose(3, 4)
    dct = _dct_matrix(planes)
    steps = tables[:, :, None, None]
    coefficients = (dct @ blocks @ dct.T / steps).round() * steps
    decoded = (dct.T @ coefficients @ dct).transpose(3, 4).reshape(batch, channels, rows * 8, columns * 8)
    return decoded[..., :height, :width].round().clamp(-128, 127)


def _subsampled(chroma: Tensor, tables: Tensor) -> Tensor:
    """Compute the round trip of chroma planes at half resolution; decoders upsample with a triangle filter."""
    height, width = chroma.shape[-2:]
    even = F.pad(chroma, (0, width % 2, 0, height % 2), mode="replicate")
    decoded = round_trip(F.avg_pool2d(even, 2).round(), tables)
    return F.interpolate(decoded, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]


def _table(standard: tuple[tuple[int, ...], ...], scale_percent: Tensor) -> Tensor:
    """Scale a standard table to ``(B, 1, 8, 8)`` integer steps in 1..255."""
    table = torch.tensor(standard, dtype=scale_percent.dtype, device=scale_percent.device)
    return ((table * scale_percent + 50) / 100).floor().clamp(1, 255)


def _dct_matrix(like: Tensor) -> Tensor:
    """Return the orthonormal 8-point DCT matrix, ``(frequency, position)``."""
    steps = torch.arange(8, dtype=like.dtype, device=like.device)
    matrix = torch.cos(math.pi / 8 * steps[:, None] * (steps[None, :] + 0.5)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def _to_ycbcr(rgb: Tensor) -> Tensor:
    """Convert RGB levels to JFIF Y - 128, Cb - 128, Cr - 128, rounded to integers as in the codec."""
    red, green, blue = rgb.unbind(1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([y - 128, (blue - y) / 1.772, (red - y) / 1.402], dim=1).round().clamp(-128, 127)


def _to_rgb(planes: Tensor) -> Tensor:
    """Invert ``_to_ycbcr``, without rounding."""
    y, cb, cr = planes.unbind(1)
    y = y + 128
    red, blue = y + 1.402 * cr, y + 1.772 * cb
    return torch.stack([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue], dim=1)
