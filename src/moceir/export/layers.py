"""Layers that compute as the network's do, by means that ONNX has: a view of the network for export.

They run in torch as well.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from moceir.export.recording import when
from moceir.models.execution.views import view
from moceir.models.experts import WindowFFTAttention
from moceir.models.network import MoCEIR
from moceir.models.routing import ExpertMixture, RoutingDecision, RoutingRequest


def for_export(network: MoCEIR, *, batch: bool) -> MoCEIR:
    """Create a view of a network that can be recorded.

    Args:
        network: The network.
        batch: Let all experts work on all images, which suits any number of images and needs no ``If``. Otherwise
            an expert works only if it is chosen, on one image.
    """
    classes: dict[type[nn.Module], type[nn.Module]] = {
        WindowFFTAttention: WindowProductAttention,
        ExpertMixture: GatedMixture if batch else BranchingMixture,
    }
    return view(network, lambda part: classes.get(type(part)))


def window_products(q: Tensor, k: Tensor, window: int) -> Tensor:
    """Compute `moceir.models.experts.window_convolution` with matrix products in place of Fourier transforms.

    Runtimes support the operator DFT unevenly. For windows of up to 32 pixels, the transform of all rows, then of all
    columns, are two products with small constant matrices of cosines and sines. Columns need only the frequencies up
    to the half, because the others follow from them.

    Args:
        q: ``(B, C, H, W)``, any H and W; zero-padded at the bottom and right to whole windows.
        k: The same shape.
        window: Even side of the square windows, in pixels.

    Returns:
        ``(B, C, H, W)``.
    """
    batch, channels, height, width = q.shape
    rows, columns = (height + window - 1) // window, (width + window - 1) // window
    below, beside = rows * window - height, columns * window - width
    half = window // 2 + 1

    steps = torch.arange(window, dtype=torch.float64)
    angles = 2 * math.pi / window * torch.outer(steps, steps)
    cos, sin = angles.cos(), angles.sin()
    # How often each of the first frequencies counts, for itself and for the one that follows from it.
    times = torch.full((half, 1), 2.0, dtype=torch.float64)
    times[0] = times[-1] = 1
    row_transform = torch.cat([cos, -sin]).float()
    column_transform = torch.cat([cos[:, :half], -sin[:, :half]], dim=1).float()
    row_inverse = torch.cat([cos, -sin], dim=1).float() / window
    column_inverse = torch.cat([times * cos[:half], times * sin[:half]]).float() / window

    def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.pad(x, (0, beside, 0, below)).reshape(batch, channels * rows, window, columns * window)
        by_rows = (row_transform @ x).reshape(batch, channels * rows, 2 * window, columns, window)
        real_rows, imaginary_rows = (by_rows @ column_transform).chunk(2, dim=2)
        (real, to_imaginary), (imaginary, to_real) = real_rows.chunk(2, dim=-1), imaginary_rows.chunk(2, dim=-1)
        return real - to_real, to_imaginary + imaginary

    (q_real, q_imaginary), (k_real, k_imaginary) = spectrum(q), spectrum(k)
    real = q_real * k_real - q_imaginary * k_imaginary
    imaginary = q_real * k_imaginary + q_imaginary * k_real
    # Side by side what the cosines and what the sines of the columns take, one above the other the same for rows.
    product = torch.cat([torch.cat([real, -imaginary], dim=-1), torch.cat([imaginary, real], dim=-1)], dim=2)
    product = product.reshape(batch, channels * rows, 2 * window, columns * 2 * half)
    by_rows = (row_inverse @ product).reshape(batch, channels * rows, window, columns, 2 * half)
    return (by_rows @ column_inverse).reshape(batch, channels, rows * window, columns * window)[..., :height, :width]


class WindowProductAttention(WindowFFTAttention):
    """`WindowFFTAttention` without Fourier transforms."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Do as `WindowFFTAttention` does."""
        return self.out(self.norm(window_products(q, k, self.window)) * v)


class GatedMixture(ExpertMixture):
    """`ExpertMixture` in which every expert works on every image, times its gate or zero."""

    def forward(
        self, x: Tensor, shared: Tensor, embedding: Tensor, request: RoutingRequest
    ) -> tuple[Tensor, RoutingDecision]:
        """Do as `ExpertMixture` does, but without an effort."""
        # No image can leave its route, however many there are.
        decision = self.router(x, embedding, request._replace(departed=torch.zeros(1, dtype=torch.bool)))
        mixed = torch.zeros_like(x)
        for number in range(len(self.experts)):
            chosen = decision.experts == number
            gate = (decision.gates * chosen.to(decision.gates.dtype)).sum(dim=-1).view(-1, 1, 1, 1)
            mixed = self.add(mixed, number, chosen, gate, x, shared)
        return self.out(mixed), decision

    def add(self, mixed: Tensor, number: int, chosen: Tensor, gate: Tensor, x: Tensor, shared: Tensor) -> Tensor:
        """Add an expert's features to those of others."""
        return mixed + gate * self.experts[number](x, shared)


class BranchingMixture(GatedMixture):
    """`ExpertMixture` for one image: each expert is a branch that is taken if the expert is chosen."""

    def add(self, mixed: Tensor, number: int, chosen: Tensor, gate: Tensor, x: Tensor, shared: Tensor) -> Tensor:
        """Add an expert's features if it is chosen."""
        return when(
            chosen.any(),
            lambda: super(BranchingMixture, self).add(mixed, number, chosen, gate, x, shared),
            lambda: mixed,
        )
