"""Resampling as MATLAB's ``imresize`` does it, which super-resolution is trained and compared with.

Source: the documentation of ``imresize`` and Keys, "Cubic convolution interpolation for digital image processing"
(IEEE TASSP 1981, a = -1/2). When a picture shrinks, the kernel is stretched by the same factor (antialiasing); beyond
the borders the picture is mirrored, with the pixels at the border repeated. Results are not rounded, as in the common
Python versions. MATLAB itself rounds 8-bit pictures, so results differ by up to one level from sets made with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from moceir.config import look_up


def _cubic(x: Tensor) -> Tensor:
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp_min(0)


def _box(x: Tensor) -> Tensor:
    return (x <= 0.5).to(x.dtype)


def _lanczos3(x: Tensor) -> Tensor:
    return torch.where(x < 3, torch.sinc(x) * torch.sinc(x / 3), 0)


KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "cubic": (_cubic, 2),
    "triangle": (_triangle, 1),
    "box": (_box, 0.5),
    "lanczos3": (_lanczos3, 3),
}
"""Kernels by MATLAB's names: weight by distance in pixels, and the largest distance with a weight."""


@dataclass(frozen=True)
class Reduction:
    """How the low-resolution pictures of a network that enlarges are made.

    Args:
        scale: Factor by which both sides shrink, 1 for none.
        kernels: Kernels and how often each is drawn, relative to the others.

    Raises:
        ConfigError: If there is no such kernel.
    """

    scale: int = 1
    kernels: Mapping[str, float] = field(default_factory=lambda: {"cubic": 1.0})

    def __post_init__(self) -> None:
        for name in self.kernels:
            look_up(name, KERNELS, "kernel")

    def draw(self, generator: torch.Generator) -> str:
        """Draw a kernel; where nothing is to choose, the generator stays as it is."""
        names = list(self.kernels)
        if self.scale == 1 or len(names) == 1:
            return names[0]
        weights = torch.tensor(list(self.kernels.values()), dtype=torch.float64)
        return names[int(torch.multinomial(weights, 1, generator=generator))]


def resample(images: Tensor, scale: float, kernel: str = "cubic") -> Tensor:
    """Scale pictures.

    Args:
        images: ``(..., H, W)`` floating point.
        scale: Factor of both sides; below 1 shrinks with antialiasing.
        kernel: Key of ``KERNELS``.

    Returns:
        ``(..., ceil(scale * H), ceil(scale * W))``, not clamped: cubic and Lanczos kernels can leave [0, 1].
    """
    rows, columns = (
        _weights(length, scale, kernel).to(device=images.device, dtype=images.dtype) for length in images.shape[-2:]
    )
    return rows @ images @ columns.mT


def reduced(images: Tensor, scale: int, kernel: str = "cubic") -> Tensor:
    """Make the low-resolution version of pictures.

    Args:
        images: ``(..., H, W)`` in [0, 1], H and W multiples of ``scale``.
        scale: Factor by which both sides shrink, 1 for none.
        kernel: Key of ``KERNELS``.

    Returns:
        ``(..., H/scale, W/scale)`` in [0, 1].
    """
    return images if scale == 1 else resample(images, 1 / scale, kernel).clamp(0, 1)


@lru_cache(maxsize=64)
def _weights(length: int, scale: float, kernel: str) -> Tensor:
    """Build the matrix ``(ceil(scale * length), length)`` that scales a signal; each row sums to 1."""
    weigh, reach = KERNELS[kernel]
    stretch = max(1 / scale, 1.0)
    count = math.ceil(length * scale - 1e-9)  # 1/3 of 3 pixels is one pixel
    centres = (torch.arange(count, dtype=torch.float64) + 0.5) / scale - 0.5
    first = (centres - reach * stretch).floor().long()
    places = first[:, None] + torch.arange(math.ceil(2 * reach * stretch) + 2)
    weights = weigh((centres[:, None] - places).abs() / stretch)
    weights = weights / weights.sum(dim=1, keepdim=True)
    phase = places.remainder(2 * length)
    mirrored = torch.minimum(phase, 2 * length - 1 - phase)
    return torch.zeros(count, length, dtype=torch.float64).scatter_add(1, mirrored, weights)
