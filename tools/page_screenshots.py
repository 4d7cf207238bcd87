"""Take the screenshots of the page in the documentation: the page of ``moceir serve`` with an example in it.

    python tools/page_screenshots.py

It needs the extras ``serve`` and ``dev``, and Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from moceir.web.app import create_app
from moceir.web.server import DrainingServer, open_socket
from moceir.web.settings import ServeSettings

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LONG_MS = 120_000
"""How long a restoration may take on a busy machine."""
SHOTS = {
    "page.webp": {"viewport": {"width": 1280, "height": 1000}, "color_scheme": "light"},
    "page-phone.webp": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "dark",
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    },
}
"""Name of each screenshot, with the screen it is taken on."""


def main() -> int:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder for the pictures")
    output = parser.parse_args().output
    chromium = shutil.which("chromium")
    if chromium is None:
        print("there is no chromium; install it with: apt-get install chromium", file=sys.stderr)
        return 1
    with serving() as address, sync_playwright() as playwright:
        for name, screen in SHOTS.items():
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            shot = take(browser, address, screen)
            browser.close()
            Image.open(io.BytesIO(shot)).convert("RGB").save(output / name, quality=80, method=6)
            print(f"{output / name}: {(output / name).stat().st_size / 1e3:.0f} kB")
    return 0


def take(browser: Browser, address: str, screen: dict[str, object]) -> bytes:
    """Restore an example on the page, and return a PNG file of what the screen shows."""
    page = browser.new_context(**screen).new_page()  # pyright: ignore[reportArgumentType] - options by name
    page.set_default_timeout(LONG_MS)
    page.goto(address)
    page.get_by_role("button", name="Rain", exact=True).click()
    page.get_by_text("Likely degradation").wait_for()
    return page.screenshot()


@contextmanager
def serving() -> Iterator[str]:
    """Serve the bundled model on loopback, and yield the address."""
    settings = ServeSettings(port=0)
    server, listening = DrainingServer(create_app(settings)), open_socket(settings)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
