"""The web application: everything under one address."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from moceir.errors import MoceirError
from moceir.web import access, api, problems
from moceir.web.gate import Gate
from moceir.web.page import mount_page
from moceir.web.problems import Problem
from moceir.web.service import Service
from moceir.web.settings import ServeSettings

DESCRIPTION = """Give it any degraded photograph and it gives back a clean one, without being told what is wrong.

Pictures are restored one at a time, in order of arrival. They stay on the server's machine, in memory, until they are
answered. Errors are problem documents (RFC 9457)."""


def create_app(settings: ServeSettings) -> FastAPI:
    """Build the application and load its models; ``app.state.service`` is the `Service` behind it.

    Args:
        settings: Models, limits and token.

    Raises:
        ConfigError: If an option is wrong.
        WeightsError: If a model cannot be loaded.
    """
    service = Service(settings)
    app = FastAPIOffline(  # its documentation loads nothing from other hosts
        redoc_url=None,
        title="moceir",
        version=version("moceir"),
        description=DESCRIPTION,
    )
    app.state.service = service
    app.include_router(api.router)
    app.include_router(access.router)
    mount_page(app, service)
    app.add_exception_handler(MoceirError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_unexpected)
    app.add_middleware(Gate, service=service)
    return app


async def _answer_error(_: Request, error: Any) -> Response:
    return problems.of_error(error)


async def _answer_http_error(_: Request, error: Any) -> Response:
    detail = (
        "there is nothing at this address; see /docs" if error.status_code == HTTPStatus.NOT_FOUND else error.detail
    )
    kind = "TooLargeError" if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else ""
    return Problem(error.status_code, detail, error=kind, headers=error.headers)


async def _answer_unexpected(*_: Any) -> Response:
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed unexpectedly; its log says why")
