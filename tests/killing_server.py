"""Kill a server in the middle of uploads, and print how many files were open and how many were left behind.

    python tests/killing_server.py FOLDER --model MODEL --kills 20

FOLDER is the one for temporary files. Each server is a process forked from this one, which has everything imported.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from moceir.web.app import create_app
from moceir.web.server import open_socket, serve
from moceir.web.settings import ServeSettings

FORM = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="../a.png"\r\n\r\n'
SENT_BYTES = 4_000_000
"""How much of each upload is sent: enough to leave memory."""


def start(settings: ServeSettings, listening: socket.socket) -> int:
    """Serve in a child; return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        serve(create_app(settings), listening)
    finally:
        os._exit(3)


def upload_half(port: int) -> socket.socket:
    """Begin to upload a picture of twice the size."""
    connection = socket.create_connection(("127.0.0.1", port))
    head = f"Host: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {2 * SENT_BYTES}"
    connection.sendall(f"POST /v1/restore HTTP/1.1\r\n{head}\r\n\r\n".encode() + FORM + bytes(SENT_BYTES))
    return connection


def open_files(process: int, folder: Path) -> int:
    """Count the files that a process has open in a folder, those without a name included."""
    count = 0
    for entry in Path(f"/proc/{process}/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith(str(folder))
        except FileNotFoundError:
            continue
    return count


def main() -> None:
    """Kill servers and print a summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    folder = options.folder.resolve()
    tempfile.tempdir = str(folder)
    settings = ServeSettings(models=(options.model,), options={"device": "cpu"}, port=0)
    opened = left = 0
    for number in range(options.kills):
        listening = open_socket(settings)
        child = start(settings, listening)
        uploads = [upload_half(listening.getsockname()[1]) for _ in range(2)]
        deadline = time.monotonic() + 60
        while open_files(child, folder) < len(uploads) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.01 * (number % 5))
        opened += open_files(child, folder)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left += len(list(folder.rglob("*")))
        for upload in (*uploads, listening):
            upload.close()
    sys.stdout.write(json.dumps({"kills": options.kills, "opened": opened, "left": left}))


if __name__ == "__main__":
    main()
