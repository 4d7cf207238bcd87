"""The HTTP API, asked over a real connection."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import time
import zipfile
from pathlib import Path
from typing import Any

import mutating
import numpy as np
import odd_files
import pytest
from serving import Serve, Served, picture, until
from support import run

from moceir import image_io
from moceir.image_io.formats import format_of
from moceir.image_io.picture import EXIF

PROBLEM = "application/problem+json"
PRIVATE = "birthday of Ann.png"


def files() -> dict[str, bytes]:
    """Files whose results have to be those of the command line."""
    rng = np.random.default_rng(1)
    deep = rng.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    alpha = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    rgb = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    turned = image_io.Picture(rgb, metadata={EXIF: odd_files.exif_block({271: "Camera"}, {}, "R03")}, orientation=6)
    return {
        "plain.png": picture(),
        "photo.jpg": image_io.encode(turned, "jpeg"),
        "deep.tif": image_io.encode(image_io.Picture(deep), "tiff"),
        "alpha.webp": image_io.encode(image_io.Picture(rgb, alpha), "webp"),
        "pixel.png": picture(1, 1),
    }


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        (
            {"strength": 0.5, "keep_tones": "true", "effort": "low"},
            ["--strength", 0.5, "--keep-tones", "--effort", "low"],
        ),
        (
            {"format": "jpeg", "quality": 80, "metadata": "strip", "experts": "dearest"},
            ["--format", "jpeg", "--quality", 80, "--strip-metadata", "--force-expert", "dearest"],
        ),
    ],
)
def test_pictures_are_those_of_the_command_line_byte_for_byte(
    server: Served, model_folder: Path, tmp_path: Path, options: dict[str, Any], arguments: list[Any]
) -> None:
    for name, data in files().items():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    command = ["restore", tmp_path / "in", "-o", tmp_path / "out", "--model", model_folder, "--device", "cpu"]
    assert run(*command, *arguments).exit_code == 0
    for name, data in files().items():
        answer = server.restore(data, name, **options)
        assert answer.status_code == 200, answer.text
        (expected,) = (tmp_path / "out").glob(f"{Path(name).stem}.*")
        assert answer.content == expected.read_bytes()
        assert answer.headers["content-type"] == f"image/{options.get('format', _kind(name))}"
        assert re.fullmatch(r"\d(,\d)*", answer.headers["x-moceir-route"])
        assert answer.headers["x-moceir-model"] == model_folder.name
        assert float(answer.headers["x-moceir-seconds"]) > 0


def _kind(name: str) -> str:
    kind = format_of(Path(name).suffix)
    assert kind
    return kind


def test_a_batch_has_the_pictures_and_a_line_for_each(server: Served) -> None:
    named = [("a.png", picture()), ("../../a.png", picture(seed=1)), ("torn.jpg", picture(kind="jpeg")[:300])]
    answer = server.http.post("/v1/restore/batch", files=[("picture", file) for file in named], data={"format": "jpeg"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        rows = [json.loads(line) for line in archive.read("report.jsonl").splitlines()]
        assert [row["status"] for row in rows] == ["restored", "restored", "failed"]
        assert archive.namelist() == ["a.jpg", "a-2.jpg", "report.jsonl"]
        for row, (_, data) in zip(rows[:2], named, strict=False):
            assert archive.read(row["file"]) == server.restore(data, format="jpeg").content
            assert (row["width"], row["height"]) == (40, 24)
            assert row["routing"]["blocks"]
    assert rows[2]["problem"] == server.restore(named[2][1], "torn.jpg").json()


def test_inspection_is_that_of_the_command_line(serving: Serve, tmp_path: Path) -> None:
    server = serving(models=("tiny",))
    (tmp_path / "a.png").write_bytes(picture(48, 64))
    assert run("inspect", tmp_path / "a.png", "--device", "cpu", "--json", tmp_path / "a.json").exit_code == 0
    expected = json.loads((tmp_path / "a.json").read_text())["pictures"][0]
    seen = server.restore(picture(48, 64), path="/v1/inspect").json()
    assert seen["model"] == "tiny"
    assert {name: seen[name] for name in ("width", "height", "routing", "guess")} == {
        name: expected[name] for name in ("width", "height", "routing", "guess")
    }
    assert seen["guess"]["probabilities"]


def test_models_health_readiness_and_counters(server: Served, model_folder: Path) -> None:
    (model,) = server.http.get("/v1/models").json()["models"]
    assert model["name"] == model_folder.name
    assert model["default"]
    assert model["guesses_degradations"] is False
    assert server.http.get("/health").json() == {"status": "ok"}
    assert server.http.get("/ready").json() == {"status": "ready", "queue": 0}
    before = _counters(server)
    server.restore(picture(100, 200))
    server.restore(b"no picture")
    after = _counters(server)
    counter = f'moceir_megapixels_total{{model="{model_folder.name}"}}'
    assert after[counter] - before.get(counter, 0) == pytest.approx(0.02)
    for status in ("200", "415"):
        label = f'moceir_requests_total{{method="POST",path="/v1/restore",status="{status}"}}'
        assert after[label] - before.get(label, 0) == 1
    assert sum(value for label, value in after.items() if label.startswith("moceir_experts_total")) > 0
    assert after["moceir_queue"] == 0


def _counters(server: Served) -> dict[str, float]:
    lines = server.http.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@pytest.mark.parametrize(
    ("status", "data", "options", "detail"),
    [
        (400, picture(), {"strength": 2}, "strength is 2; give a number from 0 (nothing changes) to 1 (all of it)"),
        (400, picture(), {"strenght": 1}, "unknown option 'strenght'; did you mean 'strength'?"),
        (400, picture(), {"device": "cuda"}, "unknown option 'device'; choose from experts, effort, strength, ..."),
        (400, picture(), {"model": "huge"}, "unknown model 'huge'; choose from ..."),
        (400, picture(), {"experts": "9"}, "experts 9 do not fit this network; ..."),
        (400, picture(), {"quality": "0"}, "wrong options: key 'quality': ..."),
        (
            413,
            odd_files.png(pixels=np.zeros((9000, 9000, 1), np.uint8)),
            {},
            "a.png claims 9000x9000 pixels, above ...",
        ),
        (415, b"Dear reader", {}, "a.png cannot be read: it is no picture of a known format; ..."),
        (415, b"GIF89a", {}, "a.png is a GIF file; convert it to JPEG, PNG, WebP, TIFF or AVIF"),
        (422, b"", {}, "a.png is empty; expected a whole JPEG, PNG, WebP, TIFF or AVIF file"),
        (422, picture()[:-200], {}, "a.png cannot be read: ..."),
    ],
    ids=lambda value: str(value)[:30] if not isinstance(value, bytes) else "",
)
def test_failures_are_problem_documents_with_our_texts(
    small: Served, status: int, data: bytes, options: dict[str, Any], detail: str
) -> None:
    answer = small.restore(data, **options)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (status, "about:blank")
    assert problem["detail"].startswith(detail.removesuffix("...").rstrip())


@pytest.fixture(scope="module")
def small(serving: Serve) -> Served:
    return serving(options={"device": "cpu", "max_pixels": 50_000_000})


def test_forms_that_hold_no_picture(server: Served) -> None:
    cases: list[tuple[int, dict[str, Any]]] = [
        (415, {"json": {"picture": "x"}}),
        (400, {"files": {"photo": ("a.png", picture())}}),
        (400, {"files": {"picture": (None, "http://127.0.0.1/a.png")}}),
        (400, {"files": [("picture", ("a.png", picture()))] * 2}),
        (400, {"files": {"picture": ("a.png", picture())}, "data": {"strength": ["1", "0"]}}),
        (400, {"content": b"garbage", "headers": {"content-type": "multipart/form-data; boundary=x"}}),
        (400, {"content": b"garbage", "headers": {"content-type": "multipart/form-data"}}),
    ]
    for status, request in cases:
        answer = server.http.post("/v1/restore", **request)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    for method, path, status in (("GET", "/v1/nothing", 404), ("PUT", "/v1/restore", 405)):
        answer = server.http.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)


def test_bodies_above_the_limit_are_refused_announced_or_not(server: Served) -> None:
    large = bytes(3_100_000)
    announced = server.restore(large)
    form = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    chunks = iter([form, *[bytes(100_000)] * 31])
    unannounced = server.http.post(
        "/v1/restore", content=chunks, headers={"content-type": "multipart/form-data; boundary=x"}
    )
    for answer in (announced, unannounced):
        assert answer.status_code == 413
        assert answer.json()["error"] == "TooLargeError"
        assert "larger than the limit of 3 MB" in answer.json()["detail"]
    assert server.service.in_hand == 0


def test_a_full_queue_answers_429_and_when_to_come_back(server: Served) -> None:
    with server.busy(4):
        for answer in (server.restore(picture()), server.http.get("/ready")):
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            assert "has no place left" in answer.json()["detail"]
    with server.busy(3):
        two = [("picture", (name, picture())) for name in ("a.png", "b.png")]
        assert server.http.post("/v1/restore/batch", files=two).status_code == 429
    assert server.restore(picture()).status_code == 200


def test_a_client_that_leaves_frees_its_place_and_the_worker(server: Served) -> None:
    waiting, running = (_send(server, picture(1000, 1000, "jpeg")) for _ in range(2))
    until(lambda: len(server.service.queue) == 2)
    waiting.close()
    running.close()
    until(lambda: len(server.service.queue) == 0, 5)
    assert server.service.in_hand == 0
    half = _send(server, picture(), most=200)
    until(lambda: server.service.in_hand == 1)
    half.close()
    until(lambda: server.service.in_hand == 0)


def _send(server: Served, data: bytes, most: int | None = None) -> socket.socket:
    """Send a request, or its beginning, and do not wait for the answer."""
    request = server.http.build_request("POST", "/v1/restore", files={"picture": ("a.png", data)})
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    body = request.read()
    connection = socket.create_connection((request.url.host, request.url.port or 80))
    connection.sendall(f"POST /v1/restore HTTP/1.1\r\n{head}\r\n".encode() + body[:most])
    return connection


def test_requests_that_take_too_long(serving: Serve) -> None:
    server = serving(seconds=0.5)
    with server.busy():
        late = server.restore(picture())
    assert (late.status_code, late.headers["content-type"]) == (504, PROBLEM)
    with _send(server, picture(), most=200) as slow:
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
    until(lambda: server.service.in_hand == 0)
    assert len(server.service.queue) == 0


def test_while_draining_nothing_new_is_taken(serving: Serve) -> None:
    server = serving()
    server.service.queue.close()
    for answer in (server.restore(picture()), server.http.get("/ready")):
        assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
        assert int(answer.headers["retry-after"]) >= 1
    assert server.http.get("/health").status_code == 200


def test_the_documentation_loads_nothing_from_other_hosts(server: Served) -> None:
    page = server.http.get("/docs").text
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert len(loaded) >= 2
    for path in loaded:
        assert path.startswith("/")
        assert server.http.get(path).status_code == 200
    assert "http:" not in page
    assert "https:" not in page


def test_the_log_names_no_pictures(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moceir.web")
    assert server.restore(picture(), PRIVATE).status_code == 200
    assert PRIVATE in server.restore(b"", PRIVATE).json()["detail"]
    server.http.get(f"/{PRIVATE}")
    until(lambda: "404" in _lines(caplog)[-1])
    assert [re.sub(r"[\d.]+ s$", "T", line) for line in _lines(caplog)[-3:]] == [
        "POST /v1/restore 200 T",
        "POST /v1/restore 422 T",
        "GET other 404 T",
    ]


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "moceir.web"]


def test_mutated_uploads_get_a_picture_or_a_problem(server: Served) -> None:
    rng = np.random.default_rng(0)
    seeds, statuses = mutating.seeds(), set[int]()
    for _ in range(120):
        answer = server.restore(mutating.mutated(rng, seeds))
        assert answer.status_code in (200, 413, 415, 422), answer.text
        assert answer.headers["content-type"] == PROBLEM or answer.headers["content-type"].startswith("image/")
        statuses.add(answer.status_code)
    assert {200, 415, 422} <= statuses
    assert server.http.get("/ready").json()["queue"] == 0


def test_notes_in_headers_are_printable(server: Served) -> None:
    whole = odd_files.png()
    answer = server.restore(whole[:-12] + odd_files.chunk(b"\0\r\n\x01", b"") + whole[-12:])
    assert answer.status_code == 200
    assert r"\x00\r\n\x01" in answer.headers["x-moceir-notes"]


def test_cancelling_does_not_wait_for_the_picture_in_hand(server: Served) -> None:
    began = time.monotonic()
    connection = _send(server, picture(1000, 1000, "jpeg"))
    until(lambda: len(server.service.queue) == 1)
    connection.close()
    assert server.restore(picture()).status_code == 200
    assert time.monotonic() - began < 10
