"""What every request passes: access, limits of number and time, the log and the counters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from http import HTTPStatus

from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moceir.web.access import refusal
from moceir.web.jobs import DrainingError, QueueFullError
from moceir.web.problems import Problem, of_error
from moceir.web.service import Service

LOG = logging.getLogger("moceir.web")
WORK = ("/v1/", "/page/restore")
"""How the paths of requests with pictures begin."""
LOGGED = (
    *("/v1/restore", "/v1/restore/batch", "/v1/inspect", "/v1/models"),
    *("/page/restore", "/health", "/ready", "/metrics"),
)
"""Paths that the log and the counters name; all others may be what a client made up."""
METHODS = ("GET", "POST", "HEAD", "OPTIONS")
CLIENT_LEFT = 499
"""Status in the log and the counters of a request whose client left, as nginx writes it."""
LINGER_S = 2.0
"""How long the rest of a refused upload is read, so that the client sees the answer and not a broken connection."""


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: The application.
        service: Its settings, queue and counters. ``service.in_hand`` counts requests that hold an upload.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "http":
            exchange = _Exchange(receive, send, self.service.settings.max_body)
            began = time.monotonic()
            try:
                await self._answer(scope, exchange)
            except Exception:
                exchange.status = HTTPStatus.INTERNAL_SERVER_ERROR
                raise
            finally:
                self._record(scope, exchange.status, time.monotonic() - began)
        else:
            refused = refusal(self.service.settings, scope) if scope["type"] == "websocket" else None
            await (refused or self.app)(scope, receive, send)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        refused = refusal(self.service.settings, scope)
        if refused is None and _content_length(scope) > exchange.max_body:
            refused = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, exchange.too_large, error="TooLargeError")
        is_work = scope["method"] == "POST" and scope["path"].startswith(WORK)
        if refused is None and is_work:
            refused = self._no_room()
        if refused is not None:
            await _refuse(refused, scope, exchange)
        elif is_work:
            await self._work(scope, exchange)
        else:
            await self.app(scope, exchange.receive, exchange.send)

    def _no_room(self) -> Problem | None:
        """Return the answer to a request with pictures if there is no place for it."""
        service = self.service
        try:
            service.queue.check_room()
            if service.in_hand >= service.settings.queue_length:
                raise QueueFullError(f"{service.in_hand} requests are in hand, and that is the limit; try again", 1)
        except (QueueFullError, DrainingError) as error:
            return of_error(error)
        return None

    async def _work(self, scope: Scope, exchange: _Exchange) -> None:
        """Let a request with pictures through, for a limited time."""
        seconds = self.service.settings.seconds
        self.service.in_hand += 1
        try:
            async with asyncio.timeout(seconds):
                await self.app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            if not exchange.answering:
                status = HTTPStatus.GATEWAY_TIMEOUT if exchange.uploaded else HTTPStatus.REQUEST_TIMEOUT
                what = "answer" if exchange.uploaded else "upload"
                detail = f"the {what} took longer than {seconds:g} s; send smaller pictures or fewer at a time"
                await Problem(status, detail, error="ServerError")(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass
        finally:
            self.service.in_hand -= 1

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in LOGGED else "other"
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.service.metrics.count_request(method, path, status, seconds)
        LOG.info("%s %s %d %.3f s", method, path, status, seconds)


class _Exchange:
    """One request and its answer on their way.

    Attributes:
        max_body: Largest body in bytes.
        status: Status of the answer; `CLIENT_LEFT` until there is one.
        answering: Whether the answer has begun.
        uploaded: Whether the whole body has come.
    """

    def __init__(self, receive: Receive, send: Send, max_body: int) -> None:
        self._receive, self._send = receive, send
        self._bytes = 0
        self.max_body = max_body
        self.status: int = CLIENT_LEFT
        self.answering = self.uploaded = False

    @property
    def too_large(self) -> str:
        """The text for a body above the limit."""
        return f"the body is larger than the limit of {self.max_body / 1e6:g} MB; send smaller pictures or fewer"

    async def receive(self) -> Message:
        """Receive a part of the body.

        Raises:
            HTTPException: If the body is too large.
        """
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > self.max_body:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self.too_large)
        self.uploaded = self.uploaded or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        self.answering = True
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


async def _refuse(answer: Response, scope: Scope, exchange: _Exchange) -> None:
    """Send an answer without having looked at the body."""
    if "expect" not in Headers(scope=scope):  # who expects 100-continue waits for the answer before the upload
        with contextlib.suppress(TimeoutError, HTTPException):
            async with asyncio.timeout(LINGER_S):
                while (await exchange.receive()).get("more_body", False):
                    pass
    await answer(scope, exchange.receive, exchange.send)


def _content_length(scope: Scope) -> int:
    """Return the announced length of a body in bytes; 0 if there is none."""
    announced = Headers(scope=scope).get("content-length", "")
    return int(announced) if announced.isdecimal() else 0
