"""Putting the page into the web application: its routes, and Gradio behind a guard."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moceir.errors import ConfigError
from moceir.web.page.layout import EXAMPLES, HERE, build_page, theme
from moceir.web.page.restoring import View, restore_for_view
from moceir.web.page.stream import JobStream
from moceir.web.service import Service

STATIC = HERE / "static"
HEAD = """
<link rel="stylesheet" href="page/static/page.css" />
<link rel="icon" href="page/static/icon.svg" />
"""
NEEDED = re.compile(r"/(assets/.*|static/.*|theme\.css|favicon\.ico)?")
"""Paths of Gradio that the page needs. Others could store uploads, read files and fetch addresses."""
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""The browser itself refuses to connect to other hosts. Gradio needs inline scripts and ``eval``."""


def mount_page(app: FastAPI, service: Service) -> None:
    """Put the page at the root of the application; call it after all other routes are there.

    Args:
        app: The application.
        service: Restores the pictures.
    """
    app.include_router(_routes(service))
    app.mount("/page/static", StaticFiles(directory=STATIC))
    gr.mount_gradio_app(
        app,
        build_page(list(service.models), service.model(None).restorer.options),
        path="/",
        app_kwargs={"middleware": [Middleware(Guard)]},
        theme=theme(),
        head=HEAD,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
    )


class Guard:
    """Gradio with only the paths that the page needs, and with headers that keep the browser at this host."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD") or not NEEDED.fullmatch(get_route_path(scope)):
            await PlainTextResponse("There is nothing here.", 404)(scope, receive, send)
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
    router = APIRouter(prefix="/page", include_in_schema=False)

    @router.post("/restore")
    async def restore(request: Request, options: str = "{}") -> JobStream:
        asked = _parse(options)
        model = service.model(asked.pop("model", None))
        restorer = service.restorer(model.name, asked)
        data = await request.body()

        def work() -> View:
            return restore_for_view(restorer, data, model.signatures)

        return JobStream(service.queue.submit(work), model.name, service.settings.seconds)

    @router.get("/examples/{name}")
    def example(name: str) -> FileResponse:
        if name not in EXAMPLES:
            raise HTTPException(404)
        return FileResponse(examples_folder() / name)

    return router


def examples_folder() -> Path:
    """Return where the example pictures lie: in the installed package, or in the repository."""
    packaged = HERE / "examples"
    return packaged if packaged.is_dir() else HERE.parents[3] / "examples" / "degraded"


def _parse(options: str) -> dict[str, Any]:
    try:
        asked = json.loads(options)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise ConfigError("the options of the page are not a JSON object; reload the page")
    return asked
