"""Processes that were forked from one that computes."""

from __future__ import annotations

import os

import torch

from moceir.errors import ConfigError

_threads = {"started": False, "lost": False}
"""Whether this process has computed with several threads, and whether it was forked from one that had."""


def check_fork(device: torch.device) -> None:
    """Check that this process may compute; call it before it does.

    A fork copies the memory of a process but not its threads. OpenMP would wait for threads that no longer exist, for
    ever, and CUDA refuses with an error of its own. With one thread on the processor there is nothing to wait for.

    Raises:
        ConfigError: If this process was forked from one that computed with several threads, and would hang or fail.
    """
    several = device.type != "cpu" or torch.get_num_threads() > 1
    if several and _threads["lost"]:
        raise ConfigError(
            "this process was forked after the model was loaded, and lacks the threads of its parent; use "
            "multiprocessing.get_context('spawn'), or torch.set_num_threads(1) on the processor"
        )
    _threads["started"] |= several


def _note_fork() -> None:
    _threads["lost"] |= _threads["started"]


if hasattr(os, "register_at_fork"):  # where there are forks
    os.register_at_fork(after_in_child=_note_fork)
