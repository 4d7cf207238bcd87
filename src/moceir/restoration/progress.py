"""Progress of restorations, and a way to stop one in the middle."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from moceir.models.execution.stripes import watch_stripes

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
