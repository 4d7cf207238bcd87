"""Measure the peak memory of pictures and compare it with the prediction of ``moceir.restoration.memory``.

    python benchmarks/memory.py --preset tiny --preset base --size 1024x1024 --size 512x512
    python benchmarks/memory.py --model tiny-x4 --size 512x512 --repeat 10

Each picture is restored as a whole in a fresh process on the CPU, on the dearest route. The constants in
``moceir.restoration.memory`` are right as long as no measured peak exceeds its prediction.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from recording import add_result_options, describe_processor, print_machine, save_results

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import Subject, cpu_peak_bytes
from moceir.evaluation.report import markdown_table
from moceir.restoration.memory import peak_bytes

COLUMNS = ("network", "size", "measured MiB", "predicted MiB", "measured / predicted", "measured bytes per pixel")


def main() -> None:
    """Measure each network and size, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", action="append", help="shape with random weights; repeatable; default: tiny")
    parser.add_argument("--model", action="append", help="model, for example tiny-x4, which enlarges; repeatable")
    parser.add_argument(
        "--size", action="append", type=parse_size, help="WIDTHxHEIGHT, repeatable; default: five sizes"
    )
    parser.add_argument("--repeat", type=int, default=1, help="processes per picture; the largest peak counts")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    add_result_options(parser)
    arguments = parser.parse_args()
    if arguments.repeat < 1:
        parser.error(f"--repeat is {arguments.repeat}, but at least one process has to measure")
    sizes = arguments.size or [(64, 64), (256, 256), (768, 256), (1024, 1024), (2048, 512)]
    machine = describe_processor(arguments.threads)
    print_machine(machine)
    print(*markdown_table(COLUMNS, ()), sep="\n")
    rows: list[dict[str, Any]] = []
    models = [Subject(name) for name in arguments.model or []]
    presets = arguments.preset or ([] if models else ["tiny"])
    subjects = [*(Subject(name, untrained=True) for name in presets), *models]
    for subject, (width, height) in itertools.product(subjects, sizes):
        predicted = peak_bytes(subject.load().config, height, width)
        measured = largest_peak(subject, width, height, arguments.threads, arguments.repeat)
        mib = {"measured_mib": measured / 2**20, "predicted_mib": predicted / 2**20}
        size = {"width": width, "height": height, "threads": arguments.threads, "repeat": arguments.repeat}
        rows.append({"network": subject.name, **size, **mib, "share": measured / predicted})
        numbers = [*(f"{value:.0f}" for value in mib.values()), f"{measured / predicted:.2f}"]
        row = [subject.name, f"{width}x{height}", *numbers, f"{measured / width / height:.0f}"]
        print(markdown_table(row, ())[0], flush=True)
    save_results(machine, arguments, memory=rows)


def largest_peak(subject: Subject, width: int, height: int, threads: int, repeat: int) -> int:
    """Measure the largest peak of a picture in several processes; the allocator does not do the same in each."""
    peaks = [cpu_peak_bytes(subject, width, height, "dearest", threads) for _ in range(repeat)]
    known = [peak for peak in peaks if peak is not None]
    if not known:
        raise SystemExit("this system does not report the peak memory of a process")
    return max(known)


if __name__ == "__main__":
    main()
