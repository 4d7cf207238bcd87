"""Serve this folder to browsers on this computer: ``python examples/browser/serve.py``.

Any web server can serve the folder. This one adds two headers that let the runtime use several threads.
"""

from __future__ import annotations

import argparse
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""Browsers share memory between threads only on pages that are isolated from other sites."""


class Handler(SimpleHTTPRequestHandler):
    """Serves files, with the headers of `ISOLATION`."""

    # The types that the system knows can be wrong, and browsers refuse scripts of another type.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        """Add the headers."""
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        super().end_headers()


def server(port: int, folder: Path = HERE) -> ThreadingHTTPServer:
    """Create a server for a folder on the loopback address.

    Args:
        port: TCP port, 0 for any that is free.
        folder: What to serve.
    """
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=folder))


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="TCP port")
    with server(parser.parse_args().port) as running:
        print(f"open http://127.0.0.1:{running.server_port}")
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
