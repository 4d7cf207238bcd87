"""The page of ``moceir serve`` in a real browser."""

import io
import socket
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from browsing import add, download, open_browser, open_page, wait_for_status
from PIL import Image
from support import run, write_photographs, write_picture

from moceir import image_io

pytest.importorskip("gradio", reason="the page needs the extra serve")

from serving import running, until

EXAMPLES = Path(__file__).parents[2] / "examples" / "degraded"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def served():
    with running(options={"device": "cpu"}, port=0, max_body="20MB") as found:
        yield found


@pytest.fixture(scope="module")
def address(served):
    return served.url


@pytest.fixture
def page(browser, address):
    with open_page(browser, address) as opened:
        yield opened


def stage_pixels(page):
    """What the user sees of the picture, ``(H, W, 3)``."""
    return np.asarray(Image.open(io.BytesIO(page.locator(".stage").screenshot())).convert("RGB"))


def restore_example(page, name):
    page.get_by_role("button", name=name, exact=True).click()
    wait_for_status(page, "Restored")


class TestComparison:
    def test_the_divider_shows_before_on_its_left_and_after_on_its_right(self, page):
        restore_example(page, "Low light")
        divider = page.get_by_role("slider", name="Divider between before and after")
        given = np.asarray(Image.open(EXAMPLES / "low_light_coffee.png").convert("RGB"))
        middle = stage_pixels(page)
        third = middle.shape[1] // 3
        divider.press("End")
        before = stage_pixels(page)[:, third : 2 * third]
        divider.press("Home")
        after = stage_pixels(page)[:, third : 2 * third]
        assert before.mean() == pytest.approx(given[:, given.shape[1] // 3 : 2 * given.shape[1] // 3].mean(), abs=4)
        assert after.mean() > before.mean() + 20
        assert middle[:, -third:].mean() > middle[:, :third].mean() + 20

    def test_the_mouse_moves_the_divider(self, page):
        restore_example(page, "Low light")
        box = page.locator(".stage").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20, steps=3)
        page.mouse.up()
        divider = page.get_by_role("slider", name="Divider between before and after")
        assert int(divider.input_value()) == pytest.approx(900, abs=5)

    def test_zoom_enlarges_and_dragging_moves_the_picture(self, page):
        restore_example(page, "Noise")
        page.get_by_role("slider", name="Divider between before and after").press("End")
        fitted = stage_pixels(page)
        shown = page.locator(".zooming output")
        at_first = shown.inner_text()
        for _ in range(4):
            page.get_by_role("button", name="Zoom in").click()
        assert int(shown.inner_text().split()[0]) > 4 * int(at_first.split()[0])
        zoomed = stage_pixels(page)
        box = page.locator(".stage").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2 + 100, box["y"] + box["height"] / 2 + 60, steps=3)
        page.mouse.up()
        moved = stage_pixels(page)
        inner = np.s_[100:-100, 150:-150]
        shifted = np.roll(zoomed, (60, 100), axis=(0, 1))
        assert np.abs(moved[inner].astype(int) - shifted[inner]).mean() < 3
        assert np.abs(moved[inner].astype(int) - zoomed[inner]).mean() > 3
        page.get_by_role("button", name="Fit").click()
        assert shown.inner_text() == at_first
        assert np.abs(stage_pixels(page).astype(int) - fitted).mean() < 1

    def test_what_the_router_did_is_told(self, page):
        restore_example(page, "Rain")
        report = page.locator(".report")
        assert report.get_by_role("heading", name="Likely degradation: rain").is_visible()
        table = report.get_by_role("table")
        rows = [[cell.inner_text() for cell in row.locator("td").all()] for row in table.locator("tbody tr").all()]
        shares = [[float(cell.split()[0]) for cell in row] for row in rows]
        assert all(sum(row) == pytest.approx(100, abs=2) for row in shares)
        taken = [[i for i, cell in enumerate(row) if "chosen" in cell] for row in rows]
        assert taken == [[int(np.argmax(row))] for row in shares]


class TestWaysIn:
    def test_a_pasted_picture_is_restored(self, browser, address):
        with open_page(browser, address, permissions=["clipboard-read", "clipboard-write"]) as page:
            page.evaluate(
                """async (address) => {
                    const blob = await (await fetch(address)).blob();
                    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
                }""",
                "examples/blur_chelsea.png",
            )
            page.keyboard.press("Control+V")
            wait_for_status(page, "Restored")
            assert "346 \u00d7 256 pixels" in page.locator(".facts").inner_text()

    def test_dropped_pictures_are_restored(self, page, tmp_path):
        write_picture(tmp_path / "a.png")
        dropped = page.evaluate_handle(
            """(bytes) => {
                const transfer = new DataTransfer();
                for (const name of ["a.png", "b.png"]) transfer.items.add(new File([Uint8Array.from(bytes)], name));
                return transfer;
            }""",
            list((tmp_path / "a.png").read_bytes()),
        )
        page.dispatch_event("body", "drop", {"dataTransfer": dropped})
        wait_for_status(page, "2 restored")


class TestDownloads:
    def test_files_are_those_of_the_command_line(self, page, tmp_path):
        rgb = write_picture(tmp_path / "photo.JPG", 40, 56)
        exif = Image.Exif()
        exif[0x010F], exif[0x0112] = "A camera", 6
        Image.fromarray(rgb).save(tmp_path / "photo.JPG", "jpeg", quality=90, exif=exif, comment=b"By nobody")
        image_io.write(tmp_path / "deep.tif", image_io.Picture(rgb.astype(np.uint16) * 257))
        Image.fromarray(rgb).save(tmp_path / "web.webp", icc_profile=image_io.SRGB_PROFILE)
        for file in (tmp_path / "photo.JPG", tmp_path / "deep.tif", tmp_path / "web.webp"):
            add(page, file)
            wait_for_status(page, "estored")
            got = tmp_path / "got"
            name = download(page, "Download", got)
            assert name == f"{file.stem}_restored{file.suffix}"
            expected = tmp_path / f"expected{file.suffix}"
            assert run("restore", file, "-o", expected).exit_code == 0
            assert got.read_bytes() == expected.read_bytes()
            page.get_by_role("button", name="Clear").click()

    def test_every_control_reaches_the_file(self, page, tmp_path):
        source = tmp_path / "photo.png"
        write_picture(source, 40, 56)
        add(page, source)
        wait_for_status(page, "Restored")
        plain = tmp_path / "plain"
        download(page, "Download", plain)
        page.get_by_role("spinbutton", name="Strength").fill("0.5")
        page.get_by_label("Keep tones").check()
        page.get_by_label("high", exact=True).check()
        page.get_by_role("button", name="Result file").click()
        page.get_by_label("Format").click()
        page.get_by_role("option", name="WebP").click()
        page.get_by_role("spinbutton", name="Quality").fill("60")
        page.get_by_label("Remove").check()
        page.get_by_role("button", name="Restore again").click()
        page.locator(".report", has_not_text="Likely degradation").wait_for()
        got, expected = tmp_path / "got", tmp_path / "expected.webp"
        assert download(page, "Download", got) == "photo_restored.webp"
        options = ("--strength", "0.5", "--keep-tones", "--effort", "high", "--quality", "60", "--strip-metadata")
        assert run("restore", source, "-o", expected, *options).exit_code == 0
        assert got.read_bytes() == expected.read_bytes()
        assert got.read_bytes() != plain.read_bytes()

    def test_a_batch_comes_as_a_zip_that_others_can_read(self, page, tmp_path):
        write_photographs(tmp_path / "one", 3)
        write_photographs(tmp_path / "two", 1)
        files = [*sorted((tmp_path / "one").iterdir()), tmp_path / "two" / "p0.png"]
        broken = tmp_path / "broken.png"
        broken.write_bytes(files[0].read_bytes()[:100])
        add(page, *files, broken)
        wait_for_status(page, "4 restored, 1 failed")
        assert download(page, "Download all as a zip", tmp_path / "all.zip") == "restored.zip"
        assert run("restore", *files[:3], "-o", tmp_path / "expected").exit_code == 0
        expected = {f"{path.stem}_restored.png": path.read_bytes() for path in (tmp_path / "expected").iterdir()}
        expected["p0_restored (2).png"] = expected["p0_restored.png"]
        with zipfile.ZipFile(tmp_path / "all.zip") as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == expected


class TestProgress:
    def test_cancelling_frees_the_worker_at_once(self, page, served, tmp_path):
        write_picture(tmp_path / "large.png", 2000, 2000)
        write_picture(tmp_path / "small.png")
        write_picture(tmp_path / "other.png", 2000, 2000)  # as large: a small one could be done first
        add(page, tmp_path / "large.png", tmp_path / "other.png")
        wait_for_status(page, "Restoring 1 of 2")
        page.get_by_text("left").wait_for()
        until(lambda: len(served.service.queue) == 2)
        page.get_by_role("button", name="Cancel").click()
        until(lambda: not len(served.service.queue), 10)
        wait_for_status(page, "2 cancelled")
        page.get_by_role("button", name="Clear").click()
        add(page, tmp_path / "small.png")
        wait_for_status(page, "Restored")

    def test_closing_the_page_frees_the_worker(self, browser, address, served, tmp_path):
        write_picture(tmp_path / "large.png", 2000, 2000)
        with open_page(browser, address) as page:
            add(page, tmp_path / "large.png")
            page.get_by_text("left").wait_for()
            assert len(served.service.queue) == 1
        until(lambda: not len(served.service.queue), 10)

    def test_progress_and_time_left_only_move_forward(self, page, tmp_path):
        write_picture(tmp_path / "large.png", 700, 700)
        page.evaluate(
            """() => {
                window.seen = [];
                const bar = document.querySelector("progress");
                new MutationObserver(() => window.seen.push(bar.value)).observe(bar, { attributes: true });
            }"""
        )
        add(page, tmp_path / "large.png")
        wait_for_status(page, "Restored")
        seen = page.evaluate("window.seen")
        assert seen == sorted(seen)
        assert len({value for value in seen if 0 < value < 1}) >= 3


class TestErrors:
    def test_each_failure_is_said_in_plain_words_and_the_others_go_on(self, page, tmp_path):
        (tmp_path / "letter.txt").write_text("Dear reader")
        Image.new("RGB", (8, 8)).save(tmp_path / "moving.gif")
        write_picture(tmp_path / "good.png")
        add(page, tmp_path / "letter.txt", tmp_path / "moving.gif", tmp_path / "good.png")
        wait_for_status(page, "1 restored, 2 failed")
        problem = page.get_by_role("alert")
        assert "expected a whole JPEG, PNG, WebP, TIFF or AVIF file" in problem.inner_text()
        page.get_by_role("button", name="moving.gif").click()
        assert "is a GIF file; convert it" in problem.inner_text()
        page.get_by_role("button", name="good.png").click()
        assert not problem.is_visible()

    def test_a_file_above_the_limit_is_refused_with_the_limit(self, page, tmp_path):
        (tmp_path / "huge.png").write_bytes(b"\x89PNG" + bytes(21_000_000))
        add(page, tmp_path / "huge.png")
        wait_for_status(page, "Failed")
        assert "20 MB" in page.get_by_role("alert").inner_text()

    def test_a_server_that_is_gone_is_named(self, browser, tmp_path):
        write_picture(tmp_path / "photo.png")
        with running(options={"device": "cpu"}, port=0) as served:
            opened = open_page(browser, served.url)
            page = opened.__enter__()
        add(page, tmp_path / "photo.png")
        wait_for_status(page, "Failed")
        assert "The server does not answer" in page.get_by_role("alert").inner_text()
        opened.__exit__(None, None, None)


class TestPrivacy:
    def test_uploads_touch_no_disk_and_the_server_connects_to_nobody(self, page, tmp_path, monkeypatch):
        def refuse(_socket, goal):
            raise AssertionError(f"the server connects to {goal}")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
        (tmp_path / "temp").mkdir()
        write_picture(tmp_path / "photo.png", 1100, 1100)
        assert (tmp_path / "photo.png").stat().st_size > 3_000_000  # more than what upload parsers keep in memory
        add(page, tmp_path / "photo.png")
        page.get_by_text("left").wait_for()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Clear").click()
        restore_example(page, "Rain")
        assert list((tmp_path / "temp").iterdir()) == []

    def test_a_server_with_a_token_asks_for_it(self, browser):
        with (
            running(options={"device": "cpu"}, port=0, token="swordfish") as served,  # noqa: S106 - not a secret
            browser.new_context() as context,
        ):
            page = context.new_page()
            page.goto(served.url)
            for token in ("trout", "swordfish"):
                assert page.url.endswith("/login")
                page.get_by_label("Token").fill(token)
                page.get_by_role("button", name="Log in").click()
            restore_example(page, "Rain")
            context.clear_cookies()
            page.get_by_role("button", name="Restore again").click()
            page.get_by_role("alert").filter(has_text="You are no longer logged in").wait_for()

    def test_the_browser_itself_refuses_other_hosts(self, page):
        refused = page.evaluate("fetch('https://example.org/').then(() => false, () => true)")
        assert refused
        policy = page.request.get(page.url).headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "http" not in policy


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [390, 1280])
    def test_text_can_be_read_and_nothing_scrolls_sideways(self, browser, address, scheme, width):
        with open_page(browser, address, color_scheme=scheme, viewport={"width": width, "height": 844}) as page:
            check_looks(page, width)
            restore_example(page, "Rain")
            check_looks(page, width)
            background = page.evaluate("getComputedStyle(document.body).backgroundColor")
            brightness = sum(int(part) for part in background.strip("rgb()").split(",")) / 3
            assert (brightness < 80) == (scheme == "dark")

    def test_everything_works_by_keyboard(self, page):
        wanted = ["Choose pictures", "Noise", "Strong noise", "Rain"]
        assert [tab(page) for _ in wanted] == wanted
        page.keyboard.press("Enter")
        wait_for_status(page, "Restored")
        wanted = [
            *("Clear", "Download", "Divider between before and after", "Zoom out", "Zoom in", "Fit", "Actual size"),
            "Show changes",
        ]
        page.get_by_role("button", name="Choose pictures").focus()
        assert [tab(page) for _ in wanted] == wanted
        names = [tab(page) for _ in range(14)]
        assert (names[0], names[-3:]) == ("number input for Strength", ["Model", "Result file", "Restore again"])


def check_looks(page, width):
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(FAINT_TEXTS) == []


def tab(page):
    """Go to the next control, which must show that it has the focus, and return its name."""
    page.keyboard.press("Tab")
    name, outline = page.evaluate(
        """() => {
            const focused = document.activeElement;
            const name = focused.ariaLabel || focused.innerText.trim().split("\\n")[0] || focused.value || "";
            return [name, getComputedStyle(focused).outlineStyle];
        }"""
    )
    assert outline != "none", name
    return name


FAINT_TEXTS = """() => {
    const channels = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
    const luminance = ([r, g, b]) => [r, g, b]
        .map((value) => value / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = channels(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const text = texts.currentNode.textContent.trim();
        if (!text || !element.checkVisibility() || element.closest(".tag, .experts tbody td, :disabled")) continue;
        const [ink, paper] = [channels(getComputedStyle(element).color), behind(element)].map(luminance);
        const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        if (contrast < 4.5) faint.push(`${text}: ${contrast.toFixed(1)}`);
    }
    return faint;
}"""
"""Visible texts whose contrast to what is behind them is below 4.5, the limit of WCAG 2.2 (1.4.3)."""
