"""Run ``moceir --version``."""

from __future__ import annotations

from importlib.metadata import version

import torch

from moceir.cli.run.terminal import echo
from moceir.machine.devices import choose_device
from moceir.weights.folders import bundled_models


def run() -> None:
    """Print the versions, the device that ``auto`` chooses, and the names of the bundled weights."""
    device = choose_device("auto")
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    echo(f"moceir {version('moceir')}")
    echo(f"torch {torch.__version__}, device {device}{name}")
    echo(f"weights {', '.join(bundled_models()) or 'none'}")
