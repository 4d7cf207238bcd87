"""Measure training: images per second, the time of each part of a step, and how fast pairs are made.

    python benchmarks/training.py [--photographs FOLDER] [--json training.json]

Steps are those of ``moceir train`` (Lightning, the recipe's mixture of tasks, loss, clipping, AdamW). Three networks
are compared, each in its own process: the package with the allocator that ``moceir train`` sets; the plain network
with NCHW tensors and the default allocator, as in a plain script; and the plain network with the allocator of
the package, which shows how much of the gain is due to the allocator. The processes take turns with blocks of steps,
so that other load on the machine affects all of them. Without ``--photographs``, the script draws pictures, always
the same.
"""

from __future__ import annotations

import moceir  # noqa: F401 - before torch, so that threads wait for each other as in the command

# isort: split
import argparse
import logging
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from recording import add_result_options, describe_processor, print_machine, save_results
from torch import Tensor

from moceir import image_io
from moceir.data.synthesis import sample_generator, to_8_bit
from moceir.degradations import Spec, degrade, parse
from moceir.evaluation.profiling import wait_for
from moceir.evaluation.report import markdown_table
from moceir.machine.allocator import keep_freed_memory
from moceir.machine.devices import choose_device
from moceir.models.network import MoCEIR
from moceir.models.presets import preset
from moceir.recipe import Recipe, load_recipe
from moceir.training.callbacks import FiniteGradients
from moceir.training.data import Pairs
from moceir.training.module import RestorationModule
from moceir.training.schedule import ScheduleCallback

RECIPE = Path(__file__).parents[1] / "recipes" / "tiny.yaml"
PHASES = ("data", "forward", "backward", "optimiser")
NETWORKS = ("package", "plain", "plain, memory kept")
WARM_UP_STEPS = 1
"""Steps of each block that are not measured; the first one creates the state of the optimiser."""

_steps_of: Callable[[int, int], list[dict[str, float]]]
"""Function of a measuring process: takes the number and length of a block, returns seconds by phase of each step."""


class PlainModule(RestorationModule):
    """Training of the plain network with NCHW tensors."""

    @property
    def training_view(self) -> MoCEIR:
        """Plain network."""
        return self.network.to(memory_format=torch.contiguous_format)


class Clock(L.Callback):
    """Callback that measures the phases of each step. Forward includes the loss; optimiser includes clipping."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps: list[dict[str, float]] = []
        """Seconds by phase, for each step."""
        self._current: dict[str, float] = {}
        self._last = 0.0

    def _lap(self, phase: str) -> None:
        wait_for(self.device)
        now = time.perf_counter()
        self._current[phase] = now - self._last
        self._last = now

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the first phase, waiting for data."""
        self._last = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        """End the phase of waiting for data."""
        self._lap("data")

    def on_before_backward(self, *_: Any) -> None:
        """End the forward phase."""
        self._lap("forward")

    def on_after_backward(self, *_: Any) -> None:
        """End the backward phase."""
        self._lap("backward")

    def on_train_batch_end(self, *_: Any) -> None:
        """End the phase of the optimiser, and the step."""
        self._lap("optimiser")
        self.steps.append(self._current)
        self._current = {}


def main() -> None:
    """Measure the chosen parts, print tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=("step", "loader", "synthesis"),
        metavar="PART",
        default=["step", "loader", "synthesis"],
        help="step, loader, synthesis; default: all",
    )
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="recipe that gives tasks, loss and optimiser")
    parser.add_argument("--photographs", type=Path, help="folder of clean pictures")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--patch", type=int, default=64, help="side of the patches, in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--blocks", type=int, default=4, help="number of blocks per network")
    parser.add_argument("--steps", type=int, default=4, help="number of measured steps per block")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="numbers of loader processes to try")
    parser.add_argument("--samples", type=int, default=200, help="number of pairs per measurement")
    add_result_options(parser)
    options = parser.parse_args()

    keep_freed_memory()  # as moceir train does
    torch.set_num_threads(options.threads)
    quiet()
    device = choose_device(options.device)
    recipe = load_recipe(
        options.recipe,
        [f"model={options.preset}", f"stages=[{{share: 1, patch_px: {options.patch}, batch: {options.batch}}}]"],
    )
    if not recipe.tasks:
        parser.error(f"{options.recipe} has sources instead of tasks; give a recipe with tasks")
    machine = describe_processor(options.threads, options.device)
    machine |= {key: getattr(options, key) for key in ("blocks", "steps", "samples")}
    print_machine(machine)
    rows: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as drawn:
        data = options.photographs or draw_photographs(Path(drawn))
        if "step" in options.parts:
            rows["training"] = measure_steps(
                recipe, data, options.device, options.threads, options.blocks, options.steps
            )
        if "loader" in options.parts:
            rows["training_loader"] = measure_loader(recipe, data, options.workers, options.samples)
        if "synthesis" in options.parts:
            rows["training_synthesis"] = measure_synthesis(recipe, data, device, options.samples)
    asked = {key: getattr(options, key) for key in ("preset", "patch", "batch")}
    save_results(machine, options, **{name: [asked | row for row in found] for name, found in rows.items()})


def draw_photographs(folder: Path, count: int = 12) -> Path:
    """Write pictures of 480x320 pixels with smooth shading, texture and edges, always the same."""
    y, x = np.mgrid[0:320, 0:480].astype(np.float32) / 100
    for number in range(count):
        rng = np.random.default_rng(number)
        waves = [np.sin(fx * x + fy * y + p) for fx, fy, p in rng.uniform(-6, 6, (9, 3))]
        shading = np.stack(waves, axis=-1).reshape(320, 480, 3, 3).sum(-1)
        edges = 0.8 * (waves[0] + waves[4] > 0.3)[..., None]
        levels = 128 + 40 * (shading + edges) + rng.normal(0, 6, shading.shape)
        image_io.write(folder / f"{number:02}.png", image_io.Picture(levels.clip(0, 255).astype(np.uint8)))
    return folder


def loaders(recipe: Recipe, data: Path, workers: int) -> tuple[Pairs, ScheduleCallback]:
    """Create the loaders of a training run, with decoded photographs."""
    pairs = Pairs(recipe, data, workers=workers)
    schedule = ScheduleCallback(recipe.optimizer, 10**6, None)  # far from the end, where the patches would change
    pairs.follow(schedule)
    pairs.setup("fit")
    return pairs, schedule


def quiet_trainer(
    device: torch.device, steps: int, callbacks: Sequence[L.Callback], clip_norm: float | None
) -> L.Trainer:
    """Create a trainer that makes the steps of ``moceir train`` and nothing else."""
    return L.Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=1,
        max_steps=steps,
        gradient_clip_val=clip_norm,
        callbacks=list(callbacks),
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def measure_steps(
    recipe: Recipe, data: Path, device: str, threads: int, blocks: int, steps: int
) -> list[dict[str, Any]]:
    """Measure blocks of steps of the networks in turns, on the same batches and from the same weights."""
    context = multiprocessing.get_context("spawn")
    pools = {
        network: ProcessPoolExecutor(
            1, context, initializer=prepare_steps, initargs=(network, recipe, data, device, threads)
        )
        for network in NETWORKS
    }
    done: dict[str, list[dict[str, float]]] = {network: [] for network in NETWORKS}
    try:
        wait([pool.submit(int) for pool in pools.values()])  # start all processes before measuring
        for block in range(blocks):
            for network, pool in pools.items():
                done[network] += pool.submit(take_steps, block, steps).result()
    finally:
        for pool in pools.values():
            pool.shutdown()
    batch = recipe.stages[0].batch
    results = [{"network": network, **summarise(measured, batch)} for network, measured in done.items()]
    rows = [
        [row["network"], *(f"{row[key]:.2f}" for key in ("images_per_s", "images_per_s_best"))]
        + [f"{row['seconds'][phase]:.3f}" for phase in PHASES]
        + [f"{row['share'][phase]:.1%}" for phase in PHASES]
        for row in results
    ]
    header = ("step", "images/s", "best", *(f"{p}, s" for p in PHASES), *PHASES)
    print("\n".join(markdown_table(header, rows)), end="\n\n", flush=True)
    ours, *others = results
    for theirs in others:
        speed_up = {key: ours[key] / theirs[key] for key in ("images_per_s", "images_per_s_best")}
        theirs["speed_up"], theirs["speed_up_best"] = speed_up.values()
        print(
            "the package is {:.2f}x as fast (best steps: {:.2f}x) as {}".format(*speed_up.values(), theirs["network"])
        )
    print(flush=True)
    return results


def prepare_steps(network: str, recipe: Recipe, data: Path, device: str, threads: int) -> None:
    """Prepare the training of a network and its data. Runs in a measuring process."""
    global _steps_of
    if network != "plain":
        keep_freed_memory()
    torch.set_num_threads(threads)
    quiet()
    place = choose_device(device)
    pairs, schedule = loaders(recipe, data, workers=0)
    torch.manual_seed(0)
    config = preset(str(recipe.model))
    module = (RestorationModule if network == "package" else PlainModule)(recipe, config, pairs.names)

    def steps_of(block: int, steps: int) -> list[dict[str, float]]:
        pairs.recipe = recipe.model_copy(update={"seed": block})  # each block has other samples
        clock = Clock(place)
        callbacks = [schedule, FiniteGradients(), clock]
        quiet_trainer(place, WARM_UP_STEPS + steps, callbacks, recipe.optimizer.clip_norm).fit(module, pairs)
        return clock.steps[WARM_UP_STEPS:]

    _steps_of = steps_of


def take_steps(block: int, steps: int) -> list[dict[str, float]]:
    """Make a block of steps and return seconds by phase for each. Runs in a measuring process."""
    return _steps_of(block, steps)


def quiet() -> None:
    """Silence the messages of Lightning about each of the many short trainings."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")


def summarise(steps: Sequence[dict[str, float]], batch: int) -> dict[str, Any]:
    """Summarise steps by medians, and by the best step, which is the least disturbed by other load."""
    totals = [sum(step.values()) for step in steps]
    seconds = {phase: statistics.median(step[phase] for step in steps) for phase in PHASES}
    return {
        "images_per_s": batch / statistics.median(totals),
        "images_per_s_best": batch / min(totals),
        "seconds": seconds,
        "share": {phase: seconds[phase] / sum(seconds.values()) for phase in PHASES},
    }


def measure_loader(recipe: Recipe, data: Path, workers: Sequence[int], samples: int) -> list[dict[str, float]]:
    """Measure the pairs per second of the loader without training, by the number of its processes."""
    results: list[dict[str, float]] = []
    for count in workers:
        pairs, _ = loaders(recipe, data, count)
        pairs.trainer = quiet_trainer(torch.device("cpu"), 1, (), None)
        batches = iter(pairs.train_dataloader())
        next(batches)  # starts the processes
        wanted = max(1, samples // recipe.stages[0].batch)
        began = time.perf_counter()
        for _ in range(wanted):
            next(batches)
        results.append(
            {"workers": count, "pairs_per_s": wanted * recipe.stages[0].batch / (time.perf_counter() - began)}
        )
        del batches  # ends them
    rows = [[str(row["workers"]), f"{row['pairs_per_s']:.0f}"] for row in results]
    print("\n".join(markdown_table(("loader processes", "pairs/s"), rows)), end="\n\n", flush=True)
    return results


def measure_synthesis(recipe: Recipe, data: Path, device: torch.device, samples: int) -> list[dict[str, Any]]:
    """Measure the pairs per second of the degradations: one by one, as in the loader, and in batches by device."""
    pairs, _ = loaders(recipe, data, 0)
    pairs.trainer = quiet_trainer(torch.device("cpu"), 1, (), None)
    clean = next(iter(pairs.train_dataloader())).clean
    tasks = {text: parse(text) for text in (*recipe.tasks, "snow", "clean")}
    chances = torch.tensor(list(recipe.tasks.values()))
    drawn = chances.multinomial(samples, replacement=True, generator=sample_generator("benchmark"))
    mixtures = {"mixture": [tasks[list(recipe.tasks)[i]] for i in drawn.tolist()]}
    mixtures |= {text: [spec] * samples for text, spec in tasks.items()}
    places = dict.fromkeys([torch.device("cpu"), device])
    results: list[dict[str, Any]] = []
    for task, specs in mixtures.items():
        row: dict[str, Any] = {"task": task, "one_by_one": samples / seconds_one_by_one(clean, specs)}
        row |= {f"batches_{place.type}": samples / seconds_in_batches(clean.to(place), specs) for place in places}
        results.append(row)
    header = ("pairs/s", "one by one", *(f"batches on {place.type}" for place in places))
    rows = [[row["task"], *(f"{value:.0f}" for value in list(row.values())[1:])] for row in results]
    print("\n".join(markdown_table(header, rows)), end="\n\n", flush=True)
    return results


def seconds_one_by_one(clean: Tensor, specs: Sequence[Spec]) -> float:
    """Measure the seconds for one pair per degradation, each with its own generator."""

    def make() -> None:
        for number, spec in enumerate(specs):
            generator = sample_generator("benchmark", number)
            to_8_bit(degrade(clean[number % len(clean)][None], spec, generator))

    return seconds_of(make, clean.device)


def seconds_in_batches(clean: Tensor, specs: Sequence[Spec]) -> float:
    """Measure the seconds for one pair per degradation, in batches on the device of the clean pictures.

    Parameters are drawn on the processor, where reading them needs no synchronisation; fields are drawn on the device.
    """
    fields = torch.Generator(clean.device).manual_seed(0)

    def make() -> None:
        numbers = sample_generator("benchmark")
        for first in range(0, len(specs), len(clean)):
            drawn = [spec.draw(numbers) for spec in specs[first : first + len(clean)]]
            to_8_bit(degrade(clean[: len(drawn)], drawn, fields))

    return seconds_of(make, clean.device)


def seconds_of(act: Callable[[], None], device: torch.device) -> float:
    """Measure the seconds of the second of two calls."""
    act()
    wait_for(device)
    began = time.perf_counter()
    act()
    wait_for(device)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
