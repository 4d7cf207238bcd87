"""Measure how much slower a restoration gets beside other programs, and what the waiting of threads has to do with it.

    python benchmarks/busy.py --preset tiny --size 512x512 --loops 2

For each way of waiting, a fresh process restores four pictures of random noise, first on the machine as it is and then
beside busy loops. The ways take turns, so that other load on the machine affects all of them. Each process computes a
large matrix product (GEMM) before the pictures; its rate without the loops shows how fast the machine is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from recording import add_result_options, describe_processor, print_machine, save_results

from moceir.cli.options import parse_size
from moceir.evaluation.report import markdown_table
from moceir.machine.threads import CHOSEN_BY_USER

WAYS: dict[str, dict[str, str]] = {
    "moceir's choice": {},
    "the library's default": {"GOMP_SPINCOUNT": "300000"},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}
PICTURES = 4
RESTORE = """
import sys, time
sys.path.append(sys.argv.pop())
import moceir
from recording import gemm_gflops
from moceir.evaluation.profiling import sample_picture
preset, width, height, threads, pictures = sys.argv[1], *map(int, sys.argv[2:])
restorer = moceir.Restorer(moceir.MoCEIR(moceir.preset(preset)), device="cpu", threads=threads or None)
picture = sample_picture(width, height)
restorer.restore(picture)
gemm_gflops()
rate = gemm_gflops()
began = time.perf_counter()
for _ in range(pictures):
    restorer.restore(picture)
print(time.perf_counter() - began, rate)
"""


def main() -> None:
    """Measure each way in turns, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--size", type=parse_size, default=(512, 512), help="WIDTHxHEIGHT; 512x512 by default")
    parser.add_argument("--threads", type=int, default=0, help="threads of each process; torch's own number by default")
    parser.add_argument("--loops", type=int, default=os.cpu_count() or 1, help="busy loops; one per core by default")
    parser.add_argument("--rounds", type=int, default=3, help="turns; the median is taken")
    add_result_options(parser)
    options = parser.parse_args()

    machine = describe_processor(options.threads or None) | {"rounds": options.rounds, "pictures": PICTURES}
    print_machine(machine)
    measured: dict[str, dict[str, list[float]]] = {way: {"alone": [], "busy": [], "gemm": []} for way in WAYS}
    for _ in range(options.rounds):
        for way, variables in WAYS.items():
            seconds, gflops = restore(options, variables)
            measured[way]["alone"].append(seconds)
            measured[way]["gemm"].append(gflops)
            loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.loops)]
            try:
                measured[way]["busy"].append(restore(options, variables)[0])
            finally:
                for loop in loops:
                    loop.kill()
                    loop.wait()
    rows: list[dict[str, Any]] = []
    asked = {"preset": options.preset, "width": options.size[0], "height": options.size[1], "loops": options.loops}
    for way, kinds in measured.items():
        alone, busy, gemm = map(statistics.median, kinds.values())
        times = {"alone_seconds": alone, "busy_seconds": busy, "ratio": busy / alone}
        rows.append({"way": way, **asked, **times, "gemm_gflops": gemm})
    cells = [[row["way"], *(f"{row[key]:.2f}" for key in (*times, "gemm_gflops"))] for row in rows]
    header = ("threads wait", "s alone", f"s beside {options.loops} loops", "ratio", "GEMM, GFLOP/s")
    print(*markdown_table(header, cells), sep="\n")
    save_results(machine, options, busy=rows)


def restore(options: argparse.Namespace, variables: dict[str, str]) -> tuple[float, float]:
    """Restore pictures in a fresh process; return the seconds of all but a first one, and the GFLOP/s of a product."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER} | variables
    given = (options.preset, *options.size, options.threads, PICTURES, Path(__file__).parent)
    command = [sys.executable, "-c", RESTORE, *map(str, given)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own interpreter
    seconds, gflops = map(float, done.stdout.split())
    return seconds, gflops


if __name__ == "__main__":
    main()
