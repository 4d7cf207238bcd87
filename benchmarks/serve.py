"""Measure a server on loopback: what it adds to a restoration, its memory over many requests, and many clients at once.

    python benchmarks/serve.py --overhead 12
    python benchmarks/serve.py --requests 1000
    python benchmarks/serve.py --clients 64 --seconds 120

Each starts ``moceir serve`` as a process of its own. Every answer is compared with that of a `Restorer` in this one.
With ``--overhead``, this process also computes a large matrix product (GEMM) in each turn, whose rate shows how fast
the machine is.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
from recording import add_result_options, describe_processor, gemm_gflops, print_machine, save_results

from moceir import Restorer, image_io
from moceir.cli.options import parse_size
from moceir.evaluation.profiling import sample_picture
from moceir.evaluation.report import markdown_table
from moceir.machine.allocator import keep_freed_memory

SIDES = (64, 96, 112, 128)
"""Sides in pixels of the pictures for clients and for the memory."""
FLAT_OVER = 100
"""Requests at the beginning and at the end whose memory is compared."""


def main() -> None:
    """Measure what was asked for, print the tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument(
        "--threads", type=int, help="threads of the server and of the Restorer; torch's own number else"
    )
    parser.add_argument(
        "--overhead", type=int, default=0, metavar="PICTURES", help="restore so many both ways, in turns"
    )
    parser.add_argument("--size", type=parse_size, default=(512, 512), help="of these; 512x512 by default")
    parser.add_argument(
        "--requests", type=int, default=0, help="send so many one after the other, and watch the memory"
    )
    parser.add_argument("--clients", type=int, default=0, help="clients that send as fast as they can")
    parser.add_argument("--seconds", type=float, default=120, help="how long they do")
    add_result_options(parser)
    options = parser.parse_args()

    keep_freed_memory()
    restorer = Restorer.from_pretrained(options.model, device="cpu", threads=options.threads)
    machine = describe_processor(options.threads)
    print_machine(machine)
    results: dict[str, dict[str, Any]] = {}
    with serving(options) as (url, process):
        if options.overhead:
            results["overhead"] = overhead(restorer, url, options)
        if options.requests:
            results["memory"] = memory(url, process, options.requests)
        if options.clients:
            results["clients"] = many_clients(restorer, url, process, options)
    for name, row in results.items():
        texts = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()]
        shown = [[key.replace("_", " "), text] for key, text in zip(row, texts, strict=True)]
        print("\n".join(markdown_table([name, ""], shown)) + "\n")
    rows = {f"serve_{name}": [{"model": options.model, **row}] for name, row in results.items()}
    save_results(machine, options, **rows)


@contextlib.contextmanager
def serving(options: argparse.Namespace) -> Iterator[tuple[str, psutil.Process]]:
    """Run a server; yield its address and process."""
    command = [sys.executable, "-m", "moceir", "serve", "--port", "0", "--device", "cpu", "--model", options.model]
    if options.threads:
        command += ["--threads", str(options.threads)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603 - this interpreter
        log: Any = server.stderr
        address = re.search(r"http://[\d.]+:\d+", log.readline())
        if address is None:
            raise SystemExit(f"the server did not start: {log.read()}")
        drain = threading.Thread(target=log.read)
        drain.start()
        try:
            yield address[0], psutil.Process(server.pid)
        finally:
            server.terminate()
            drain.join()


def picture(width: int, height: int) -> bytes:
    """Return a PNG file."""
    levels = (sample_picture(width, height)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    return image_io.encode(image_io.Picture(levels), "png")


def send(http: httpx.Client, data: bytes) -> httpx.Response:
    """Restore a picture by the server."""
    return http.post("/v1/restore", files={"picture": ("a.png", data)})


def overhead(restorer: Restorer, url: str, options: argparse.Namespace) -> dict[str, Any]:
    """Restore one picture by the server and by a `Restorer` in turns."""
    data = picture(*options.size)
    measured: dict[str, list[float]] = {"restorer_s": [], "api_s": [], "gemm_gflops": []}
    with httpx.Client(base_url=url, timeout=900, trust_env=False) as http:
        for turn in range(-1, options.overhead):
            rate = gemm_gflops()
            began = time.perf_counter()
            expected = restorer.restore_bytes(data).restored
            between = time.perf_counter()
            answer = send(http, data)
            ended = time.perf_counter()
            if answer.content != expected:
                raise SystemExit("the server's picture is not that of the Restorer")
            if turn >= 0:  # the first turn warms up
                for values, value in zip(measured.values(), (between - began, ended - between, rate), strict=True):
                    values.append(value)
    row = {name: statistics.median(values) for name, values in measured.items()}
    width, height = options.size
    return {"width": width, "height": height, **row, "overhead": row["api_s"] / row["restorer_s"] - 1}


def memory(url: str, process: psutil.Process, requests: int) -> dict[str, Any]:
    """Send many pictures one after the other, and compare the memory of the first and the last of them."""
    files = [picture(side, side + 16) for side in SIDES]
    held: list[int] = []
    with httpx.Client(base_url=url, timeout=900, trust_env=False) as http:
        for number in range(requests):
            if send(http, files[number % len(files)]).status_code != httpx.codes.OK:
                raise SystemExit("a picture was refused")
            held.append(process.memory_full_info().uss)
    over = min(FLAT_OVER, requests // 2)
    first, last = statistics.mean(held[:over]), statistics.mean(held[-over:])
    return {
        "requests": requests,
        "first_mb": first / 1e6,
        "last_mb": last / 1e6,
        "growth": last / first - 1,
        "most_mb": max(held) / 1e6,
    }


def many_clients(restorer: Restorer, url: str, process: psutil.Process, options: argparse.Namespace) -> dict[str, Any]:
    """Let clients send pictures for some time; those that are refused wait as long as they are told."""
    files = [picture(side, side) for side in SIDES]
    expected = [restorer.restore_bytes(data).restored for data in files]
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    end = time.monotonic() + options.seconds

    def client(number: int) -> None:
        with httpx.Client(base_url=url, timeout=900, trust_env=False) as http:
            while time.monotonic() < end:
                began = time.perf_counter()
                try:
                    answer = send(http, files[number % len(files)])
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1
                    continue
                if answer.status_code == httpx.codes.OK:
                    latencies.append(time.perf_counter() - began)
                    statuses["right" if answer.content == expected[number % len(files)] else "wrong"] += 1
                else:
                    statuses[str(answer.status_code)] += 1
                    wait_s = float(answer.headers.get("Retry-After", 1))
                    time.sleep(max(min(wait_s, end - time.monotonic()), 0))
                number += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(options.clients)]
    for thread in threads:
        thread.start()
    held: list[int] = []
    while any(thread.is_alive() for thread in threads):
        held.append(process.memory_full_info().uss)
        time.sleep(0.25)
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "clients": options.clients,
        "duration_s": options.seconds,
        **statuses,
        "p50_s": cuts[49],
        "p99_s": cuts[98],
        "memory_median_mb": statistics.median(held) / 1e6,
        "memory_most_mb": max(held) / 1e6,
    }


if __name__ == "__main__":
    main()
