"""Load the work of a command only when the command is called."""

from __future__ import annotations

import gc
import importlib
from typing import Any


def implementation(command: str) -> Any:
    """Import ``moceir.cli.run.COMMAND``, which may take seconds: torch and its like come with it.

    The modules that declare commands only name it, so that ``--help`` and usage errors answer at once.

    Returns:
        The module. The command calls its ``run`` function.
    """
    try:
        return importlib.import_module(f"moceir.cli.run.{command}")
    finally:
        # Imports create many objects and hardly any garbage: a process of our own does not search them, now or later.
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
