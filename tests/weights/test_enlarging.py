"""The bundled networks that enlarge: better than bicubic, no grid, and found by the factor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from moceir import Restorer, image_io, load
from moceir.data.metrics import luma_scores
from moceir.degradations.reduction import reduced, resample
from moceir.models.layers import bicubic

ORIGINALS = Path(__file__).parents[2] / "examples" / "clean"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_better_than_bicubic_on_every_example(scale: int) -> None:
    """On photographs that no weights were trained on; 3 is made from the network for 4."""
    restorer = Restorer.from_pretrained(upscale=scale, device="cpu")
    gains: list[float] = []
    for name in ("blur_chelsea", "haze_astronaut", "jpeg_coffee"):
        rgb = image_io.read(ORIGINALS / f"{name}.png").rgb
        height, width = (side // scale * scale for side in rgb.shape[:2])
        clean = rgb[:height, :width].astype(np.float32) / 255
        small = reduced(torch.from_numpy(clean).permute(2, 0, 1), scale)
        simple = resample(small, scale).clamp(0, 1).permute(1, 2, 0).numpy()
        ours = restorer.restore(small.permute(1, 2, 0).numpy())
        assert ours.shape == clean.shape
        gains.append(luma_scores(ours, clean, scale)[0] - luma_scores(simple, clean, scale)[0])
    assert min(gains) > 0.3
    assert sum(gains) / len(gains) > 0.8


@pytest.mark.parametrize("scale", [2, 4])
def test_flat_and_smooth_pictures_get_no_grid(scale: int) -> None:
    network = load(f"tiny-x{scale}")
    assert network.config.scale == scale
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    for picture in (
        torch.stack([0 * x + 0.3, 0 * x + 0.5, 0 * x + 0.8]),
        torch.stack([0.5 * x, 0.3 * y, 0.5 * y]) + 0.2,
    ):
        with torch.no_grad():
            added = network(picture[None])[0] - bicubic(picture[None], scale)[0]
        inside = added[:, 16 * scale : -16 * scale, 16 * scale : -16 * scale]
        phases = inside.unflatten(2, (-1, scale)).unflatten(1, (-1, scale)).mean(dim=(1, 3))
        assert (phases - phases.mean(dim=(1, 2), keepdim=True)).abs().max() < 0.5 / 255
