"""A server on loopback that answers as the Hugging Face Hub does, for the requests that models need."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeHub:
    """Repositories by name, each a dict of contents by path, and the requests that were made."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.refuse_writes = False
        self.large_files = True  # kept beside git, and named by their SHA-256
        self.url = ""

    def commit(self, name: str) -> str:
        """A hash of 40 digits, as git has."""
        return _sha1(repr(sorted(self.repositories[name].items())).encode())


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def answer(self, content: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for key, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        parts = self.path.partition("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        files = self.hub.repositories.get(name)
        if files is None:
            self.answer({"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif parts[0] != "api":
            content = files[parts[-1]]
            etag = {"ETag": f'"{_git_hash(content)}"'}
            if self.hub.large_files and parts[-1].endswith(".safetensors"):
                etag = {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
            self.answer(content, headers=etag | {"X-Repo-Commit": self.hub.commit(name)})
        elif parts[4] == "revision":
            self.answer({"id": name, "sha": self.hub.commit(name), "siblings": [{"rfilename": f} for f in files]})
        else:
            entries = [{"type": "file", "path": f, "size": len(c), "oid": _git_hash(c)} for f, c in files.items()]
            self.answer(entries)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def do_POST(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = self.path.strip("/").split("/")
        if self.hub.refuse_writes:
            self.answer({"error": "you may not write here"}, 403)
        elif parts[1] == "repos":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.repositories.setdefault(name, {})
            self.answer({"url": f"{self.hub.url}/{name}"})
        elif parts[1] == "validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif parts[4] == "preupload":
            paths = [entry["path"] for entry in json.loads(body)["files"]]
            self.answer({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
        else:
            name = "/".join(parts[2:4])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.hub.repositories[name][line["value"]["path"]] = content
            commit = self.hub.commit(name)
            self.answer({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit})


def _git_hash(content: bytes) -> str:
    return _sha1(b"blob %d\0" % len(content) + content)


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def serving() -> Generator[FakeHub]:
    """Run a hub while the block runs."""
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
