"""Servers for tests, on loopback in a thread of the test's process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from moceir import image_io
from moceir.web.app import create_app
from moceir.web.server import DrainingServer, open_socket
from moceir.web.service import Service
from moceir.web.settings import ServeSettings


@dataclass
class Served:
    """A running server.

    Attributes:
        url: Its address.
        http: A connection to it, with the token.
        service: What is behind it.
    """

    url: str
    http: httpx.Client
    service: Service

    def restore(self, data: bytes, name: str = "a.png", path: str = "/v1/restore", **options: Any) -> httpx.Response:
        return self.http.post(path, files={"picture": (name, data)}, data={k: str(v) for k, v in options.items()})

    @contextlib.contextmanager
    def busy(self, pictures: int = 1) -> Iterator[None]:
        """Fill places of the queue with work that ends with the block."""
        until(lambda: not len(self.service.queue))  # what an earlier request left may not be over yet
        gate = threading.Event()
        jobs = self.service.queue.submit_all([gate.wait] * pictures)
        try:
            yield
        finally:
            gate.set()
            for job in jobs:
                job.future.result(10)


Serve = Callable[..., Served]


@contextlib.contextmanager
def running(**given: Any) -> Iterator[Served]:
    """Run a server with given settings inside a ``with`` block."""
    settings = ServeSettings(**given)
    app = create_app(settings)
    listening = open_socket(settings)
    server = DrainingServer(app)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    headers = {} if settings.token is None else {"Authorization": f"Bearer {settings.token}"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as http:
            yield Served(url, http, app.state.service)
    finally:
        server.should_exit = True
        thread.join(20)


def picture(height: int = 24, width: int = 40, kind: str = "png", seed: int = 0) -> bytes:
    """A file with seeded noise."""
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image_io.encode(image_io.Picture(rgb), kind)


def until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
