"""Count parameters and multiply-accumulates of each preset for one 224x224 image, on the cheapest and dearest route.

    python benchmarks/macs.py

See ``moceir.models.cost`` for what is counted. The FFTs of the experts have their own column.
"""

from __future__ import annotations

import torch

from moceir.evaluation.report import markdown_table
from moceir.models.cost import network_cost
from moceir.models.network import MoCEIR
from moceir.models.presets import PRESETS

COLUMNS = ("preset", "parameters", "GMACs, cheapest route", "GMACs, dearest route", "FFT, G operations")


def main() -> None:
    """Print a table with one row per preset."""
    rows: list[list[str]] = []
    for name, config in PRESETS.items():
        with torch.device("meta"):
            parameters = sum(p.numel() for p in MoCEIR(config).parameters())
        cost = network_cost(config, 224, 224)
        low, high = (cost.macs(route) / 1e9 for route in (cost.cheapest, cost.dearest))
        ffts = " to ".join(f"{cost.fft_ops(route) / 1e9:.2f}" for route in (cost.cheapest, cost.dearest))
        rows.append([name, f"{parameters:,}", f"{low:.2f}", f"{high:.2f}", ffts])
    print(*markdown_table(COLUMNS, rows), sep="\n")


if __name__ == "__main__":
    main()
