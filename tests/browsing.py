"""A real browser for tests of the page: Debian's Chromium, which may only talk to this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
LONG_MS = 120_000
"""How long a restoration may take on a machine that is busy with other tests."""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium; the test is skipped where it or playwright is missing."""
    if CHROMIUM is None:
        pytest.skip("the tests of the page need Chromium; install it with: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="the tests of the page need playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Browser, address: str, **context: Any) -> Iterator[Page]:
    """Open the page, and check at the end that it went well: nothing asked of other hosts, nothing failed in it.

    Args:
        browser: From `open_browser`.
        address: Of the server.
        **context: Options of the browser's context, for example ``color_scheme="dark"``.
    """
    wrong: list[str] = []
    address = address.rstrip("/") + "/"
    options = {"viewport": {"width": 1280, "height": 900}, "accept_downloads": True} | context
    with browser.new_context(**options) as opened:
        page = opened.new_page()
        page.set_default_timeout(LONG_MS)
        home = urlsplit(address).netloc

        def check_request(request: Any) -> None:
            parts = urlsplit(request.url.removeprefix("blob:"))
            if parts.netloc != home and parts.scheme != "data":
                wrong.append(f"asked of another host: {request.url}")

        page.on("request", check_request)
        page.on("websocket", lambda socket: wrong.append(f"a socket to {socket.url}"))
        page.on("pageerror", lambda error: wrong.append(f"failed in the page: {error}"))
        page.goto(address)
        page.get_by_role("button", name="Choose pictures").wait_for()
        yield page
    assert not wrong


def add(page: Page, *files: Path) -> None:
    """Choose files as a user does."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose pictures").click()
    chooser.value.set_files(files)


def wait_for_status(page: Page, text: str) -> None:
    """Wait until the line of the overall progress says this."""
    page.get_by_role("status").filter(has_text=text).wait_for()


def download(page: Page, button: str, target: Path) -> str:
    """Press a button that downloads a file, save the file, and return the name that the page gave it."""
    with page.expect_download() as started:
        page.get_by_role("button", name=button, exact=True).click()
    started.value.save_as(target)
    return started.value.suggested_filename
