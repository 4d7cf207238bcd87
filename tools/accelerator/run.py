"""Train there: one stretch, watched, its results kept in small files at every moment."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import torch

from moceir.errors import TrainingError
from moceir.machine.allocator import keep_freed_memory
from moceir.recipe import load_recipe
from moceir.training.options import TrainOptions
from moceir.training.run import train
from moceir.training.stretch import STATE_FILE
from tools.accelerator.networks import FIRST_LOOK_S, NETWORKS
from tools.accelerator.parcel import MANIFEST, receive, send, small_state

MARGIN_S = 25.0
"""Seconds kept for the last validation and for saving."""


class Watch:
    """Prints the rate after half a minute and then every minute; ends a run that is too slow.

    Args:
        expected: Patches per second to aim at.
        least: Patches per second below which the run ends.
        first_look_s: Seconds of training before the first look.
    """

    def __init__(self, expected: int, least: int, first_look_s: float = FIRST_LOOK_S) -> None:
        self._expected, self._least = expected, least
        self._next = first_look_s
        self._before = (0.0, 0)

    def __call__(self, seconds: float, samples: int) -> None:
        """Look at the rate since the last look.

        Raises:
            TrainingError: If it is below the least.
        """
        if seconds < self._next:
            return
        (then, fewer), self._before = self._before, (seconds, samples)
        self._next = seconds + 60
        rate = (samples - fewer) / (seconds - then)
        print(f"{seconds:.0f} s: {rate:.0f} patches per second ({self._expected} expected)", flush=True)
        if rate < self._least:
            raise TrainingError(
                f"{rate:.0f} patches per second are too few (at least {self._least}); the run ends to save the loan. "
                "Look at the chosen form of the step and at the load of the processors"
            )


class Courier(threading.Thread):
    """Sends each new version of the state, until it is told to stop.

    Args:
        state: The file that training saves.
        output: Folder of small files.
    """

    def __init__(self, state: Path, output: Path) -> None:
        super().__init__(daemon=True)
        self._state, self._output = state, output
        self._sent = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Look for a new version every second."""
        while not self._over.wait(1.0):
            self.send()

    def send(self) -> None:
        """Send the state if it is new."""
        if self._state.exists() and (version := self._state.stat().st_mtime_ns) != self._sent:
            send(STATE_FILE, small_state(self._state), self._output)
            self._sent = version

    def close(self) -> None:
        """Stop, and send what is new."""
        self._over.set()
        self.join()
        self.send()


def run(
    packed: Path,
    output: Path,
    *,
    network: str,
    seconds: float,
    device: str = "cuda",
    save_every_s: float = 120.0,
    changes: tuple[str, ...] = (),
    least: int | None = None,
    device_layers: bool = False,
) -> None:
    """Train one stretch.

    Args:
        packed: What ``pack`` made.
        output: Folder for the small files that travel back.
        network: ``tiny`` or ``small``.
        seconds: Time for everything: from here to the last file.
        device: Where to train.
        save_every_s: Seconds between two savings of the state.
        changes: Changes to the packed recipe.
        least: Patches per second below which the run ends, instead of those of the table.
        device_layers: Try device layers in compiled steps.
    """
    began = time.monotonic()
    keep_freed_memory()
    expected = NETWORKS[network]
    output.mkdir(parents=True, exist_ok=True)
    work = packed / "work"
    kind = torch.cuda.get_device_name() if device == "cuda" else "processor"
    cores = os.cpu_count() or 1
    print(f"device: {kind}, {cores} cores, torch {torch.__version__}", flush=True)
    settings = packed / "state"
    state = work / STATE_FILE
    if not state.exists() and (settings / MANIFEST).exists():  # a state that lies there is that of a broken-off run
        receive(settings, work)
    goes_on = state.exists()
    print(f"goes on from {state}" if goes_on else "begins a first stretch", flush=True)
    options = TrainOptions(
        data=packed / "data" / "photographs",
        output=work,
        continue_from=state if goes_on else None,
        start=None if goes_on else (settings / "start.txt").read_text().strip(),
        max_seconds=max(seconds - MARGIN_S - (time.monotonic() - began), 1.0),
        workers=max(cores - 2, 0) if device == "cuda" else 0,
        device=device,
        device_layers=device_layers,
        save_every_s=save_every_s,
        watch=Watch(expected.rate, expected.least if least is None else least),
    )
    courier = Courier(work / STATE_FILE, output)
    courier.start()
    try:
        folder = train(load_recipe(settings / "recipe.yaml", changes), options)
    finally:
        courier.close()
    for file in sorted(folder.iterdir()):
        send(file.name, file.read_bytes(), output)
    print(
        f"done after {time.monotonic() - began:.0f} s; {sum(f.stat().st_size for f in output.iterdir()) / 1e6:.1f} MB"
    )
