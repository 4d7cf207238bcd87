"""The process of a server: from the open socket to the last answer."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI

from moceir.errors import ConfigError
from moceir.web.service import Service
from moceir.web.settings import ServeSettings

GRACE_S = 2
"""Time for answers on their way, and for open pages, once no picture is left."""
STOP_S = 5.0
"""Time for cancelled pictures to stop and for their answers; then the process ends without them."""


class DrainingServer(uvicorn.Server):
    """A server that finishes what it has accepted before it stops.

    The first signal to terminate closes the queue: pictures in it are finished and answered, and new ones get status
    503. After ``drain_seconds``, or at a second signal, what is left is cancelled. The server stops when no request is
    in hand.
    """

    def __init__(self, app: FastAPI) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S))
        self._service: Service = app.state.service
        self._stop_at_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain at the first signal, stop at the second."""
        now_s = time.monotonic()
        first = self._stop_at_s is None
        self._stop_at_s = now_s + self._service.settings.drain_seconds if first else now_s
        self._service.queue.close()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop; called ten times a second."""
        if self._stop_at_s is not None:
            late_s = time.monotonic() - self._stop_at_s
            if late_s > 0:
                self._service.queue.cancel_all()
            busy = len(self._service.queue) or self._service.in_hand
            if not busy or late_s > STOP_S:
                return True
        return await super().on_tick(counter)


def open_socket(settings: ServeSettings) -> socket.socket:
    """Listen at the address of the settings.

    Raises:
        ConfigError: If the system refuses it.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host.strip("[]"), settings.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {settings.host} port {settings.port}: {error.strerror or error}; give another --host or "
            "--port"
        ) from error


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until a signal to terminate, and finish what was accepted.

    Args:
        app: The application, from ``create_app``.
        listening: From `open_socket`.
    """
    _log_to_standard_error()
    DrainingServer(app).run([listening])
    if not app.state.service.queue.wait(STOP_S):
        os._exit(1)  # Python would wait for the worker, which is in the middle of something long


def _log_to_standard_error() -> None:
    """Write a line for each request, and what uvicorn has to say about failures."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("moceir.web", logging.INFO), ("uvicorn", logging.ERROR)):
        log = logging.getLogger(name)
        log.addHandler(handler)
        log.setLevel(level)
        log.propagate = False
