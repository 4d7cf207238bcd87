"""Write docs/performance.md from the text of benchmarks/results/page.md and the kept results of benchmarks.

    python tools/performance_page.py --write

A paragraph ``<!-- NAME -->`` of the text stands for the tables of ``benchmarks/results/NAME/*.json``, newest first: of
each command (whatever its ``--repeat``) the newest result. If there are none, the paragraph disappears. Without
``--write``, the script only tells whether the page is up to date.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moceir.evaluation.report import markdown_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], str]]


def _size(row: Row) -> str:
    return f"{row['width']}x{row['height']}"


def _of_float32(row: Row) -> str:
    return f"{row['seconds']['bfloat16'] / row['seconds']['float32']:.2f}"


def _lost_db(row: Row) -> str:
    return f"{row['psnr_db']['bfloat16'] - row['psnr_db']['float32']:+.3f}"


def _phase(name: str) -> Column:
    return name, lambda row: f"{row['share'][name]:.1%}"


def _part(name: str) -> Column:
    return name, lambda row: f"{row['parts'][name] / row['width'] / row['height'] * 1e6:.2f}"


GEMM: Column = ("GEMM, GFLOP/s", lambda row: f"{row['gemm_gflops']:.0f}")
TABLES: dict[str, tuple[Column, ...]] = {
    "inference": (
        ("preset", lambda row: row["preset"]),
        ("size", _size),
        ("threads", lambda row: str(row["threads"])),
        ("network", lambda row: row["network"]),
        ("seconds", lambda row: f"{row['seconds']:.2f}"),
        ("per megapixel", lambda row: f"{row['seconds'] / row['width'] / row['height'] * 1e6:.2f}"),
        ("in the kernel", lambda row: f"{row['kernel_share']:.1%}" if "kernel_share" in row else "-"),
        GEMM,
        ("of GEMM", lambda row: f"{row['share_of_gemm']:.0%}"),
        ("peak MiB", lambda row: "unknown" if row["peak_memory_mib"] is None else f"{row['peak_memory_mib']:.0f}"),
    ),
    "parts": (
        ("size", _size),
        ("s per megapixel", lambda row: f"{row['seconds'] / row['width'] / row['height'] * 1e6:.2f}"),
        *map(_part, ("attention: sums", "attention: mixing", "feed-forward", "experts")),
        *map(_part, ("1x1 before the experts", "upsampling and skip", "whole maps")),
        GEMM,
        ("copy of a map, GB/s", lambda row: f"{row['copy_gb_per_s']:.1f}"),
    ),
    "precision_time": (
        ("preset", lambda row: row["preset"]),
        ("size", _size),
        ("float32, s", lambda row: f"{row['seconds']['float32']:.3f}"),
        ("bfloat16, s", lambda row: f"{row['seconds']['bfloat16']:.3f}"),
        ("of float32", _of_float32),
    ),
    "precision_quality": (
        ("model", lambda row: row["model"]),
        ("degradation", lambda row: row["task"]),
        ("pictures", lambda row: str(row["pictures"])),
        ("float32, dB", lambda row: f"{row['psnr_db']['float32']:.3f}"),
        ("bfloat16, dB", lambda row: f"{row['psnr_db']['bfloat16']:.3f}"),
        ("difference, dB", _lost_db),
    ),
    "files": (
        ("files", lambda row: str(row["files"])),
        ("sides, px", lambda row: "{} to {}".format(*row["sides"])),
        ("seconds", lambda row: f"{row['seconds']:.1f}"),
        ("in the network", lambda row: f"{row['share']:.1%}"),
        ("network alone, s", lambda row: f"{row['network_alone']:.1f}"),
        ("resident MB by tenths", lambda row: " ".join(f"{mb:.0f}" for mb in row["resident_mb"])),
        GEMM,
    ),
    "memory": (
        ("network", lambda row: row["network"]),
        ("size", _size),
        ("threads", lambda row: str(row["threads"])),
        ("peak MiB", lambda row: f"{row['measured_mib']:.0f}"),
        ("predicted MiB", lambda row: f"{row['predicted_mib']:.0f}"),
        ("of predicted", lambda row: f"{row['share']:.0%}"),
    ),
    "busy": (
        ("threads wait", lambda row: row["way"]),
        ("preset", lambda row: row["preset"]),
        ("size", _size),
        ("seconds alone", lambda row: f"{row['alone_seconds']:.2f}"),
        ("busy loops", lambda row: str(row["loops"])),
        ("seconds beside them", lambda row: f"{row['busy_seconds']:.2f}"),
        ("ratio", lambda row: f"{row['ratio']:.1f}"),
        GEMM,
    ),
    "training": (
        ("preset", lambda row: row["preset"]),
        ("patches", lambda row: f"{row['batch']} of {row['patch']} px"),
        ("network", lambda row: row["network"]),
        ("images/s", lambda row: f"{row['images_per_s']:.2f}"),
        ("best", lambda row: f"{row['images_per_s_best']:.2f}"),
        *map(_phase, ("data", "forward", "backward", "optimiser")),
    ),
}
"""Columns of each kind of results: the title, and the cell of a row."""


def page() -> str:
    """Return the page: the text, with tables of the kept results."""
    text = (RESULTS / "page.md").read_text(encoding="utf-8")
    return re.sub(r"^<!-- (\w+) -->\n\n", lambda found: tables(found[1]), text, flags=re.MULTILINE)


def tables(name: str) -> str:
    """Format the newest results of a name, each with its command and machine."""
    newest: dict[str, Row] = {}
    for file in sorted((RESULTS / name).glob("*.json"), reverse=True):
        content = json.loads(file.read_text(encoding="utf-8"))
        newest.setdefault(re.sub(r" --repeat \d+", "", content["command"]), content)
    return "".join(table(name, content) + "\n\n" for content in newest.values())


def table(name: str, content: Row) -> str:
    """Format the results of one run."""
    machine = content["machine"]
    sets = ", ".join(machine["instruction_sets"]) or "unknown instruction sets"
    clock = ", processor time" if machine.get("clock") == "processor" else ""
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    device = f" and an {machine['device_name']}" if machine["device_name"] else ""
    caption = (
        f"`{content['command']}` at commit {content['commit']} on {machine['cores']} cores of an {machine['cpu']} "
        f"({sets}){device}, {threads}, torch {machine['torch']}{clock}:"
    )
    titles, cells = zip(*TABLES[name], strict=True)
    rows = [[cell(row) for cell in cells] for row in content["rows"]]
    return "\n".join([caption, "", *markdown_table(titles, rows)])


def main() -> None:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    if parser.parse_args().write:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        raise SystemExit("docs/performance.md is out of date; run python tools/performance_page.py --write")


if __name__ == "__main__":
    main()
