"""A Ray cluster of two nodes on this machine, and an S3 server on loopback, one for all tests."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("pyarrow")

HERE = Path(__file__).parent
ENTRY = "[fsspec.specs]\nfaulty = faulty_store:FaultyFileSystem\n"


@pytest.fixture(scope="session", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let this process and the workers find the store that fails."""
    faulty_store = pytest.importorskip("faulty_store")
    folder = tmp_path_factory.mktemp("plugin")
    info = folder / "faulty_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY)
    # A check of URLs that Ray does not use, by a library that another tool brings: half of the start of each process.
    (folder / "rfc3987_syntax.py").write_text("raise ImportError('left out')\n")
    fsspec.register_implementation("faulty", faulty_store.FaultyFileSystem, clobber=True)
    with pytest.MonkeyPatch.context() as patch:
        source = HERE.parents[1] / "src"
        before = [path for path in [os.environ.get("PYTHONPATH")] if path]
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE / "plugin"), str(folder), str(source), *before]))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


class Stumbling:
    """WSGI middleware: a share of the requests fails with the error that S3 itself gives."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.share = 0.0
        self.failures = 0
        self.written: set[str] = set()
        self.forbidden = False
        self._random = random.Random(0)  # noqa: S311 - not a secret

    def __call__(self, environ: Any, start_response: Any) -> Any:
        code, status = "", ""
        if self.forbidden:
            code, status = "AccessDenied", "403 Forbidden"
        elif self._random.random() < self.share:
            self.failures += 1
            code, status = "InternalError", "500 Internal Server Error"
        if not code:
            if environ["REQUEST_METHOD"] == "PUT":
                self.written.add(environ["PATH_INFO"])
            return self.app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>not now</Message></Error>".encode()]


@pytest.fixture(scope="session")
def s3() -> Iterator[Stumbling]:
    """moto's S3 server; the environment leads every client to it."""
    serving = pytest.importorskip("werkzeug.serving")
    moto = pytest.importorskip("moto.moto_server.werkzeug_app")
    pytest.importorskip("s3fs")
    app = Stumbling(moto.DomainDispatcherApplication(moto.create_backend_app))

    class Quiet(serving.WSGIRequestHandler):
        def log_request(self, *_: object) -> None:
            pass

    server = serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        yield app
    server.shutdown()
    thread.join()


@dataclass
class TwoNodes:
    """A head with one core, and a second node with one core."""

    cluster: Any
    second: Any = None

    @property
    def address(self) -> str:
        return self.cluster.address

    def start_second(self) -> None:
        if self.second is None:
            self.second = started(self.cluster)

    def kill_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = None


@contextlib.contextmanager
def nodes_that_start_on_busy_machines() -> Iterator[None]:
    """Do not let nodes wait for their agents, which tests do not use: after seconds they would give up."""
    from ray import _raylet
    from ray._private.node import Node

    names = (_raylet.METRICS_AGENT_PORT_NAME, _raylet.METRICS_EXPORT_PORT_NAME)
    names = (*names, _raylet.DASHBOARD_AGENT_LISTEN_PORT_NAME)
    plain = Node.start_raylet

    def start_raylet(node: Any, *arguments: Any, **named: Any) -> None:
        for name in names:
            _raylet.persist_port(node._session_dir, node._node_id, name, -1)  # "is not used"
        plain(node, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Node, "start_raylet", start_raylet)
        yield


def started(cluster: Any, **more: Any) -> Any:
    """Start a node with one core."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        more["runtime_env_agent_port"] = free.getsockname()[1]
    with nodes_that_start_on_busy_machines():
        return cluster.add_node(num_cpus=1, object_store_memory=100_000_000, include_log_monitor=False, **more)


@pytest.fixture(scope="session")
def two_nodes(s3: Stumbling, plugin: None) -> Iterator[TwoNodes]:
    """The cluster; workers inherit the environment of its nodes."""
    utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("RAY_worker_niceness", "0")  # they would starve beside other tests
        nodes = TwoNodes(utils.Cluster())
        try:
            started(nodes.cluster, include_dashboard=False, no_monitor=True)
            yield nodes
        finally:
            nodes.cluster.shutdown()
