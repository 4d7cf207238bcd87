"""Imports inside the package go down the layers only, and importing it stays light."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

LAYERS = (
    # L0. What all the others raise comes below what the others are set up with.
    ("errors",),
    ("config", "files"),
    ("recipe",),
    # L1
    ("models", "image_io", "degradations", "machine", "onnx_files"),
    # L2
    ("weights", "data"),
    # L3. Restoring with another backend exports a model on first use.
    ("export",),
    ("restoration",),
    # L4
    ("batch", "evaluation", "training", "insight"),
    # L5
    ("web", "cluster"),
    ("cli",),
)
"""Names directly under the package, lowest first: each may import from the rows above its own and from itself."""

RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FREE = ("__init__", "__main__")
"""The facade and the entry point: they may import anything, and nothing may import them."""

LONGEST_FILE = 400
FOLDERS = ("src", "tests", "benchmarks", "studies", "tools", "examples", "integrations")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imported_modules(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, wherever in the file, relative imports resolved."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                folders = path.parts[len(package.parent.parts) : -node.level]
                base = ".".join([*folders, *filter(None, [node.module])])
            if base == package.name:
                # `from moceir import image_io` may name a module or something that the facade offers.
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, base


def violations(package: Path) -> list[str]:
    """Describe each import of a package's own modules that is not downwards, and each module outside the layers."""
    found: list[str] = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package)
        here = place.parts[0].removesuffix(".py")
        if here in FREE:
            continue
        if here not in RANKS:
            found.append(f"{place}: '{here}' has no layer; give it one in LAYERS")
            continue
        for line, name in imported_modules(path, package):
            parts = name.split(".")
            if parts[0] != package.name:
                continue
            there = parts[1] if len(parts) > 1 else "__init__"
            if there != here and (there not in RANKS or RANKS[there] >= RANKS[here]):
                found.append(f"{place}:{line} imports {name}")
    return found


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_imports_go_strictly_down():
    assert violations(SRC / "moceir") == []


@pytest.mark.parametrize(
    ("file", "statement", "guilty"),
    [
        ("models/layers.py", "from moceir.data.synthesis import to_8_bit", True),
        ("models/layers.py", "from moceir import weights", True),
        ("models/layers.py", "from ..weights import load", True),
        ("models/layers.py", "import moceir.training", True),
        ("models/layers.py", "from .. import image_io", True),
        ("models/layers.py", "from moceir import load", True),
        ("models/layers.py", "def late():\n    from moceir.cli import main", True),
        ("errors.py", "from moceir.config import ModelConfig", True),
        ("evaluation/scoring.py", "from moceir.training.run import train", True),
        ("data/pairs.py", "from moceir.weights import load", True),
        ("somewhere_new.py", "import os", True),
        ("models/layers.py", "from moceir.models.experts import Expert", False),
        ("models/layers.py", "from .experts import Expert", False),
        ("models/layers.py", "from moceir import config", False),
        ("models/layers.py", "import moceirs.weights", False),
        ("evaluation/scoring.py", "from moceir.restoration import Restorer", False),
        ("data/pairs.py", "from moceir import degradations, image_io", False),
        ("__init__.py", "from moceir.restoration import Restorer", False),
        ("__main__.py", "from moceir.cli import main", False),
    ],
)
def test_the_check_itself(tmp_path: Path, file: str, statement: str, guilty: bool):
    path = tmp_path / "moceir" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(statement, encoding="utf-8")
    assert bool(violations(tmp_path / "moceir")) == guilty


def test_import_is_light():
    heavy = {"lightning", "pyvips", "gradio", "skimage", "typer", "rich", "torchvision", "tensorboard", "matplotlib"}
    assert modules_after("import moceir") & heavy == set()


def test_command_line_answers_before_torch_is_loaded():
    heavy = {"torch", "numpy", "lightning", "pyvips", "skimage", "torchvision", "matplotlib"}
    assert modules_after("import moceir.cli") & heavy == set()


def test_the_light_import_check_sees_what_is_loaded():
    assert "moceir" in modules_after("import moceir.errors")
    assert {"pyvips", "numpy"} <= modules_after("import moceir.image_io")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_can_be_read_in_one_sitting_and_needs_no_torchvision(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    names = {name.partition(".")[0] for _, name in imported_modules(path, SRC / "moceir")}
    assert "torchvision" not in names
