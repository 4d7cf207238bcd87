"""Errors as problem documents (RFC 9457), with the texts of docs/errors.md."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from moceir.errors import (
    ConfigError,
    FormatError,
    ImageError,
    MissingExtraError,
    MoceirError,
    OutputError,
    ServerError,
    TooLargeError,
)
from moceir.web.jobs import DrainingError, QueueFullError

MEDIA_TYPE = "application/problem+json"
DRAINING_RETRY_S = 30
"""When to try again at a server that is about to stop: its successor may be there."""

_STATUSES: tuple[tuple[type[MoceirError], HTTPStatus], ...] = (
    (ConfigError, HTTPStatus.BAD_REQUEST),
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (FormatError, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (MissingExtraError, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (ImageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (OutputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (QueueFullError, HTTPStatus.TOO_MANY_REQUESTS),
    (ServerError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The status of each error: that of the first class that it belongs to."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Always about:blank: the status says what kind of problem it is."},
        "title": {"type": "string", "description": "The name of the status."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What was given, what was expected and what to do."},
        "error": {"type": "string", "description": "The class of the error in moceir.errors, if it is one."},
    },
}
"""JSON schema of a problem document."""


class Problem(JSONResponse):
    """An answer that says what went wrong.

    Args:
        status: Its HTTP status.
        detail: What was given, what was expected and what to do.
        error: Class of the error, if it is one of moceir.
        headers: More headers.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self, status: HTTPStatus | int, detail: str, *, error: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(document(status, detail, error), int(status), headers)


def document(status: HTTPStatus | int, detail: str, error: str = "") -> dict[str, Any]:
    """Return a problem document as a dict."""
    known = HTTPStatus(status)
    content = {"type": "about:blank", "title": known.phrase, "status": int(known), "detail": detail}
    return content | ({"error": error} if error else {})


def of_error(error: MoceirError) -> Problem:
    """Return the answer for an error."""
    headers: dict[str, str] = {}
    if isinstance(error, QueueFullError):
        headers["Retry-After"] = str(error.retry_after_s)
    elif isinstance(error, DrainingError):
        headers["Retry-After"] = str(DRAINING_RETRY_S)
    return Problem(status_of(error), str(error), error=public_class(error), headers=headers)


def status_of(error: MoceirError) -> HTTPStatus:
    """Return the HTTP status of an error."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def public_class(error: MoceirError) -> str:
    """Return the name of the first class of an error that is in ``moceir.errors``."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == MoceirError.__module__)
