"""Progress of restorations, and a way to stop one in the middle."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch

from moceir.config import ModelConfig
from moceir.models.execution import for_inference
from moceir.models.execution.stripes import watch_stripes
from moceir.models.network import MoCEIR

_listener: ContextVar[Callable[[float], object] | None] = ContextVar("_listener", default=None)


@contextmanager
def on_progress(listener: Callable[[float], object]) -> Generator[None]:
    """Report the finished share of each restoration inside a ``with`` block, in this thread.

    Args:
        listener: Called with a share in [0, 1], after each stripe of rows in each layer. An exception that it raises
            stops the restoration and reaches the caller of the restorer.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def report_progress(count_values: Callable[[], int]) -> Generator[None]:
    """Report the progress of the passes of the network inside a ``with`` block to the listener, if there is one.

    Args:
        count_values: Returns the number of values that ``watch_stripes`` will report in all passes together.
    """
    listener = _listener.get()
    if listener is None:
        yield
        return
    done, total = 0, count_values()

    def add(values: int) -> None:
        nonlocal done
        done += values
        listener(min(done / total, 1.0))

    listener(0.0)
    with watch_stripes(add):
        yield


@cache
def values_per_pixel(config: ModelConfig) -> int:
    """Count the values that ``watch_stripes`` reports for each padded pixel of a picture, whatever the weights."""
    # A network of its own: hooks of the loaded one, which observe pictures, must not see this.
    with torch.random.fork_rng(devices=[]):
        network = for_inference(MoCEIR(config))
    side = config.size_multiple
    values: list[int] = []
    with torch.inference_mode(), watch_stripes(values.append):
        network(torch.zeros(1, 3, side, side))
    return sum(values) // side**2
