"""The answer to a picture of the page: a stream that tells the progress while the server works, then the result.

The stream is one JSON object per line: ``{"state": "waiting", "ahead": 2, "left": 9.5}`` or ``{"state": "working",
"share": 0.4, "left": 3.2}``, with ``left`` in seconds, and at the end ``{"state": "failed", "detail": "..."}`` or
``{"state": "done", ..., "blobs": [...]}``. The files that ``blobs`` lists follow the last line one after the other.
When the client goes away, its picture leaves the queue at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from moceir.errors import MoceirError
from moceir.image_io.formats import FORMATS
from moceir.web.jobs import Job, JobCancelledError, State, Status
from moceir.web.service import MEDIA_TYPES
from moceir.web.views import View

TELL_EVERY_S = 0.2

log = logging.getLogger(__name__)


class JobStream(StreamingResponse):
    """A response that follows a job, and cancels it when the client goes away.

    Args:
        job: Makes a `View`.
        model: Public name of the model.
        ends_s: Moment of ``time.monotonic()`` at which the job has taken too long.
    """

    def __init__(self, job: Job[View], model: str, ends_s: float) -> None:
        self._job = job
        # Proxies such as nginx would otherwise hold the progress back until they have enough of it.
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        super().__init__(_lines(job, model, ends_s), media_type="application/x-ndjson", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()


async def _lines(job: Job[View], model: str, ends_s: float) -> AsyncGenerator[bytes]:
    """Yield the lines and files of the stream."""
    future = asyncio.wrap_future(job.future)
    try:
        async for event in _events(job, future, ends_s):
            yield _line(event)
        for part in _ending(future, model):
            yield part
    finally:
        future.cancel()  # asyncio would report an exception that nobody asks for


async def _events(job: Job[View], future: asyncio.Future[View], ends_s: float) -> AsyncGenerator[dict[str, Any]]:
    """Yield what changes until the job is done or the time is over."""
    told: dict[str, Any] = {}
    while not future.done() and time.monotonic() < ends_s:
        event = _progress(job.status)
        if event != told:
            told = event
            yield event
        await asyncio.wait([future], timeout=TELL_EVERY_S)


def _ending(future: asyncio.Future[View], model: str) -> Iterator[bytes]:
    """Yield the last line, and the files that follow it."""
    if not future.done():
        yield _failed("the picture took longer than this server allows; make it smaller, or try again later")
        return
    try:
        view = future.result()
    except (asyncio.CancelledError, JobCancelledError):
        yield _failed("the restoration was cancelled because the server stops")
    except MoceirError as error:
        yield _failed(str(error))
    except Exception:
        log.exception("a picture of the page failed")
        yield _failed("the server failed at this picture; its log says why")
    else:
        result = view.result
        files = {
            "file": (result.format, result.restored),
            "before": ("jpeg", view.before),
            "after": ("jpeg", view.after),
        }
        blobs = [(name, kind, data) for name, (kind, data) in files.items() if data is not None]
        listed = [{"name": name, "type": MEDIA_TYPES[kind], "bytes": len(data)} for name, kind, data in blobs]
        yield _line({"state": "done", **_facts(view, model), "blobs": listed})
        yield from (data for _, _, data in blobs)


def _facts(view: View, model: str) -> dict[str, Any]:
    """Return what the page says about a result."""
    result = view.result
    return {
        "model": model,
        "width": result.width,
        "height": result.height,
        "upscale": result.upscale,
        "seconds": result.seconds,
        "tile_px": result.tile_px,
        "notes": result.notes,
        "suffixes": FORMATS[result.format],
        "routing": result.report.to_json(),
        "guess": view.guess.to_json() if view.guess else None,
    }


def _progress(status: Status) -> dict[str, Any]:
    left = round(status.seconds_left, 1)
    if status.state is State.QUEUED:
        return {"state": "waiting", "ahead": status.ahead, "left": left}
    return {"state": "working", "share": round(status.progress, 3), "left": left}


def _failed(detail: str) -> bytes:
    return _line({"state": "failed", "detail": detail})


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"
