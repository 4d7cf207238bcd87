"""Measure a model's routing: all tables of docs/routing.md, from a model folder, its photographs and the test sets.

    python benchmarks/routing_study.py MODEL --photographs PHOTOGRAPHS --data TEST_SETS --write docs/routing.md

- signatures: learns the model's signatures anew and writes them beside its weights; confusion of unseen pictures.
- information: how much the expert of a block tells about the task, beside shuffled tasks (learns signatures, too).
- curve: PSNR against cost by effort, and with one expert forced in all blocks.
- cost: counted multiply-accumulates beside torch's counter and measured time.

``--part`` measures some of them alone; ``--limit`` takes fewer pictures. Tables in the file given to ``--write`` stand
between ``<!-- measured: NAME -->`` and ``<!-- end -->`` and are replaced.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from math import log2
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from moceir.allocator import keep_freed_memory
from moceir.config import ModelConfig
from moceir.evaluation import benchmark_set
from moceir.evaluation.report import markdown_table
from moceir.files import whole_file
from moceir.insight.learning import Amount, make_signatures
from moceir.insight.signatures import SIGNATURES_FILE, UNKNOWN, Signatures, confusion, confusion_rows, learn_signatures
from moceir.insight.validation import Sighting
from moceir.metrics import psnr_db
from moceir.models.cost import Route, network_cost
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision, shifted_decisions
from moceir.models.stripes import stripe_rows
from moceir.profiling import describe_machine, sample_picture
from moceir.reports import block_levels, block_names
from moceir.weights import load, resolve

PARTS = ("signatures", "information", "curve", "cost")
BENCHMARKS = ("cbsd68-s25", "rain100l")
EFFORTS = (-1.0, -0.1, -0.02, 0.0, 0.02, 0.1, 1.0)
SHUFFLES = 200
TIMED_SIZE, TIMED_ROUNDS = 256, 7


def signature_tables(
    config: ModelConfig, learnt: Signatures, seen: list[Sighting], unseen: list[Sighting]
) -> list[str]:
    """The confusion table, and how much each kind of feature would give alone."""
    gates = config.experts * sum(config.decoder_blocks)
    told = gates + config.channels(3)
    parts = {
        "all": slice(None),
        "scores of the routers alone": slice(gates),
        "frequency embedding alone": slice(gates, told),
        "what the network changed alone": slice(told, None),
    }
    singles = [sighting for sighting in unseen if sighting.task in learnt.tasks]
    rows: list[list[str]] = []
    for name, part in parts.items():
        known, asked = ([s._replace(features=s.features[part]) for s in group] for group in (seen, singles))
        cut = learn_signatures(known, learnt.tasks, weights="", patch_px=learnt.patch_px, seed=learnt.seed)
        table = confusion(cut, asked)
        right = sum(row.get(task, 0) for task, row in table.items()) / len(singles)
        unknown = sum(row.get(UNKNOWN, 0) for row in table.values()) / len(singles)
        rows.append([name, f"{right:.0%}", f"{unknown:.0%}", f"{1 - right - unknown:.0%}"])
    measured = Counter(sighting.task for sighting in unseen)
    return [
        f"Learnt from {learnt.fitted_on} training pictures per task; {max(measured.values())} unseen ones of each row; "
        f"centres of {learnt.patch_px} px, seed {learnt.seed}.",
        "",
        *markdown_table(("", "right", *learnt.tasks, UNKNOWN), confusion_rows(learnt.confusion, learnt.tasks)),
        "",
        *markdown_table(("features (single tasks)", "right", "unknown", "wrong"), rows),
    ]


def mutual_information_bits(pairs: Sequence[tuple[object, object]]) -> float:
    """Mutual information of two columns, by their frequencies; biased upwards where there are few rows."""
    joint, left, right = (Counter(column) for column in (pairs, [a for a, _ in pairs], [b for _, b in pairs]))
    total = len(pairs)
    return sum(n / total * log2(n * total / left[a] / right[b]) for (a, b), n in joint.items())


def information_table(config: ModelConfig, learnt: Signatures, unseen: list[Sighting]) -> list[str]:
    """Mutual information between task and expert by block, and of the whole route, beside shuffled tasks."""
    singles = [sighting for sighting in unseen if sighting.task in learnt.tasks]
    tasks = [sighting.task for sighting in singles]
    columns: dict[str, list[object]] = {
        name: [tuple(s.experts[block]) for s in singles] for block, name in enumerate(block_names(block_levels(config)))
    }
    columns["whole route"] = [tuple(map(tuple, s.experts)) for s in singles]
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(tasks), generator=generator).tolist() for _ in range(SHUFFLES)]
    rows: list[list[str]] = []
    for name, column in columns.items():
        found = mutual_information_bits(list(zip(tasks, column, strict=True)))
        chance = [mutual_information_bits([(tasks[i], x) for i, x in zip(o, column, strict=True)]) for o in orders]
        entropy = mutual_information_bits(list(zip(column, column, strict=True)))
        cells = (found, statistics.mean(chance), max(chance), entropy)
        rows.append([name, *(f"{value:.3f}" for value in cells), f"{len(set(column))}"])
    known = mutual_information_bits(list(zip(tasks, tasks, strict=True)))
    header = ("", "bits", "shuffled: mean", "shuffled: largest", "entropy of the choice", "different choices")
    lead = f"{len(singles)} unseen pictures, {len(learnt.tasks)} tasks ({known:.2f} bits), {SHUFFLES} shuffles."
    return [lead, "", *markdown_table(header, rows)]


def curve_table(network: MoCEIR, data: Path, limit: int | None) -> list[str]:
    """PSNR and cost by effort and with one expert forced, by the published protocol."""
    config = network.config
    blocks, complexities = sum(config.decoder_blocks), [router.complexity for router in network.routers()]
    forced = {f"expert {e} everywhere": ((e,),) * blocks for e in range(config.experts)} if config.top_k == 1 else {}
    columns: list[dict[str, list[float]]] = []
    counts: list[int] = []
    for name in BENCHMARKS:
        measured: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for pair in benchmark_set(name, data).pairs("published", 0, limit):
            degraded, clean = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (pair.degraded, pair.clean))
            restored, own = network.restore_with_routing(degraded)
            cost = network_cost(config, *degraded.shape[-2:])
            routes = {
                label(effort): route_of(shifted_decisions(own, complexities, effort) if effort else own)
                for effort in EFFORTS
            }
            results = {routes[label(0)]: restored}  # a route taken twice is restored once
            for way, route in (routes | forced).items():
                if route not in results:
                    results[route] = network.restore_with_routing(degraded, routes=as_tensor(route))[0]
                away = 255 * (results[route] - restored).abs().mean()
                measured[way].append((score(results[route], clean), cost.macs(route) / 1e9, float(away)))
        columns.append(
            {way: [statistics.mean(part) for part in zip(*rows, strict=True)] for way, rows in measured.items()}
        )
        counts.append(len(measured[label(0)]))
    rows = [
        [way, *(text for column in columns for text in map("{:.{}f}".format, column[way], (3, 2, 3)))]
        for way in columns[0]
    ]
    header = ["", *(cell for name in BENCHMARKS for cell in (f"{name}: PSNR, dB", "GMACs", "levels from auto"))]
    lead = " and ".join(f"{count} pictures of {name}" for name, count in zip(BENCHMARKS, counts, strict=True))
    return [f"{lead}, published protocol, seed 0.", "", *markdown_table(header, rows)]


def label(effort: float) -> str:
    """What an effort is called in the table."""
    return f"effort {effort:g}" + {-1: " (low)", 0: " (auto)", 1: " (high)"}.get(effort, "")


def route_of(decisions: Sequence[RoutingDecision]) -> Route:
    """The route of the only image."""
    return tuple(tuple(decision.experts[0].tolist()) for decision in decisions)


def as_tensor(route: Route) -> Tensor:
    """A route as the network takes it, for one image."""
    return torch.tensor(route).unsqueeze(1)


def score(restored: Tensor, clean: Tensor) -> float:
    """PSNR of the clipped result in dB."""
    return float(psnr_db(restored.clamp(0, 1), clean))


def cost_tables(network: MoCEIR) -> list[str]:
    """Whole pictures by route, and single experts by block: counted, counted by torch, and timed."""
    config = network.config
    picture = sample_picture(TIMED_SIZE, TIMED_SIZE)
    cost = network_cost(config, TIMED_SIZE, TIMED_SIZE)
    blocks = sum(config.decoder_blocks)
    width = config.top_k
    routes = [(tuple(range(e, e + width)),) * blocks for e in range(config.experts - width + 1)]
    calls = [partial(network.restore_with_routing, picture, routes=as_tensor(route)) for route in routes]
    seconds = timed(calls)
    rows: list[list[str]] = []
    for number, route in enumerate(routes):
        with stripe_rows(0), FlopCounterMode(display=False) as counter:
            network.restore_with_routing(picture, routes=as_tensor(route))
        macs, torchs = cost.macs(route), counter.get_total_flops() / 2
        ratios = (macs / cost.macs(routes[0]), seconds[number] / seconds[0])
        cells = [f"{macs / 1e9:.3f}", f"{100 * (macs / torchs - 1):+.3f} %", f"{cost.fft_ops(route) / 1e9:.2f}"]
        rows.append(
            ["+".join(map(str, route[0])), *cells, f"{1e3 * seconds[number]:.0f}", *(f"{r:.2f}" for r in ratios)]
        )
    machine = describe_machine("cpu")
    lead = (
        f"{TIMED_SIZE}x{TIMED_SIZE} pixels, {machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}."
    )
    header = ("expert in all blocks", "GMACs", "against torch's count", "FFT Gops", "ms", "GMACs, ratio", "ms, ratio")
    return [lead, "", *markdown_table(header, rows), "", *expert_table(network)]


def expert_table(network: MoCEIR) -> list[str]:
    """The mixture of each level with one expert: counted and timed, the share of the cheapest as 1."""
    config = network.config
    cost = network_cost(config, TIMED_SIZE, TIMED_SIZE)
    levels = block_levels(config)
    rows: list[list[str]] = []
    for level in dict.fromkeys(levels):
        block = levels.index(level)
        mixture = [part.mixture for stage in network.decoder for part in stage.blocks][block]
        side = TIMED_SIZE >> level
        x = torch.rand(1, config.channels(level), side, side).contiguous(memory_format=torch.channels_last)
        embedding = torch.rand(1, config.channels(3))
        ways = [torch.arange(e, e + config.top_k)[None] for e in range(config.experts - config.top_k + 1)]
        # In stripes the first map is used up, so that later calls get other numbers; the time is the same.
        seconds = timed([partial(mixture, x.clone(), embedding, x, None, way) for way in ways])
        for way, spent in zip(ways, seconds, strict=True):
            first = way[0].tolist()
            macs = sum(cost.expert_macs[block][e] for e in first)
            ratio = macs / sum(cost.expert_macs[block][: config.top_k])
            cells = [f"{config.expert_ranks(level)[first[0]]}", f"{macs / 1e6:.1f}", f"{1e3 * spent:.1f}"]
            rows.append([f"1/{2**level}, expert {first[0]}", *cells, f"{ratio:.1f}", f"{spent / seconds[0]:.1f}"])
    return markdown_table(("resolution, expert", "rank", "MMACs", "ms", "MMACs, ratio", "ms, ratio"), rows)


def timed(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Median seconds of each call, all of them in turn in each round."""
    taken: list[list[float]] = [[] for _ in calls]
    for lap in range(TIMED_ROUNDS + 1):
        for call, times in zip(calls, taken, strict=True):
            began = time.perf_counter()
            call()
            if lap:  # the first round warms up
                times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in taken]


def replace_tables(path: Path, name: str, lines: list[str]) -> None:
    """Put a table between its marks.

    Raises:
        SystemExit: If the file has no such marks.
    """
    text = path.read_text(encoding="utf-8")
    marks = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    body = "\n".join(lines) + "\n"
    text, found = marks.subn(lambda match: f"{match[1]}{body}{match[2]}", text)
    if not found:
        raise SystemExit(f"{path} has no place for '{name}'; expected <!-- measured: {name} --> and <!-- end -->")
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure, print, and put the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder, or a bundled name")
    parser.add_argument("--photographs", type=Path, help="folder that the model was trained on")
    parser.add_argument("--data", type=Path, help="folder that holds the test sets")
    parser.add_argument("--part", action="append", choices=PARTS, help="repeatable; all by default")
    parser.add_argument("--limit", type=int, help="pictures per test set and unseen pictures per task; all by default")
    parser.add_argument("--pictures", type=int, default=100, help="training pictures per task to learn from")
    parser.add_argument("--threads", type=int, help="of torch; its own choice by default")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    arguments = parser.parse_args()
    parts = arguments.part or PARTS
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    network = load(arguments.model)
    made: dict[str, list[str]] = {}
    if {"signatures", "information"} & set(parts):
        amount = Amount(arguments.pictures, arguments.limit or 100)
        learnt, seen, unseen = make_signatures(arguments.model, arguments.photographs, amount)
        learnt.save(resolve(arguments.model) / SIGNATURES_FILE)
        made["signatures"] = signature_tables(network.config, learnt, seen, unseen)
        made["information"] = information_table(network.config, learnt, unseen)
    with torch.no_grad():  # in inference mode torch's counter misses linear layers
        if "curve" in parts:
            made["curve"] = curve_table(network, arguments.data, arguments.limit)
        if "cost" in parts:
            made["cost"] = cost_tables(network)
    for name in parts:
        print(f"\n{name}\n", *made[name], sep="\n", flush=True)
        if arguments.write:
            replace_tables(arguments.write, name, made[name])


if __name__ == "__main__":
    main()
