"""Putting the page into the web application: its routes, and Gradio behind a guard."""

from __future__ import annotations

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moceir.errors import ConfigError
from moceir.web.page.layout import EXAMPLES, HERE, build_page, theme
from moceir.web.page.stream import JobStream
from moceir.web.problems import Problem
from moceir.web.service import Service

FILES = HERE / "files"
HEAD = """
<link rel="stylesheet" href="files/page.css" />
<link rel="icon" href="files/icon.svg" />
"""
NEEDED = re.compile(r"/(assets/.*|static/.*|theme\.css|favicon\.ico)?")
"""Paths of Gradio that the page needs. Others could store uploads, read files and fetch addresses."""
MARGIN_S = 1.0
"""How long before the end of the time for a request a picture is given up, so that the page can still say so."""
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""The browser itself refuses to connect to other hosts. Gradio needs inline scripts and ``eval``."""


def mount_page(app: FastAPI, service: Service) -> None:
    """Put the page into the application at ``/page/``; the root leads there.

    Args:
        app: The application.
        service: Restores the pictures.
    """
    app.include_router(_routes(service))
    app.mount("/page/files", StaticFiles(directory=FILES))

    async def mount() -> None:
        gr.mount_gradio_app(
            app,
            build_page(service),
            path="/page",
            app_kwargs={"middleware": [Middleware(Guard)]},
            theme=theme(),
            head=HEAD,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            show_error=False,
        )

    # Where no event loop runs, Gradio makes one and never closes it. The thread has none of the caller's.
    with ThreadPoolExecutor(1) as outside:
        outside.submit(lambda: asyncio.run(mount())).result()


class Guard:
    """Gradio with only the paths that the page needs, and with headers that keep the browser at this host."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope["root_path"])
        if scope["method"] not in ("GET", "HEAD") or not NEEDED.fullmatch(path):
            await Problem(HTTPStatus.NOT_FOUND, "there is nothing at this address; see /docs")(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["Referrer-Policy"] = "no-referrer"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        # Gradio reads files that a query names.
        await self._app({**scope, "query_string": b""}, receive, send_guarded)


def _routes(service: Service) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def root() -> RedirectResponse:
        return RedirectResponse("page/", HTTPStatus.SEE_OTHER)

    @router.get("/favicon.ico")
    def icon() -> FileResponse:
        return FileResponse(FILES / "icon.svg")

    @router.post("/page/restore")
    async def restore(request: Request, options: str = "{}") -> JobStream:
        ends_s = time.monotonic() + max(service.settings.seconds - MARGIN_S, 0.0)
        asked = _parse(options)
        wanted = asked.pop("model", None)
        upscale = asked.get("upscale")
        if upscale not in (None, 1):  # the control for enlarging chooses the model as well
            wanted = None
        model = service.model(None if wanted is None else str(wanted), upscale).name
        job = service.view(await request.body(), model, **asked)
        return JobStream(job, model, ends_s)

    @router.get("/page/examples/{name}")
    def example(name: str) -> FileResponse:
        if name not in EXAMPLES:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return FileResponse(examples_folder() / name)

    return router


def examples_folder() -> Path:
    """Return where the example pictures lie: in the installed package, or in the repository."""
    packaged = HERE / "examples"
    return packaged if packaged.is_dir() else HERE.parents[3] / "examples" / "degraded"


def _parse(options: str) -> dict[str, Any]:
    try:
        asked = json.loads(options)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise ConfigError("the options of the page are not a JSON object; reload the page")
    return asked
