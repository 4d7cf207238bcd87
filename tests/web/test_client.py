"""The client: what a Restorer gives, from a server; in Python and on the command line."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from serving import Served, picture
from support import run

from moceir import Client, Restorer
from moceir.errors import ConfigError, FormatError, ImageError, OutputError, ServerError


@pytest.fixture(scope="module")
def restorer(model_folder: Path) -> Restorer:
    return Restorer.from_pretrained(model_folder, device="cpu")


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (17, 23, 4), dtype=np.uint8)
IMAGES: dict[str, Any] = {
    "colour": COLOURS[..., :3],
    "alpha": COLOURS,
    "grey": COLOURS[..., 0],
    "grey channel": COLOURS[..., :1],
    "deep": RNG.integers(0, 65536, (9, 8, 3), dtype=np.uint16),
    "PIL": Image.fromarray(COLOURS[..., :3]),
    "PIL palette": Image.fromarray(COLOURS[..., :3]).convert("P"),
    "floats": RNG.random((9, 8, 3), dtype=np.float32),
    "doubles with alpha": RNG.random((9, 8, 4)),
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_arrays_come_back_as_from_a_restorer(client: Client, restorer: Restorer, image: Any) -> None:
    changes = {"strength": 0.7, "experts": restorer.restore(COLOURS[..., :3], return_routing=True)[1].experts}
    restored, report = client.restore(image, return_routing=True, **changes)
    expected, expected_report = restorer.restore(image, return_routing=True, **changes)
    assert type(restored) is type(expected)
    assert np.asarray(restored).dtype == np.asarray(expected).dtype
    tolerance = 4e-5 if np.asarray(image).dtype.kind == "f" else 0  # floats travel as 16 bits
    np.testing.assert_allclose(np.asarray(restored), np.asarray(expected), rtol=0, atol=tolerance)
    if not tolerance:
        assert report == expected_report


def test_batches_of_tensors(client: Client, restorer: Restorer) -> None:
    batch = torch.from_numpy(RNG.random((2, 3, 16, 24), dtype=np.float32)).half()
    restored, reports = client.restore(batch, return_routing=True)
    expected = restorer.restore(batch)
    assert (restored.shape, restored.dtype) == (expected.shape, expected.dtype)
    torch.testing.assert_close(restored, expected, rtol=0, atol=1e-3)
    assert len(reports) == 2


def test_files_and_bytes(client: Client, restorer: Restorer, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(kind="jpeg"))
    result = client.restore_file(tmp_path / "a.jpg", tmp_path / "out" / "a.png", keep_tones=True)
    expected = restorer.restore_file(tmp_path / "a.jpg", tmp_path / "expected.png", keep_tones=True)
    assert (tmp_path / "out" / "a.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    assert (result.routing, result.format, result.width) == (expected.routing, "png", 40)
    with pytest.raises(OutputError, match="is the input itself"):
        client.restore_file(tmp_path / "a.jpg", tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="does not exist"):
        client.restore_file(tmp_path / "none.jpg", tmp_path / "b.jpg")


def test_failures_are_those_of_a_restorer(client: Client) -> None:
    with pytest.raises(FormatError, match=r"^letter cannot be read: it is no picture"):
        client.restore_bytes(b"Dear reader", name="letter")
    with pytest.raises(ConfigError, match="strength is 2"):
        client.restore_bytes(picture(), strength=2)
    with pytest.raises(ConfigError, match="unknown model 'huge'"):
        client.restore_bytes(picture(), model="huge")
    with pytest.raises(ConfigError, match="unknown option 'device'"):
        client.restore_bytes(picture(), device="cpu")
    with pytest.raises(ImageError, match="expected an array"):
        client.restore("a.png")
    with pytest.raises(ConfigError, match="is not the address of a server"):
        Client("localhost:7860")


def test_servers_that_are_not_there_or_no_servers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(ServerError, match="check the address"):
        client.restore_bytes(picture())


def test_a_busy_server_is_asked_again(server: Served) -> None:
    with server.busy(4), Client(server.url, patience_s=0) as client, pytest.raises(ServerError, match="no place left"):
        client.restore_bytes(picture())
    freed = threading.Event()

    def fill() -> None:
        with server.busy(4):
            freed.wait(10)

    filling = threading.Thread(target=fill)
    filling.start()
    threading.Timer(0.5, freed.set).start()
    with Client(server.url) as client:
        assert client.restore_bytes(picture()).width == 40
    filling.join()


def test_the_command_line_restores_files_and_folders_on_a_server(
    server: Served, model_folder: Path, tmp_path: Path
) -> None:
    for name, kind in (("in/a.png", "png"), ("in/deep/b.jpg", "jpeg"), ("in/c.webp", "webp")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(kind=kind))
    (tmp_path / "in" / "torn.png").write_bytes(picture()[:-99])
    command = ["restore", tmp_path / "in", "--strength", 0.5]
    here = run(*command, "-o", tmp_path / "here", "--model", model_folder, "--device", "cpu")
    report = tmp_path / "report.jsonl"
    there = run(*command, "-o", tmp_path / "there", "--server", server.url, "--report", report)
    assert here.exit_code == there.exit_code == 1  # the torn one
    assert "torn.png cannot be read" in there.stderr
    made = [path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.*")]
    assert len(made) == 3
    for path in made:
        assert (tmp_path / "there" / path).read_bytes() == (tmp_path / "here" / path).read_bytes()
    rows = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted(row["status"] for row in rows) == ["failed", "restored", "restored", "restored"]
    again = run("restore", tmp_path / "in" / "a.png", "-o", tmp_path / "one.png", "--server", server.url)
    assert again.exit_code == 0
    assert (tmp_path / "one.png").is_file()


def test_options_that_a_server_does_not_take(server: Served, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    for arguments in (["--device", "cpu"], ["--sequence"], ["--threads", "1"], ["--reference", str(tmp_path)]):
        result = run("restore", tmp_path / "a.png", "-o", tmp_path / "out", "--server", server.url, *arguments)
        assert result.exit_code == 2
        assert f"{arguments[0]} cannot be asked of a server" in " ".join(result.stderr.replace("│", " ").split())
    assert run("restore", tmp_path / "a.png", "-o", tmp_path / "out", "--token-file", "x").exit_code == 2
    assert run("restore", "-", "-o", "-", "--server", server.url).exit_code == 2
    assert not (tmp_path / "out").exists()
