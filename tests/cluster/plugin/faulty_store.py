"""A local folder as a store that fails now and then, and kills who reads certain objects: ``faulty:///folder``.

Workers on Ray find it as an fsspec plugin, so this imports nothing of the tests.
"""

from __future__ import annotations

import os
import random
import signal
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

POISON = "poison"


class FaultyFileSystem(AbstractFileSystem):
    """Passes calls on to the local file system; one in twenty fails first."""

    protocol = "faulty"
    share = 0.05
    failures = 0
    seed: int | None = None
    """Of the failures; None for another one in each process."""
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._local = LocalFileSystem()
        self._random = random.Random(os.getpid() if self.seed is None else self.seed)  # noqa: S311 - not a secret

    def __getattribute__(self, name: str) -> Any:
        if name not in ("ls", "cat_file", "pipe_file", "mv", "rm_file", "makedirs", "put_file", "get_file"):
            return super().__getattribute__(name)
        call = getattr(self._local, name)

        def stumble(path: str, *arguments: Any, **named: Any) -> Any:
            if name == "cat_file" and POISON in path:
                os.kill(os.getpid(), signal.SIGKILL)
            if self._random.random() < self.share:
                type(self).failures += 1
                raise ConnectionResetError("the store stumbled")
            return call(path, *arguments, **named)

        return stumble
