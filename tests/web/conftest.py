"""Servers that tests share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Serve, Served, running


@pytest.fixture(scope="session")
def serving(model_folder: Path) -> Iterator[Serve]:
    """Start servers with given settings; they stop at the end."""
    with contextlib.ExitStack() as stack:

        def start(**changes: Any) -> Served:
            given = {"models": (str(model_folder),), "options": {"device": "cpu"}, "port": 0}
            return stack.enter_context(running(**given | changes))

        yield start


@pytest.fixture(scope="session")
def server(serving: Serve) -> Served:
    """A server with a queue of four and bodies of up to 3 MB."""
    return serving(queue_length=4, max_body="3MB")
