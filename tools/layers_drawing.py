"""Draw the layers of the package, as ``tests/test_architecture.py`` lists them, for ``docs/architecture.md``.

python tools/layers_drawing.py --write
"""

from __future__ import annotations

import argparse
import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRAWING = ROOT / "docs" / "images" / "architecture.svg"
WIDTH, ROW, GAP, LEFT = 900, 48, 14, 60
FILLS = ("#f3b79b", "#bfe0db", "#f6d9a8")
INK, LINE = "#16302b", "#7a7a7a"
"""Colours of text on boxes, and of lines and text that can be read on light and dark pages."""


def layers() -> list[tuple[str, ...]]:
    """Return the names in each layer, the highest first."""
    tree = ast.parse((ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS":
            return list(reversed(ast.literal_eval(node.value)))
    raise SystemExit("tests/test_architecture.py has no LAYERS")


def drawing(rows: list[tuple[str, ...]]) -> str:
    """Return the SVG: a row of boxes for each layer."""
    height = len(rows) * (ROW + GAP) + GAP
    box = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="15">',
        "<title>Layers of the package: each imports only from the layers below it</title>",
        f'<defs><marker id="a" {box}><path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>',
        f'<path d="M40 {GAP}V{height - GAP}" stroke="{LINE}" stroke-width="1.6" marker-end="url(#a)"/>',
        f'<text transform="translate(28 {height // 2}) rotate(-90)" text-anchor="middle" fill="{LINE}">imports</text>',
    ]
    for number, names in enumerate(rows):
        y = GAP + number * (ROW + GAP)
        step = (WIDTH - LEFT) / len(names)
        for column, name in enumerate(names):
            x, width = LEFT + column * step, step - GAP
            lines += [
                f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{ROW}" rx="7" fill="{FILLS[number % 3]}"/>',
                f'<text x="{x + width / 2:.0f}" y="{y + ROW // 2 + 5}" text-anchor="middle" fill="{INK}">{name}</text>',
            ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> None:
    """Print the drawing, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {DRAWING.relative_to(ROOT)}")
    if parser.parse_args().write:
        DRAWING.write_text(drawing(layers()), encoding="utf-8")
    else:
        print(drawing(layers()), end="")


if __name__ == "__main__":
    main()
