"""Count parameters and multiply-accumulates of every preset for one 224x224 image, by the cheapest and dearest route.

    python benchmarks/macs.py

Convolutions and matrix products (see ``moceir.models.cost``); the FFTs of the experts are stated apart.
"""

from __future__ import annotations

import torch

from moceir.models.cost import network_cost
from moceir.models.network import MoCEIR
from moceir.models.presets import PRESETS


def main() -> None:
    """Print one Markdown row per preset."""
    print("| preset | parameters | GMACs, cheapest route | GMACs, dearest route | FFT, G operations |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, config in PRESETS.items():
        with torch.device("meta"):
            parameters = sum(p.numel() for p in MoCEIR(config).parameters())
        cost = network_cost(config, 224, 224)
        low, high = (cost.macs(route) / 1e9 for route in (cost.cheapest, cost.dearest))
        ffts = " to ".join(f"{cost.fft_ops(route) / 1e9:.2f}" for route in (cost.cheapest, cost.dearest))
        print(f"| {name} | {parameters:,} | {low:.2f} | {high:.2f} | {ffts} |")


if __name__ == "__main__":
    main()
