"""The answer to a picture of the page: a stream that tells the progress while the server works, then the result.

The stream is one JSON object per line: ``{"state": "waiting", "ahead": 2}``, ``{"state": "working", "share": 0.4}``, and
at the end ``{"state": "failed", "detail": "..."}`` or ``{"state": "done", ..., "blobs": [...]}``. The files that
``blobs`` lists follow the last line one after the other. When the client goes away, its picture leaves the queue at
once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from moceir.errors import MoceirError
from moceir.web.jobs import Job, JobCancelledError, State
from moceir.web.page.restoring import View, facts

TELL_EVERY_S = 0.2

log = logging.getLogger(__name__)


class JobStream(StreamingResponse):
    """A response that follows a job, and cancels it when the client goes away.

    Args:
        job: Makes a `View`.
        model: Public name of the model.
        limit_s: Longest time for the job.
    """

    def __init__(self, job: Job[View], model: str, limit_s: float) -> None:
        self._job = job
        # Proxies such as nginx would otherwise hold the progress back until they have enough of it.
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
        super().__init__(_lines(job, model, limit_s), media_type="application/x-ndjson", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()


async def _lines(job: Job[View], model: str, limit_s: float) -> AsyncGenerator[bytes]:
    """Yield the lines and files of the stream."""
    ends = time.monotonic() + limit_s
    future = asyncio.wrap_future(job.future)
    told: dict[str, Any] = {}
    while not future.done() and time.monotonic() < ends:
        status = job.status
        waits = status.state is State.QUEUED
        event = {"state": "waiting", "ahead": status.ahead} if waits else _working(status.progress)
        if event != told:
            told = event
            yield _line(event)
        await asyncio.wait([future], timeout=TELL_EVERY_S)
    if not future.done():
        job.cancel()
        yield _failed(f"the picture took longer than {limit_s:g} s; make it smaller")
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
        blobs = [
            (name, kind, data)
            for name, kind, data in (
                ("file", f"image/{view.result.format}", view.result.restored),
                ("before", "image/jpeg", view.before),
                ("after", "image/jpeg", view.after),
            )
            if data is not None
        ]
        listed = [{"name": name, "type": kind, "bytes": len(data)} for name, kind, data in blobs]
        yield _line({"state": "done", **facts(view, model), "blobs": listed})
        for _, _, data in blobs:
            yield data


def _working(share: float) -> dict[str, Any]:
    return {"state": "working", "share": round(share, 3)}


def _failed(detail: str) -> bytes:
    return _line({"state": "failed", "detail": detail[:1].upper() + detail[1:] + "."})


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"
