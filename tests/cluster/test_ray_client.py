"""Jobs that reach the cluster from outside, through Ray's client server."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import run, write_picture

pytest.importorskip("ray")
pytest.importorskip("grpc")

import ray
from ray._private import client_mode_hook as hook

from moceir.cluster.job import Job, cluster, restore_all
from moceir.errors import ClusterError
from moceir.restoration import RestoreOptions

START_S = 60.0


@dataclass
class ClientServer:
    """A process that lets clients into the cluster."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def address(self) -> str:
        return f"ray://127.0.0.1:{self.port}"

    def wait_for_start(self) -> None:
        end = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise AssertionError("the client server did not start")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(autouse=True)
def ordinary_ray_afterwards() -> Iterator[None]:
    """Let later tests of this process connect as drivers, which Ray itself does not after it was a client."""
    yield
    hook._explicitly_disable_client_mode()


@pytest.fixture
def outside(two_nodes: Any, tmp_path: Path) -> Iterator[ClientServer]:
    """A client server at the head of the cluster."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = (sys.executable, "-m", "ray.util.client.server", "--address", two_nodes.address)
    # One process for all clients: the one that Ray's proxy forks for each client sometimes dies at once.
    command = (*command, "--host", "127.0.0.1", "--port", str(port), "--mode", "legacy")
    with (tmp_path / "client_server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    server = ClientServer(process, port)
    try:
        server.wait_for_start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures, and one that is torn."""
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "more/a.png", "more/torn.png")):
        write_picture(folder / name, seed=number)
    torn = folder / "more/torn.png"
    torn.write_bytes(torn.read_bytes()[:60])
    return folder


def results(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def statuses(target: Path) -> dict[str, str]:
    rows = [row for path in target.glob(".moceir/results/*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row["status"] for row in rows}


def test_a_job_from_outside(outside: ClientServer, pictures: Path, model_folder: Path, tmp_path: Path) -> None:
    target, reference = tmp_path / "out", tmp_path / "reference"
    assert run("restore", pictures, "-o", reference, "--model", model_folder, "--threads", "1").exit_code == 1
    command = ("cluster", "restore", pictures, target, "--model", model_folder, "--address", outside.address)
    result = run(*command)
    assert result.exit_code == 1, result.output
    assert "failed: more/torn.png" in result.stderr
    assert results(target) == results(reference)
    assert results(target).keys() == {"a.png", "b.png", "more/a.png"}
    restored = dict.fromkeys(results(target), "restored")
    assert statuses(target) == {**restored, "more/torn.png": "failed"}
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    again = run(*command)
    assert again.exit_code == 0, again.output
    assert "0 of 0 pictures" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


def test_a_lost_connection_ends_the_job(
    outside: ClientServer, pictures: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "1")
    monkeypatch.setattr("ray.util.client.worker.INITIAL_TIMEOUT_SEC", 1.0)
    job = Job(str(pictures), str(tmp_path / "out"), RestoreOptions(model=str(model_folder)))
    with (
        pytest.raises(ClusterError, match=f"lost the connection to the cluster at {outside.address}"),
        cluster(outside.address),
    ):
        restore_all(job, on_progress=lambda _: outside.kill())
    assert not ray.is_initialized()


def test_another_version_of_ray_is_refused(outside: ClientServer, monkeypatch: pytest.MonkeyPatch) -> None:
    python = platform.python_version()
    monkeypatch.setattr("ray._private.utils.compute_version_info", lambda: ("2.0.0", python))
    with (
        pytest.raises(ClusterError, match=rf"started with: Ray: {ray.__version__} .* Ray: 2\.0\.0 Python: {python}"),
        cluster(outside.address),
    ):
        pass


def test_a_port_without_a_client_server_names_what_to_check(
    two_nodes: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in ("INITIAL_TIMEOUT_SEC", "MAX_TIMEOUT_SEC"):
        monkeypatch.setattr(f"ray.util.client.worker.{seconds}", 0.1)
    address = f"ray://{two_nodes.address}"
    result = run("cluster", "restore", pictures, tmp_path / "out", "--address", address)
    assert result.exit_code == 1, result.output
    assert f"cannot join the cluster at {address}" in str(result.exception)
    assert "RAY_AUTH_MODE=token" in str(result.exception)
    assert not (tmp_path / "out").exists()
