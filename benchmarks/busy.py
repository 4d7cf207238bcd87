"""Measure how much slower a restoration gets beside other programs, and what the waiting of threads has to do with it.

    python benchmarks/busy.py --preset tiny --size 512x512 --loops 2

For each way of waiting, a fresh process restores four pictures of random noise, first on the machine as it is and then
beside busy loops. The ways take turns, so that other load on the machine affects all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import describe_machine
from moceir.evaluation.report import markdown_table
from moceir.files import write_json
from moceir.machine.threads import CHOSEN_BY_USER

WAYS: dict[str, dict[str, str]] = {
    "moceir's choice": {},
    "the library's default": {"GOMP_SPINCOUNT": "300000"},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}
PICTURES = 4
RESTORE = """
import sys, time
import moceir
from moceir.evaluation.profiling import sample_picture
preset, width, height, threads, pictures = sys.argv[1], *map(int, sys.argv[2:])
restorer = moceir.Restorer(moceir.MoCEIR(moceir.preset(preset)), device="cpu", threads=threads or None)
picture = sample_picture(width, height)
restorer.restore(picture)
began = time.perf_counter()
for _ in range(pictures):
    restorer.restore(picture)
print(time.perf_counter() - began)
"""


def main() -> None:
    """Measure each way in turns, print the table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--size", type=parse_size, default=(512, 512), help="WIDTHxHEIGHT; 512x512 by default")
    parser.add_argument("--threads", type=int, default=0, help="threads of each process; torch's own number by default")
    parser.add_argument("--loops", type=int, default=os.cpu_count() or 1, help="busy loops; one per core by default")
    parser.add_argument("--rounds", type=int, default=3, help="turns; the median is taken")
    parser.add_argument("--json", type=Path, help="write the results there")
    options = parser.parse_args()

    seconds: dict[str, dict[str, list[float]]] = {way: {"alone": [], "busy": []} for way in WAYS}
    for _ in range(options.rounds):
        for way, variables in WAYS.items():
            seconds[way]["alone"].append(restore(options, variables))
            loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.loops)]
            try:
                seconds[way]["busy"].append(restore(options, variables))
            finally:
                for loop in loops:
                    loop.kill()
                    loop.wait()
    rows: list[dict[str, Any]] = []
    for way, measured in seconds.items():
        alone, busy = (statistics.median(measured[kind]) for kind in ("alone", "busy"))
        rows.append({"way": way, "alone_seconds": alone, "busy_seconds": busy, "ratio": busy / alone})
    machine = describe_machine("cpu", options.threads or None)
    print(", ".join(f"{key} {value}" for key, value in machine.items() if value is not None), end="\n\n")
    cells = [[r["way"], f"{r['alone_seconds']:.2f}", f"{r['busy_seconds']:.2f}", f"{r['ratio']:.1f}"] for r in rows]
    print("\n".join(markdown_table(("threads wait", "s alone", f"s beside {options.loops} loops", "ratio"), cells)))
    if options.json:
        write_json(options.json, machine | {"rows": rows})


def restore(options: argparse.Namespace, variables: dict[str, str]) -> float:
    """Restore pictures in a fresh process; return the seconds of all but a first one."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER} | variables
    given = (options.preset, *options.size, options.threads, PICTURES)
    command = [sys.executable, "-c", RESTORE, *map(str, given)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own interpreter
    return float(done.stdout)


if __name__ == "__main__":
    main()
