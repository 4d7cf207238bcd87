"""Who may use a server."""

from __future__ import annotations

import pytest
from serving import Serve, Served, picture

from moceir import Client
from moceir.errors import ConfigError, ServerError
from moceir.web.settings import ServeSettings, is_loopback

TOKEN = "correct horse battery staple"  # noqa: S105 - of servers in this file only


@pytest.fixture(scope="module")
def guarded(serving: Serve) -> Served:
    return serving(token=TOKEN)


def test_only_loopback_does_without_a_token() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert ServeSettings(host=host).local
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org", "localhost.example.org", ""):  # noqa: S104
        assert not is_loopback(host)
        with pytest.raises(ConfigError, match="give --token-file"):
            ServeSettings(host=host)
        assert ServeSettings(host=host, token=TOKEN).token == TOKEN
    assert TOKEN not in repr(ServeSettings(token=TOKEN))


def test_every_path_but_the_probes_needs_the_token(guarded: Served) -> None:
    paths = ["/", "/docs", "/openapi.json", "/metrics", "/v1/models", "/v1/restore", "/nothing"]
    for authorization in (None, "Bearer wrong", f"Basic {TOKEN}", TOKEN):
        headers = {} if authorization is None else {"authorization": authorization}
        for path in paths:
            request = guarded.http.build_request("POST" if path == "/v1/restore" else "GET", path)
            request.headers.pop("authorization")
            request.headers.update(headers)
            answer = guarded.http.send(request)
            assert answer.status_code == 401, (path, headers)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
    for path in ("/health", "/ready"):
        assert guarded.http.get(path, headers={"authorization": ""}).status_code == 200
    assert guarded.restore(picture()).status_code == 200


def test_the_login_page_gives_a_cookie_that_does_not_tell_the_token(guarded: Served) -> None:
    browser = {"authorization": "", "accept": "text/html"}
    answer = guarded.http.get("/", headers=browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "<form" in guarded.http.get("/login", headers=browser).text
    wrong = guarded.http.post("/login", data={"token": "wrong"}, headers=browser)
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    right = guarded.http.post("/login", data={"token": TOKEN}, headers=browser)
    assert (right.status_code, right.headers["location"]) == (303, "/")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "horse" not in cookie
    name, value = cookie.split(";")[0].split("=")
    guarded.http.cookies.clear()
    for given, status in ((value, 200), (value[:-1] + "x", 401)):
        headers = {"authorization": "", "cookie": f"{name}={given}"}
        assert guarded.http.get("/v1/models", headers=headers).status_code == status


def test_without_a_token_only_requests_to_this_machine_are_answered(server: Served, guarded: Served) -> None:
    for headers, status in (
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "localhost:7860", "origin": "http://127.0.0.1:7860"}, 200),
        ({"host": "[::1]:7860"}, 200),
    ):
        assert server.http.get("/v1/models", headers=headers).status_code == status, headers
        assert guarded.http.get("/v1/models", headers=headers).status_code == 200


def test_the_client_carries_the_token(guarded: Served) -> None:
    with Client(guarded.url, token=TOKEN) as client:
        assert client.restore_bytes(picture()).width == 40
    for token in (None, "wrong"):
        with Client(guarded.url, token=token) as client, pytest.raises(ServerError, match="token"):
            client.restore_bytes(picture())
