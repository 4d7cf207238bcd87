"""The control of the page that enlarges, in a real browser."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from browsing import add, download, open_browser, open_page, wait_for_status
from PIL import Image
from support import run

pytest.importorskip("gradio", reason="the page needs the extra serve")

from serving import running

EXAMPLES = Path(__file__).parents[2] / "examples" / "degraded"


@pytest.fixture(scope="module")
def page():
    with (
        running(options={"device": "cpu"}, port=0) as served,
        open_browser() as browser,
        open_page(browser, served.url) as opened,
    ):
        yield opened


def stage_pixels(page):
    """What the user sees of the picture, ``(H, W, 3)``."""
    return np.asarray(Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB"))


def test_the_result_is_that_of_the_command_line_and_lies_over_the_enlarged_picture(page, tmp_path):
    source = tmp_path / "photo.png"
    shutil.copy(EXAMPLES / "blur_chelsea.png", source)
    add(page, source)
    wait_for_status(page, "Restored")
    page.get_by_role("button", name="Show changes").click()
    page.get_by_label("2x", exact=True).check()
    page.get_by_role("button", name="Restore again").click()
    page.locator(".facts").filter(has_text="692 \u00d7 512 pixels, enlarged 2x").wait_for()
    assert "tiny-x2" in page.locator(".facts").inner_text()
    assert page.get_by_role("button", name="Show changes").is_hidden()

    before, after = (page.locator(f"[data-part={part}]") for part in ("before", "after"))
    assert before.bounding_box() == after.bounding_box()
    assert before.evaluate("image => image.naturalWidth") == 346
    assert after.evaluate("image => image.naturalWidth") == 692
    divider = page.get_by_role("slider", name="Divider between before and after")
    divider.press("End")
    shown_before = stage_pixels(page).astype(int)
    divider.press("Home")
    shown_after = stage_pixels(page).astype(int)
    inner = np.s_[40:-40, 40:-40]
    change = np.abs(shown_before[inner] - shown_after[inner]).mean()
    assert 0.1 < change < np.abs(shown_before[inner] - np.roll(shown_after, 20, axis=1)[inner]).mean() / 2
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Actual size").click()
    at_actual_size = after.bounding_box()["width"] / 692
    shown = int(page.locator(".zooming output").inner_text().split()[0])
    assert shown == pytest.approx(100 * at_actual_size, abs=1)

    got = tmp_path / "got"
    download(page, "Download", got)
    assert run("restore", source, "-o", tmp_path / "expected.png", "--upscale", "2").exit_code == 0
    assert got.read_bytes() == (tmp_path / "expected.png").read_bytes()
    page.get_by_label("no", exact=True).check()
    page.get_by_role("button", name="Restore again").click()
    page.locator(".facts").filter(has_text="346 \u00d7 256 pixels").wait_for()
    assert page.get_by_role("button", name="Show changes").is_visible()
