"""Processes that were forked from one that had threads."""

from __future__ import annotations

import os

from moceir.errors import ConfigError

_started: set[str] = set()
"""Libraries that have started threads in this process."""
_lost: set[str] = set()
"""Libraries that had started threads in a process that this one was forked from."""


def check_fork(library: str) -> None:
    """Check that a library's threads are there or can be started; call it before using them.

    A fork copies the memory of a process but not its threads. OpenMP and libvips then wait for ever for threads that
    no longer exist, and CUDA refuses with an error of its own.

    Args:
        library: Its name, for example ``libvips``.

    Raises:
        ConfigError: If this process was forked from one that had used the library.
    """
    if library in _lost:
        raise ConfigError(
            f"this process was forked from one that had used {library}, whose threads are missing here; start workers "
            "with multiprocessing.get_context('spawn')"
        )
    _started.add(library)


if hasattr(os, "register_at_fork"):  # not where there are no forks
    os.register_at_fork(after_in_child=lambda: _lost.update(_started))
