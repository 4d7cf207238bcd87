"""How threads of the processor wait for each other.

torch shares its work among threads of OpenMP, which meet after every layer. GNU's OpenMP library lets those that come
first spin: on an idle machine this costs nothing, but beside other programs they take the cores that the last thread
needs. With fewer spins, they sleep sooner. ``benchmarks/busy.py`` measures both.
"""

from __future__ import annotations

import os
import sys

SPINS = "1000"
"""Turns that a waiting thread spins before it sleeps. The library's own number lies in the hundred thousands."""

CHOSEN_BY_USER = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def sleep_soon() -> None:
    """Let waiting threads sleep soon; does nothing if torch is loaded already, or if the user has chosen."""
    if "torch" not in sys.modules and not any(name in os.environ for name in CHOSEN_BY_USER):
        os.environ["GOMP_SPINCOUNT"] = SPINS
