"""Count parameters and multiply-accumulates of every preset for one 224x224 image, by the cheapest and dearest route.

    python benchmarks/macs.py

Convolutions and matrix products as torch's flop counter sees them; the FFTs of the experts are not among them.
"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from moceir.models.network import MoCEIR
from moceir.models.presets import PRESETS
from moceir.models.routing import Router, RoutingDecision


def main() -> None:
    """Print one Markdown row per preset."""
    print("| preset | parameters | GMACs, cheapest route | GMACs, dearest route |")
    print("| --- | ---: | ---: | ---: |")
    for name, config in PRESETS.items():
        model = MoCEIR(config).eval()
        parameters = sum(p.numel() for p in model.parameters())
        cheapest, dearest = (gmacs(model, expert) for expert in (0, config.experts - 1))
        print(f"| {name} | {parameters:,} | {cheapest:.2f} | {dearest:.2f} |", flush=True)


def gmacs(model: MoCEIR, expert: int) -> float:
    """Cost of one 224x224 image when every router chooses the same expert."""

    def choose(_module: Router, _inputs: object, decision: RoutingDecision) -> RoutingDecision:
        return decision._replace(experts=torch.full_like(decision.experts, expert))

    hooks = [module.register_forward_hook(choose) for module in model.modules() if isinstance(module, Router)]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.rand(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() / 2e9


if __name__ == "__main__":
    main()
