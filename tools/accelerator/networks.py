"""What each network is trained with on an accelerator, and how fast it should be. README.md shows the same table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "recipes" / "stretches.yaml"


@dataclass(frozen=True)
class Expected:
    """Settings and speed of one network on one large accelerator.

    Attributes:
        batch: Patches of 128 px per step.
        lr: Constant learning rate.
        rate: Patches per second to aim at.
        least: Patches per second below which a run stops by itself: something is wrong, and each minute counts.
    """

    batch: int
    lr: float
    rate: int
    least: int


NETWORKS = {
    "tiny": Expected(batch=256, lr=1.0e-3, rate=5000, least=1000),
    "small": Expected(batch=96, lr=5.0e-4, rate=700, least=120),
}

FIRST_LOOK_S = 30.0
"""Seconds of training after which the rate is compared with the table."""


def overrides(network: str) -> list[str]:
    """Return the changes to the recipe of stretches that a network gets on an accelerator."""
    expected = NETWORKS[network]
    return [
        f"stages.0.batch={expected.batch}",
        f"optimizer.lr={expected.lr}",
        "precision=bfloat16",
        "compile=true",
        "ema_decay=0.999",
    ]
