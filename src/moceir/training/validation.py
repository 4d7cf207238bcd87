"""Validation of a network on held-out pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from moceir.data.metrics import psnr_db
from moceir.data.synthesis import Sample
from moceir.models.execution import for_inference
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision
from moceir.training.team import Team

HIGHEST_DB = 60.0
"""Cap on PSNR: higher values make no visible difference, and perfect pictures would make the mean infinite."""


class Judged(NamedTuple):
    """Restored batch of held-out pairs with its scores.

    Attributes:
        restored: ``(B, 3, H, W)`` in [0, 1].
        scores_db: PSNR of each picture, ``(B,)``.
        decisions: Routing decisions, one per routed block.
    """

    restored: Tensor
    scores_db: Tensor
    decisions: list[RoutingDecision]


def judge(network: MoCEIR, batch: Sample) -> Judged:
    """Restore a batch and compare it with the clean pictures."""
    restored, decisions = network.restore_with_routing(batch.degraded)
    restored = restored.float().clamp(0, 1)
    return Judged(restored, psnr_db(restored, batch.clean).clamp_max(HIGHEST_DB), decisions)


def validate(
    network: MoCEIR, batches: Iterable[Sample], tasks: Sequence[str], device: torch.device, team: Team
) -> dict[str, float]:
    """Score a network on held-out pairs.

    Args:
        network: Network to score; set to evaluation mode during validation.
        batches: This process's share of the pairs.
        tasks: Task names, indexed by ``Sample.task``.
        device: Device of the network.
        team: Processes that share the pairs.

    Returns:
        Mean PSNR in dB of each task over all processes.
    """
    was_training = network.training
    network.eval()
    sums = torch.zeros(2, len(tasks), dtype=torch.float64)
    fast = for_inference(network)
    with torch.no_grad():
        for batch in batches:
            on_device = Sample(*(part.to(device) for part in batch))
            scores = judge(fast, on_device).scores_db.cpu().double()
            sums[0].index_add_(0, batch.task.cpu(), scores)
            sums[1].index_add_(0, batch.task.cpu(), torch.ones_like(scores))
    network.train(was_training)
    total, count = team.sum(sums)
    return dict(zip(tasks, (total / count).tolist(), strict=True))
