"""What the server sends to its page: progress while it works, then the result."""

import json

import numpy as np
import pytest
from serving import picture, running, until

from moceir import Restorer, image_io


@pytest.fixture(scope="module")
def served():
    with running(options={"device": "cpu"}, port=0, queue_length=2) as found:
        yield found


def send(served, data, **options):
    """Send a picture as the page does; return all lines and the files that follow the last one, by name."""
    answer = served.http.post("/page/restore", content=data, params={"options": json.dumps(options)})
    assert answer.status_code == 200
    return parse(answer.content)


def parse(content):
    lines = []
    while content:
        line, _, content = content.partition(b"\n")
        lines.append(json.loads(line))
        if "blobs" in lines[-1]:
            break
    files = {}
    for blob in lines[-1].get("blobs", []):
        files[blob["name"]], content = content[: blob["bytes"]], content[blob["bytes"] :]
    assert content == b""
    return lines, files


def test_the_last_line_is_followed_by_the_file_of_the_command_line(served):
    data = picture()
    lines, files = send(served, data, strength=0.5, format="webp")
    done = lines[-1]
    assert (done["state"], done["width"], done["height"], done["model"]) == ("done", 40, 24, "tiny")
    assert files == {"file": Restorer.from_pretrained("tiny").restore_bytes(data, strength=0.5, format="webp").restored}
    assert {line["state"] for line in lines[:-1]} <= {"waiting", "working"}


def test_files_that_browsers_cannot_show_come_with_previews(served):
    rgb = np.random.default_rng(0).integers(0, 65536, (48, 64, 3)).astype(np.uint16)
    data = image_io.encode(image_io.Picture(rgb), "tiff")
    _, files = send(served, data)
    assert files["file"] == Restorer.from_pretrained("tiny").restore_bytes(data).restored
    for name, original in (("before", data), ("after", files["file"])):
        shown, meant = image_io.decode(files[name], name), image_io.decode(original, name)
        assert shown.format == "jpeg"
        assert shown.rgb.shape == meant.rgb.shape
        assert np.abs(shown.rgb - meant.rgb / 257.0).mean() < 4


def test_the_guess_is_that_of_inspect_and_needs_the_whole_change(served):
    data = picture(64, 64)
    inspected = served.restore(data, path="/v1/inspect").json()
    done = send(served, data)[0][-1]
    assert done["guess"]["task"] == inspected["guess"]["task"]
    assert done["guess"]["probabilities"] == pytest.approx(inspected["guess"]["probabilities"], abs=1e-6)
    assert done["routing"]["gmacs"] == inspected["routing"]["gmacs"]
    assert send(served, data, strength=0.5)[0][-1]["guess"] is None
    assert send(served, data, keep_tones=True)[0][-1]["guess"] is None


def test_enlarging_chooses_the_model_and_has_no_guess(served):
    data = picture(32, 32)
    lines, files = send(served, data, upscale=4, model="tiny")
    done = lines[-1]
    assert (done["width"], done["height"], done["upscale"], done["model"]) == (128, 128, 4, "tiny-x4")
    assert done["guess"] is None
    assert files["file"] == Restorer.from_pretrained(upscale=4).restore_bytes(data).restored
    plain, files = send(served, data, upscale=1, model="tiny")
    assert (plain[-1]["upscale"], plain[-1]["model"]) == (1, "tiny")
    assert files["file"] == Restorer.from_pretrained().restore_bytes(data).restored


def test_a_failure_is_the_last_line(served):
    lines, files = send(served, b"Dear reader")
    assert lines[-1]["state"] == "failed"
    assert "expected a whole JPEG, PNG, WebP, TIFF or AVIF file" in lines[-1]["detail"]
    assert files == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"strength": 2}', "strength is 2"),
        ('{"device": "cuda"}', "unknown option 'device'"),
        ('{"data": 1, "self": 2}', "unknown option 'data'"),
        ("[" * 10_000, "not a JSON object"),
        ('{"model": "../tiny"}', "unknown model"),
        ('{"model": 3}', "unknown model"),
        ('{"upscale": 5}', "key 'upscale'"),
        ('{"upscale": [2], "model": "tiny"}', "key 'upscale'"),
    ],
)
def test_wrong_options_are_a_problem_document(served, options, said):
    answer = served.http.post("/page/restore", content=picture(), params={"options": options})
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/restore", "/v1/inspect"])
def test_options_named_as_arguments_of_python_are_unknown(served, path):
    for name in ("uploads", "upload", "self"):
        answer = served.http.post(path, files={"picture": picture()}, data={name: "1"})
        assert answer.status_code == 400
        assert f"unknown option '{name}'" in answer.json()["detail"]


def test_who_leaves_frees_the_worker(served):
    with served.http.stream("POST", "/page/restore", content=picture(2000, 2000)) as answer:
        assert next(answer.iter_lines())
        assert len(served.service.queue) == 1
    until(lambda: not len(served.service.queue), 20)


def test_those_who_wait_see_how_many_are_before_them(served):
    with served.busy(), served.http.stream("POST", "/page/restore", content=picture()) as answer:
        first = json.loads(next(answer.iter_lines()))
    assert (first["state"], first["ahead"]) == ("waiting", 1)
    assert first["left"] > 0


def test_a_full_queue_says_when_to_come_again(served):
    with served.busy(2):
        answer = served.http.post("/page/restore", content=picture())
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_picture_that_takes_too_long_is_given_up():
    with running(options={"device": "cpu"}, port=0, seconds=2) as served:
        lines = parse(served.http.post("/page/restore", content=picture(3000, 3000)).content)[0]
        assert lines[-1]["state"] == "failed"
        assert "longer than this server allows" in lines[-1]["detail"]
        until(lambda: not len(served.service.queue), 20)


@pytest.mark.parametrize(
    "path",
    ["gradio_api/upload", "gradio_api/queue/join", "gradio_api/file=/etc/passwd", "config", "examples/../app.py"],
)
def test_gradio_offers_nothing_beside_the_page(served, path):
    assert served.http.get(f"/page/{path}").status_code == 404
    assert served.http.post(f"/page/{path}", files={"files": b"x"}).status_code in (404, 405)


def test_the_root_leads_to_the_page_and_others_are_problem_documents(served):
    assert served.http.get("/").headers["location"] == "page/"
    assert served.http.get("/nothing").json()["status"] == 404
    assert served.http.get("/page/nothing").json()["status"] == 404
