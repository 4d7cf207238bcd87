"""Restoring a picture while watching what passes through the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moceir.restoration import Restorer
from moceir.restoration.reports import RoutingReport


@dataclass(frozen=True)
class Observation:
    """What a restoration gave and what it shows of the degradation.

    Attributes:
        restored: Of the kind, shape and range of the picture.
        routing: Which experts worked on it.
        features: ``(D,)`` float32: what the routers are told of the picture (the frequency embedding), what they answer
            (the scores of all experts in all blocks), and what the network changed (`change_statistics`).
    """

    restored: NDArray[Any]
    routing: RoutingReport
    features: Tensor


def observe(restorer: Restorer, image: NDArray[Any]) -> Observation:
    """Restore a picture and note what signatures are made of.

    Args:
        restorer: What restores.
        image: ``(H, W, 3)`` RGB array of uint8, uint16 or floats in [0, 1].

    Raises:
        ImageError: If it is no such picture, or does not fit into memory.
    """
    embeddings: list[Tensor] = []

    def note(_module: object, _inputs: object, embedding: Tensor) -> None:
        embeddings.append(embedding.detach().float().cpu())

    watched = restorer.model.frequency_embedding.register_forward_hook(note)
    try:
        restored, routing = restorer.restore(image, return_routing=True)
    finally:
        watched.remove()
    # In tiles there is one embedding for each.
    embedding = torch.cat(embeddings).mean(dim=0)
    changed = change_statistics(_scaled(restored) - _scaled(image))
    return Observation(restored, routing, torch.cat([torch.tensor(routing.gate_vector), embedding, changed]))


def change_statistics(change: Tensor) -> Tensor:
    """Describe the difference of two pictures: is it bright or dark, strong or weak, coarse or fine, lopsided?

    Args:
        change: ``(3, H, W)`` restored less given, in [-1, 1].

    Returns:
        ``(15,)``: of each channel the mean, the logarithms of the standard deviations of the values and of their
        vertical and horizontal steps, and the skewness, within 5.
    """
    mean = change.mean(dim=(1, 2))
    down, across = change.diff(dim=1), change.diff(dim=2)
    spreads = torch.stack([_spread(values) for values in (change, down, across)])
    around = (change - mean.view(3, 1, 1)) / spreads[0].view(3, 1, 1)
    skewness = (around**3).mean(dim=(1, 2)).clamp(-5, 5)
    return torch.cat([mean, spreads.log().flatten(), skewness])


def _spread(values: Tensor) -> Tensor:
    """Standard deviation of each channel; at least that of rounding to 8 bits in a corner of the picture."""
    if not values.numel():  # the steps of a picture that is one pixel wide
        return values.new_full((len(values),), 1e-4)
    return values.flatten(1).std(dim=1, correction=0).clamp_min(1e-4)


def _scaled(image: NDArray[Any]) -> Tensor:
    """``(3, H, W)`` float32 in [0, 1]."""
    top = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
    values = cast("NDArray[np.float32]", np.ascontiguousarray(image, dtype=np.float32) / np.float32(top))
    return torch.from_numpy(values).permute(2, 0, 1)
