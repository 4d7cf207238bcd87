"""The page of examples/browser in Chromium: the pixels that torch computes, and a page that people can use."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from support import write_picture

from examples.browser.serve import server
from moceir import MoCEIR, image_io, load
from moceir.export import to_onnx

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = EXAMPLES / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(
        not list((PAGE / "runtime").glob("*.wasm")), reason="onnxruntime-web is not installed: make browser"
    ),
]
INT64 = TensorProto.INT64
PATIENCE_MS = 240_000


@pytest.fixture(scope="module")
def networks(golden: Path) -> dict[str, MoCEIR]:
    return {"tiny": load("tiny"), "nano": load(golden / "nano_lightning.ckpt")}


@pytest.fixture(scope="module")
def folder(networks: dict[str, MoCEIR], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with several models."""
    made = tmp_path_factory.mktemp("page") / "page"
    shutil.copytree(PAGE, made, ignore=shutil.ignore_patterns("node_modules", "*.onnx"))
    to_onnx(networks["tiny"], made / "model.onnx", half=True)
    to_onnx(networks["nano"], made / "nano.onnx")
    onnx.save(hungry(), made / "hungry.onnx")
    return made


def hungry() -> onnx.ModelProto:
    """A model that returns its image, and needs twice the memory for every 10 rows: 16 MB for 225, too much for 320."""
    shape = [1, 3, "height", "width"]
    nodes = [
        helper.make_node("Shape", ["image"], ["height"], start=2, end=3),
        helper.make_node("Div", ["height", "ten"], ["exponent"]),
        helper.make_node("Pow", ["two", "exponent"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["image", "zero"], ["restored"]),
    ]
    numbers = [helper.make_tensor(*named) for named in (("ten", INT64, [1], [10]), ("two", INT64, [1], [2]))]
    ends = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "restored"))
    graph = helper.make_graph(nodes, "hungry", [next(ends)], [next(ends)], numbers)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    running = server(0, folder)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(folder) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of its own, in which nothing goes wrong unnoticed."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


def wait_for_status(page: Any, expected: str) -> str:
    """Wait until the page is not busy, and return what it says."""
    page.locator("progress").wait_for(state="hidden")
    status = page.get_by_role("status").inner_text()
    assert expected in status
    return status


def open_page(page: Any, address: str, query: str = "") -> None:
    page.goto(f"{address}/{query}")
    wait_for_status(page, "Ready.")


def restore(page: Any, picture: Path) -> image_io.Picture:
    """Choose a picture and save the result."""
    page.set_input_files("#input", picture)
    wait_for_status(page, "Restored in")
    return saved(page)


def saved(page: Any) -> image_io.Picture:
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as PNG").click()
    assert download.value.suggested_filename.endswith("_restored.png")
    return image_io.read(Path(download.value.path()))


def to_batch(rgb: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def expected(network: MoCEIR, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Levels where 255 is white, neither clamped nor rounded, as the plain network in torch computes them."""
    with torch.no_grad():
        restored = network(to_batch(rgb))
    return restored[0].permute(1, 2, 0).numpy() * 255


def largest_difference(picture: image_io.Picture, levels: NDArray[Any]) -> float:
    assert picture.rgb.shape == levels.shape
    return float(np.abs(picture.rgb - levels.clip(0, 255)).max())


@pytest.mark.parametrize("name", ["tiny", "nano"])
@pytest.mark.parametrize("size", [(61, 43), (1, 1)])
def test_equals_torch(
    page: Any, address: str, networks: dict[str, MoCEIR], tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    rgb = write_picture(tmp_path / "photo.png", *size)
    open_page(page, address, "" if name == "tiny" else f"?model={name}.onnx")
    assert largest_difference(restore(page, tmp_path / "photo.png"), expected(networks[name], rgb)) <= 1


def test_pictures_that_take_other_routes(page: Any, address: str, networks: dict[str, MoCEIR], tmp_path: Path) -> None:
    """Each block decides on at least three of its four experts between these pictures."""
    network = networks["tiny"]
    seen: list[set[int]] = [set() for _ in range(network.config.routed_blocks)]
    open_page(page, address)
    crops = [image_io.read(path).rgb[120:181, 140:183] for path in sorted(EXAMPLES.glob("degraded/*.png"))]
    for number, rgb in enumerate([*crops, *(crop // 20 for crop in crops)]):  # as they are, and nearly black
        image_io.write(tmp_path / f"{number}.png", image_io.Picture(rgb))
        assert largest_difference(restore(page, tmp_path / f"{number}.png"), expected(network, rgb)) <= 1
        with torch.no_grad():
            _, decisions = network.restore_with_routing(to_batch(rgb))
        for block, decision in zip(seen, decisions, strict=True):
            block.add(int(decision.experts))
    assert all(len(block) >= 3 for block in seen)


def test_transparency_stays(page: Any, address: str, tmp_path: Path) -> None:
    rgba = np.full((20, 30, 4), 128, dtype=np.uint8)
    rgba[:, :15, 3], rgba[:, 15:, 3] = 255, np.arange(20, dtype=np.uint8)[:, None] * 10
    image_io.write(tmp_path / "cut.png", image_io.Picture(rgba[..., :3], alpha=rgba[..., 3]))
    open_page(page, address, "?model=nano.onnx")
    assert (restore(page, tmp_path / "cut.png").alpha == rgba[..., 3]).all()


def test_tiles_blend_into_what_torch_computes_for_each(
    page: Any, address: str, networks: dict[str, MoCEIR], tmp_path: Path
) -> None:
    rgb = write_picture(tmp_path / "photo.png", 250, 301)
    open_page(page, address, "?model=nano.onnx&tile=256")
    restored = restore(page, tmp_path / "photo.png")
    assert "Each of 2 tiles was restored by itself" in page.get_by_role("status").inner_text()
    # 215 columns each, so that they overlap by 129: only the left one counts up to the middle half, only the right one
    # behind it, and between them the share changes evenly.
    left, right = (expected(networks["nano"], rgb[:, columns]) for columns in (slice(215), slice(86, 301)))
    share = np.clip((np.arange(301) + 0.5 - 150.5) / 64 + 0.5, 0, 1)[:, None]
    blended = np.zeros(rgb.shape)
    blended[:, :215] += left * (1 - share[:215])
    blended[:, 86:] += right * share[86:]
    assert largest_difference(restored, blended) <= 1


def test_tiles_cover_every_pixel_once(page: Any, address: str) -> None:
    open_page(page, address, "?model=nano.onnx")
    sums = page.evaluate(
        """async () => {
            const { OVERLAP, spans, weights } = await import("/js/tiles.js");
            const found = [];
            for (const tile of [2 * OVERLAP, 300, 1024]) {
                for (let side = 1; side < 4000; side = Math.ceil(side * 1.1)) {
                    const all = spans(side, tile);
                    const sum = new Array(side).fill(0);
                    all.forEach(({ start, length }, i) => weights(all, i).forEach((w, x) => (sum[start + x] += w)));
                    const lengths = new Set(all.map(({ length }) => length));
                    found.push([side, tile, Math.min(...sum), Math.max(...sum), lengths.size, ...lengths]);
                }
            }
            return found;
        }"""
    )
    assert len(sums) > 100
    for side, tile, low, high, lengths, length in sums:
        assert (low, high) == (pytest.approx(1), pytest.approx(1)), (side, tile)
        assert lengths == 1
        assert length <= tile


def test_smaller_tiles_where_memory_ends(page: Any, address: str, tmp_path: Path) -> None:
    """The whole and tiles of 512 are too much for this model, tiles of 256 are not."""
    rgb = write_picture(tmp_path / "photo.png", 513, 40)
    open_page(page, address, "?model=hungry.onnx")
    assert (restore(page, tmp_path / "photo.png").rgb == rgb).all()
    assert "Each of 4 tiles was restored by itself" in page.get_by_role("status").inner_text()


def test_a_failure_is_told_and_the_next_picture_works(page: Any, address: str, tmp_path: Path) -> None:
    open_page(page, address, "?model=hungry.onnx&tile=512")
    write_picture(tmp_path / "large.png", 400, 30)
    page.set_input_files("#input", tmp_path / "large.png")
    page.locator(".failed").wait_for()
    (tmp_path / "text.png").write_text("no picture")
    page.set_input_files("#input", tmp_path / "text.png")
    wait_for_status(page, "cannot read that file")
    rgb = write_picture(tmp_path / "small.png", 40, 30)
    assert (restore(page, tmp_path / "small.png").rgb == rgb).all()


def test_stopping(page: Any, address: str, networks: dict[str, MoCEIR], tmp_path: Path) -> None:
    open_page(page, address)
    write_picture(tmp_path / "large.png", 1200, 1600)
    page.set_input_files("#input", tmp_path / "large.png")
    page.get_by_text("Restoring 1600").wait_for()
    page.get_by_role("button", name="Stop").click()
    wait_for_status(page, "Stopped.")
    rgb = write_picture(tmp_path / "small.png", 17, 23)
    assert largest_difference(restore(page, tmp_path / "small.png"), expected(networks["tiny"], rgb)) <= 1


def test_dropped_and_pasted_pictures(page: Any, address: str, tmp_path: Path) -> None:
    rgb = write_picture(tmp_path / "photo.png", 20, 30)
    open_page(page, address, "?model=hungry.onnx")
    for kind, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.evaluate(
            """([bytes, kind, field]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" }));
                const event = new Event(kind, { bubbles: true, cancelable: true });
                Object.defineProperty(event, field, { value: transfer });
                document.body.dispatchEvent(event);
            }""",
            [list((tmp_path / "photo.png").read_bytes()), kind, field],
        )
        wait_for_status(page, "Restored in")
        assert (saved(page).rgb == rgb).all()


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.id")


def test_by_keyboard(page: Any, address: str, tmp_path: Path) -> None:
    write_picture(tmp_path / "photo.png", 20, 30)
    open_page(page, address, "?model=hungry.onnx")
    page.keyboard.press("Tab")
    assert focused(page) == "input"
    page.set_input_files("#input", tmp_path / "photo.png")  # the dialog is the browser's
    wait_for_status(page, "Restored in")
    page.keyboard.press("Tab")
    assert focused(page) == "split"
    before = page.locator("#after").evaluate("canvas => getComputedStyle(canvas).clipPath")
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("slider").input_value() == "51"
    assert page.locator("#after").evaluate("canvas => getComputedStyle(canvas).clipPath") != before
    page.keyboard.press("Tab")
    assert focused(page) == "save"
    with page.expect_download():
        page.keyboard.press("Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(browser: Any, address: str, tmp_path: Path, scheme: str) -> None:
    write_picture(tmp_path / "photo.png", 200, 900)
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    open_page(page, address, "?model=hungry.onnx")
    page.set_input_files("#input", tmp_path / "photo.png")
    wait_for_status(page, "Restored in")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [page.locator(name).bounding_box() for name in ("#before", "#after")]
    assert boxes[0] == pytest.approx(boxes[1], abs=0.1)
    text, ground = (page.evaluate(f"getComputedStyle(document.body).{kind}") for kind in ("color", "backgroundColor"))
    darker, lighter = sorted(int(color.removeprefix("rgb(").split(",")[0]) for color in (text, ground))
    assert lighter - darker > 150
    assert (ground.startswith("rgb(20")) == (scheme == "dark")
    context.close()


def test_without_a_network_after_the_first_visit(page: Any, folder: Path, tmp_path: Path) -> None:
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    write_picture(tmp_path / "photo.png", 16, 16)
    with serving(folder) as address:
        open_page(page, address)
        page.evaluate("navigator.serviceWorker.ready")
        assert hosts == {address.removeprefix("http://")}
    page.reload()
    wait_for_status(page, "Ready.")
    restore(page, tmp_path / "photo.png")


def test_a_missing_model_is_told(page: Any, address: str) -> None:
    page.goto(f"{address}/?model=none.onnx")
    wait_for_status(page, "none.onnx is missing (404)")
    assert page.locator("#input").is_disabled()
