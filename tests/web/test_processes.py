"""Servers as processes of their own: killed, terminated, and told to do what they refuse."""

from __future__ import annotations

import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import picture, until
from support import run

from moceir import Restorer
from moceir.web.server import GRACE_S, STOP_S

KILLING = Path(__file__).parents[1] / "killing_server.py"
BUSY_S = 25
"""Time for Python to end on a machine that is busy with other tests; the pictures would take longer."""
PRIVATE = "birthday of Ann.png"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_twenty_kills_in_the_middle_of_uploads_leave_no_file(tmp_path: Path, model_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, KILLING, tmp_path, "--model", model_folder],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"kills": 20, "opened": 40, "left": 0}


@contextmanager
def serving_process(*arguments: Any) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """Run ``moceir serve``; yield the process, its address and what it prints on standard error."""
    command = [sys.executable, "-m", "moceir", "serve", "--port", "0", "--device", "cpu", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []

    def read() -> None:
        assert process.stderr
        with process.stderr as stream:
            lines.extend(iter(stream.readline, ""))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: len(lines) >= 2 or process.poll() is not None, 120)
        address = re.search(r"http://[\d.]+:\d+", "".join(lines))
        assert address, lines
        assert "nothing leaves it" in lines[1]
        yield process, address[0], lines
    finally:
        process.kill()
        process.wait()
        reader.join()


@pytest.mark.slow
def test_a_signal_to_terminate_finishes_accepted_pictures_and_nothing_else(model_folder: Path) -> None:
    data = picture(300, 400)
    expected = Restorer.from_pretrained(model_folder, device="cpu").restore_bytes(data).restored
    answers: list[httpx.Response] = []
    with serving_process("--model", model_folder) as (process, url, lines):

        def send() -> None:
            answers.append(
                httpx.post(f"{url}/v1/restore", files={"picture": (PRIVATE, data)}, timeout=60, trust_env=False)
            )

        senders = [threading.Thread(target=send) for _ in range(6)]
        for sender in senders:
            sender.start()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
            until(lambda: len(answers) or http.get("/ready").json()["queue"] >= 4)
            process.send_signal(signal.SIGTERM)
            until(lambda: http.get("/ready").status_code == 503)
            late = http.post("/v1/restore", files={"picture": ("a.png", data)})
            assert late.status_code == 503
            assert "retry-after" in late.headers
        for sender in senders:
            sender.join()
        assert process.wait(GRACE_S + STOP_S + BUSY_S) == 0
    finished = [answer for answer in answers if answer.status_code == 200]
    assert len(finished) >= 4
    assert all(answer.content == expected for answer in finished)
    assert {answer.status_code for answer in answers} <= {200, 503}
    log = "".join(lines)
    assert log.count("POST /v1/restore 200") == len(finished)
    assert "birthday" not in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_draining_ends_in_bounded_time(model_folder: Path) -> None:
    answers: list[httpx.Response] = []
    with serving_process("--model", model_folder, "--drain-seconds", 1) as (process, url, _):
        files = [("picture", (f"{n}.jpg", picture(1500, 1500, "jpeg"))) for n in range(8)]

        def send() -> None:
            answers.append(httpx.post(f"{url}/v1/restore/batch", files=files, timeout=60, trust_env=False))

        sender = threading.Thread(target=send)
        sender.start()
        until(lambda: httpx.get(f"{url}/ready", timeout=60, trust_env=False).json()["queue"] == 8)
        process.send_signal(signal.SIGTERM)
        assert process.wait(1 + GRACE_S + STOP_S + BUSY_S) == 0
        sender.join()
    with zipfile.ZipFile(io.BytesIO(answers[0].content)) as archive:
        last = json.loads(archive.read("report.jsonl").splitlines()[-1])
    assert last["problem"]["detail"] == "the restoration was cancelled"


def test_what_the_command_refuses(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for arguments, text in (
        (["--host", "0.0.0.0"], "can be reached from other machines, so a token is needed"),  # noqa: S104
        (["--token-file", tmp_path / "none"], "cannot be read; give a text file"),
        (["--token-file", tmp_path / "empty"], "is empty; write a long secret"),
        (["--port", "70000"], "wrong settings: key 'port'"),
        (["--queue-length", "0"], "wrong settings: key 'queue_length'"),
        (["--max-body", "much"], "'much' is not an amount of memory"),
    ):
        result = run("serve", *arguments)
        assert result.exit_code == 2, arguments
        assert text in str(result.exception), arguments
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--port", port)
    assert result.exit_code == 2
    assert f"cannot listen at 127.0.0.1 port {port}: Address already in use" in str(result.exception)
