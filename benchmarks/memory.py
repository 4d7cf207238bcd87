"""Measure the peak memory of whole pictures and set it beside what ``moceir.restoration.memory`` predicts.

    python benchmarks/memory.py --preset tiny --size 1024x1024 --preset base --size 512x512

Each picture is restored in a fresh process on the processor, on the dearest route. The constants in
``moceir.restoration.memory`` are right as long as no measured peak is above its prediction.
"""

from __future__ import annotations

import argparse
import itertools

from moceir.cli.options import parse_size
from moceir.evaluation.profiling import Subject, cpu_peak_bytes
from moceir.models.presets import preset
from moceir.restoration.memory import peak_bytes


def main() -> None:
    """Print one Markdown row per preset and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", action="append", help="repeatable; tiny by default")
    parser.add_argument("--size", action="append", type=parse_size, help="WIDTHxHEIGHT, repeatable; some by default")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    sizes = arguments.size or [(64, 64), (256, 256), (768, 256), (1024, 1024), (2048, 512)]
    print("| preset | size | measured MiB | predicted MiB | measured / predicted | measured bytes per pixel |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name, (width, height) in itertools.product(arguments.preset or ["tiny"], sizes):
        predicted = peak_bytes(preset(name), height, width)
        measured = cpu_peak_bytes(Subject(name, untrained=True), width, height, "dearest", arguments.threads)
        if measured is None:
            raise SystemExit("this system does not tell the peak memory of a process")
        print(
            f"| {name} | {width}x{height} | {measured / 2**20:.0f} | {predicted / 2**20:.0f} "
            f"| {measured / predicted:.2f} | {measured / width / height:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
