"""Restoration of a picture that also records what its degradation looks like to the network."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
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
    """A restored picture with its route and the features that describe its degradation.

    Attributes:
        restored: Restored picture, with the type, shape and range of the picture.
        routing: Experts that worked on the picture.
        features: ``(D,)`` float32. The scores of all experts in all blocks, the frequency embedding that the routers
            see, and the statistics of the change (see ``change_statistics``), in this order.
    """

    restored: NDArray[Any]
    routing: RoutingReport
    features: Tensor


def observe(restorer: Restorer, image: NDArray[Any]) -> Observation:
    """Restore a picture and record the features that signatures are based on.

    Args:
        restorer: Restores the picture.
        image: ``(H, W, 3)`` RGB array of uint8, uint16 or floats in [0, 1].

    Raises:
        ImageError: If the array is not such a picture, or does not fit into memory.
    """
    with embeddings_seen(restorer) as embeddings:
        restored, routing = restorer.restore(image, return_routing=True)
    return Observation(restored, routing, features_of(routing, embeddings, image, restored))


@contextmanager
def embeddings_seen(restorer: Restorer) -> Generator[list[Tensor]]:
    """Collect the frequency embeddings of all pictures that are restored inside a ``with`` block.

    Yields:
        A list that receives ``(B, D)`` float32 from each pass of the network. A picture that is restored in tiles has
        one embedding per tile.
    """
    embeddings: list[Tensor] = []

    def note(_module: object, _inputs: object, embedding: Tensor) -> None:
        embeddings.append(embedding.detach().float().cpu())

    watched = restorer.model.frequency_embedding.register_forward_hook(note)
    try:
        yield embeddings
    finally:
        watched.remove()


def features_of(
    routing: RoutingReport, embeddings: Sequence[Tensor], image: NDArray[Any], restored: NDArray[Any]
) -> Tensor:
    """Compute the features of an observation; see ``Observation``.

    Args:
        routing: Experts that worked on the picture.
        embeddings: Frequency embeddings of the picture, see ``embeddings_seen``.
        image: ``(H, W, 3)`` RGB array of uint8, uint16 or floats in [0, 1].
        restored: Restored picture with the same type, shape and range.
    """
    embedding = torch.cat(list(embeddings)).mean(dim=0)
    changed = change_statistics(_scaled(restored) - _scaled(image))
    return torch.cat([torch.tensor(routing.gate_vector), embedding, changed])


def change_statistics(change: Tensor) -> Tensor:
    """Compute statistics that tell brightness, strength, coarseness and asymmetry of a change.

    Args:
        change: Restored picture minus given picture, ``(3, H, W)`` in [-1, 1].

    Returns:
        ``(15,)``: five statistics of three channels each. These are the mean; the logarithms of the standard deviations
        of the values, of their vertical steps and of their horizontal steps; and the skewness, clipped to [-5, 5].
    """
    mean = change.mean(dim=(1, 2))
    down, across = change.diff(dim=1), change.diff(dim=2)
    spreads = torch.stack([_spread(values) for values in (change, down, across)])
    around = (change - mean.view(3, 1, 1)) / spreads[0].view(3, 1, 1)
    skewness = (around**3).mean(dim=(1, 2)).clamp(-5, 5)
    return torch.cat([mean, spreads.log().flatten(), skewness])


def _spread(values: Tensor) -> Tensor:
    """Compute the standard deviation of each channel, at least that of rounding to 8 bits in a corner of a picture."""
    if not values.numel():  # the steps of a picture that is one pixel wide
        return values.new_full((len(values),), 1e-4)
    return values.flatten(1).std(dim=1, correction=0).clamp_min(1e-4)


def _scaled(image: NDArray[Any]) -> Tensor:
    """Convert a picture to ``(3, H, W)`` float32 in [0, 1]."""
    top = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
    values = cast("NDArray[np.float32]", np.ascontiguousarray(image, dtype=np.float32) / np.float32(top))
    return torch.from_numpy(values).permute(2, 0, 1)
