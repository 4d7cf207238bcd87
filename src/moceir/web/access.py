"""Who may use a server: whoever has the token; without one, the users of this machine."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from moceir.web.problems import Problem
from moceir.web.settings import ServeSettings, is_loopback

COOKIE = "moceir_session"
OPEN_PATHS = ("/health", "/ready", "/login")
"""Paths that need no token: probes of service managers, and the way to get in."""

FOREIGN = (
    "without a token, this server answers requests to 127.0.0.1 or localhost only; start it with --token-file to use "
    "another name"
)

_LOGIN_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>moceir</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:22rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.25rem 0}}</style></head>
<body><h1>moceir</h1><form method="post" action="{root}/login">
<label>Token <input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Log in</button></form><p role="alert">{message}</p></body></html>"""

router = APIRouter()


def refusal(settings: ServeSettings, scope: Scope) -> Response | None:
    """Return the answer to a request that is not allowed, or None if it is.

    With a token, a request must carry it as ``Authorization: Bearer`` or have the cookie of the login page. Without
    one, the request must name this machine as its host: another name would be that of a web site which has made the
    browser of a user send it.

    Args:
        settings: The token, if there is one.
        scope: The request.
    """
    headers = Headers(scope=scope)
    if settings.token is None:
        return None if _from_this_machine(headers) else Problem(HTTPStatus.FORBIDDEN, FOREIGN, error="ServerError")
    if scope["path"] in OPEN_PATHS or _has_token(settings.token, headers):
        return None
    if "text/html" in headers.get("accept", ""):
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    given = "authorization" in headers or COOKIE in cookie_parser(headers.get("cookie", ""))
    detail = "the token is wrong" if given else "a token is needed"
    detail += "; send it as Authorization: Bearer TOKEN"
    return Problem(HTTPStatus.UNAUTHORIZED, detail, error="ServerError", headers={"WWW-Authenticate": "Bearer"})


@router.get("/login", include_in_schema=False)
def show_login() -> HTMLResponse:
    """Show the form for the token."""
    return HTMLResponse(_LOGIN_PAGE.format(root="", message=""))


@router.post("/login", include_in_schema=False)
async def log_in(request: Request) -> Response:
    """Set the cookie if the token is right."""
    token = request.app.state.service.settings.token or ""
    async with request.form(max_files=0, max_fields=1) as form:
        given = form.get("token")
    if not isinstance(given, str) or not _same(given, token):
        page = _LOGIN_PAGE.format(root="", message="This token is wrong.")
        return HTMLResponse(page, HTTPStatus.UNAUTHORIZED)
    answer = RedirectResponse("/", HTTPStatus.SEE_OTHER)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, _session(token), httponly=True, samesite="strict", secure=secure)
    return answer


def _has_token(token: str, headers: Headers) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _same(given.strip(), token):
        return True
    return _same(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""), _session(token))


def _session(token: str) -> str:
    """Return the value of the cookie: it proves that its owner knew the token, and does not tell it."""
    return hmac.new(token.encode(), b"moceir session", hashlib.sha256).hexdigest()


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _from_this_machine(headers: Headers) -> bool:
    """Tell whether host and origin of a request are this machine."""
    named = [f"//{headers['host']}"] if "host" in headers else []
    named += [headers["origin"]] if "origin" in headers else []
    try:
        return all(is_loopback(urlsplit(name).hostname or "") for name in named)
    except ValueError:
        return False
