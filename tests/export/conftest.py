"""Fixtures of the tests of exported files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import varied
from torch import Tensor

from moceir import MoCEIR
from moceir.weights import load


@pytest.fixture(scope="session")
def spread(golden: Path) -> MoCEIR:
    """A network whose routes differ from picture to picture: what all pictures have in common counts nothing."""
    network = load(golden / "nano_lightning.ckpt")
    images = torch.cat([varied(number) for number in range(20)])
    for router in network.routers():
        seen: list[Tensor] = []
        handle = router.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0].mean(dim=(0, 2, 3))))
        with torch.no_grad():
            network(images)
        handle.remove()
        common = seen[0] / seen[0].norm()
        weight = router.from_features.weight.data
        weight -= torch.outer(weight @ common, common)
        router.from_frequency.weight.data.zero_()
    return network
