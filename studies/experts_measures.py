"""Measure how much the experts of one model count, on pictures that its training held out: used by ``experts.py``."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from copy import deepcopy
from math import sqrt
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from routing_cost import Tried, forced_routes, try_routes
from routing_tasks import PATCH_PX, Information, route_columns, validation_pairs
from torch import Tensor

from moceir.insight.validation import held_out_files, single_tasks
from moceir.models.attention import ChannelAttention, channel_attention
from moceir.models.cost import network_cost
from moceir.models.execution import for_inference
from moceir.models.network import DecoderBlock, MoCEIR
from moceir.models.routing import Router, RoutingDecision, RoutingRequest
from moceir.restoration.reports import ExpertUsage
from moceir.weights import load, read_description

EFFORTS = (-1.0, 0.0, 1.0)
PROBE_PX = 64
"""Side of the crops for what is measured in double precision, with gradients."""

Pairs = Sequence[tuple[str, Tensor, Tensor]]
"""Task, degraded and clean ``(1, 3, H, W)`` of each picture."""


def measure(folder: Path, photographs: Path, pictures: int) -> dict[str, Any]:
    """Measure a model folder; return numbers for a JSON file.

    Args:
        folder: The model.
        photographs: What it was trained on; only the pictures that its training held out are used.
        pictures: Pictures per task at most.
    """
    description = read_description(folder)
    network, tasks = load(folder), single_tasks(description)
    pairs = list(validation_pairs(held_out_files(description, photographs)[1], tasks, pictures))
    cost = network_cost(network.config, PATCH_PX, PATCH_PX)
    return {
        "patch_px": PATCH_PX,
        "gmacs": [cost.macs(route) / 1e9 for route in (cost.cheapest, cost.dearest)],
        **routing_numbers(network, pairs),
        **influence_numbers(network, [next(pair for pair in pairs if pair[0] == task) for task in tasks]),
    }


# --- routes -----------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def routing_numbers(network: MoCEIR, pairs: Pairs) -> dict[str, Any]:
    """Measure quality by task, forced expert and effort, and what routes tell about tasks.

    The keys: ``psnr_db`` of every picture by task; ``forced``, the mean change in PSNR by expert and task;
    ``forced_gate_kept``, the same where the forced expert gets the gate of the router's choice; ``levels``, the mean
    over pictures of the largest difference that an expert makes, in 8-bit levels; ``effort``, PSNR and GMACs by effort
    and task; ``information`` by block: bits, mean and largest with shuffled tasks; ``unused``, block and expert.
    """
    config, fast = network.config, for_inference(deepcopy(network))
    tried: dict[str, list[Tried]] = {}
    gated: dict[str, list[Tried]] = {}
    for task, degraded, clean in pairs:
        tried.setdefault(task, []).append(try_routes(fast, degraded, clean, EFFORTS))
        if gate_counts(network):
            with changed_gates(fast.routers(), gate_of_choice):
                gated.setdefault(task, []).append(try_routes(fast, degraded, clean, (0.0,)))
    ways = list(forced_routes(config))
    routes = [(task, one.own) for task, group in tried.items() for one in group]
    usage = ExpertUsage.of_routes({task: [one.own for one in group] for task, group in tried.items()}, config.experts)
    largest = [max(one.points[way].away for way in ways) for group in tried.values() for one in group]
    numbers: dict[str, Any] = {
        "psnr_db": {task: [round(one.points[0.0].psnr_db, 4) for one in group] for task, group in tried.items()},
        "forced": _gains(tried, ways),
        "levels": mean(largest),
        "effort": {
            f"{effort:g}": {
                task: [
                    mean(one.points[effort].psnr_db for one in group),
                    mean(one.points[effort].gmacs for one in group),
                ]
                for task, group in tried.items()
            }
            for effort in EFFORTS
        },
        "information": {
            name: list(Information.of([task for task, _ in routes], column))
            for name, column in route_columns(config, [route for _, route in routes]).items()
        },
        "unused": usage.dead(),
    }
    return numbers | ({"forced_gate_kept": _gains(gated, ways)} if gated else {})


def _gains(tried: dict[str, list[Tried]], ways: Sequence[str]) -> dict[str, dict[str, float]]:
    return {
        way: {task: mean(one.points[way].psnr_db - one.points[0.0].psnr_db for one in g) for task, g in tried.items()}
        for way in ways
    }


def gate_counts(network: MoCEIR) -> bool:
    """Tell whether a forced expert differs from the router's choice by its gate as well."""
    return network.config.join != "published" and network.config.gate == "softmax"


def gate_of_choice(decision: RoutingDecision) -> Tensor:
    """Compute the gates that the router's own choice gets, whichever experts are forced."""
    return decision.logits.softmax(dim=-1).topk(decision.gates.shape[-1], dim=-1).values


@contextmanager
def changed_gates(routers: Iterable[Router], change: Callable[[RoutingDecision], Tensor]) -> Generator[None]:
    """Replace the gates of routers by others, ``(B, k)``."""

    def replace(_router: object, _inputs: object, decision: RoutingDecision) -> RoutingDecision:
        return decision._replace(gates=change(decision))

    hooks = [router.register_forward_hook(replace) for router in routers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


# --- influence --------------------------------------------------------------------------------------------------------


def influence_numbers(network: MoCEIR, pairs: Pairs) -> dict[str, Any]:
    """Measure in double precision what gates and experts can change, on a small crop of each picture.

    The keys: ``router_gradient``, the norm of the gradient of the L1 loss with respect to all routers, relative to that
    of all other weights; ``gate_doubled``, the mean change of the result in 8-bit levels when all gates are doubled;
    ``blocks``, see `block_numbers`.
    """
    plain = deepcopy(network).double().eval()
    degraded, clean = (torch.cat([pair[i][..., :PROBE_PX, :PROBE_PX] for pair in pairs]).double() for i in (1, 2))
    with torch.no_grad():
        own = plain(degraded)
        with changed_gates(plain.routers(), lambda decision: 2 * decision.gates):
            doubled = plain(degraded)
    return {
        "router_gradient": router_gradient(plain, degraded, clean),
        "gate_doubled": float(255 * (doubled - own).abs().mean()),
        "blocks": block_numbers(plain, degraded),
    }


def router_gradient(network: MoCEIR, degraded: Tensor, clean: Tensor) -> float:
    """Compute the norm of the gradient of the L1 loss in the routers, relative to that in all other weights."""
    network.zero_grad()
    (network(degraded) - clean).abs().mean().backward()
    told = {id(weight) for router in network.routers() for weight in router.parameters()}
    norms = {True: 0.0, False: 0.0}
    for weight in network.parameters():
        if weight.grad is not None:
            norms[id(weight) in told] += float(weight.grad.square().sum())
    return sqrt(norms[True] / norms[False])


@torch.no_grad()
def block_numbers(network: MoCEIR, degraded: Tensor) -> list[dict[str, Any]]:
    """Measure for each routed block what an expert can change, its gate and everything before the block being equal.

    The keys: ``influence``, the largest change over experts of what the block adds to its input, relative to that
    (the mean over pictures); ``own``, how large what an expert adds to its input is relative to that (the mean over
    experts and pictures); ``moved``, the part of the weights in a row of the cross-attention that moves to other
    channels between the two experts that differ most: the mean and the largest over rows and pictures; ``bound``, what
    the temperature allows at most (see docs/experts.md).
    """
    seen: list[tuple[DecoderBlock, tuple[Tensor, Tensor, RoutingRequest]]] = []
    blocks = [part for part in network.decoder.modules() if isinstance(part, DecoderBlock)]
    hooks = [block.register_forward_pre_hook(lambda block, inputs: seen.append((block, inputs))) for block in blocks]
    network(degraded)
    for hook in hooks:
        hook.remove()
    return [_block(*each) for each in seen]


def _block(block: DecoderBlock, inputs: tuple[Tensor, Tensor, RoutingRequest]) -> dict[str, Any]:
    x, embedding, _ = inputs
    result, decision = block(x, embedding, RoutingRequest())
    weights: list[Tensor] = []
    added: list[float] = []

    def watch_cross(cross: ChannelAttention, maps: tuple[Tensor, Tensor], _result: Tensor) -> None:
        weights.append(attention_weights(cross, *maps))

    def watch_expert(_expert: object, maps: tuple[Tensor, Tensor], refined: Tensor) -> None:
        added.append(float((_length(refined - maps[0]) / _length(maps[0])).mean()))

    hooks = [expert.register_forward_hook(watch_expert) for expert in block.mixture.experts]
    hooks.append(block.cross.register_forward_hook(watch_cross))
    changes: list[float] = []
    with changed_gates([block.mixture.router], lambda _: decision.gates):
        for expert in range(len(block.mixture.experts)):
            forced = RoutingRequest(experts=torch.full((len(x), 1), expert))
            change = _length(block(x, embedding, forced)[0] - result) / _length(result - x)
            changes.append(float(change.mean()))
    for hook in hooks:
        hook.remove()
    moved = torch.stack([(a - b).abs().sum(dim=2) / 2 for a in weights for b in weights]).amax(dim=0)
    return {
        "influence": max(changes),
        "own": mean(added),
        "moved": [float(moved.mean()), float(moved.max())],
        "bound": float(block.cross.temperature.abs().max().tanh()),
    }


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(1, 2, 3))


def attention_weights(attention: ChannelAttention, *maps: Tensor) -> Tensor:
    """Compute the weights of all heads, ``(B, C, C / heads)``: what channel attention makes of unit vectors."""
    q, k, _ = attention.project(*maps)
    channels, heads = q.shape[1], len(attention.temperature)
    units = torch.eye(channels // heads, dtype=q.dtype).repeat(heads, 1)
    return channel_attention(q, k, units.expand(len(q), -1, -1)[..., None], attention.temperature)[..., 0]
