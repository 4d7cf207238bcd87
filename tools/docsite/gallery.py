"""The gallery: examples that are executed when the site is built, with what they print and draw."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File
from nbclient import NotebookClient
from traitlets.config import Config

SECONDS = 600
"""Longest time of one cell."""


def pages(root: Path, config: MkDocsConfig) -> Iterator[File]:
    """Execute the scripts of ``docs/gallery`` and the notebooks of ``examples``, and yield their pages and pictures."""
    for path in sorted((root / "docs" / "gallery").glob("*.py")):
        yield from _page(path, f"gallery/{path.stem}", f"[Download this example]({path.name})", root, config)
    for path in sorted((root / "examples" / "notebooks").glob("*.ipynb")):
        place = f"gallery/{path.stem}"
        yield File.generated(config, f"{place}.ipynb", content=path.read_bytes())
        yield from _page(path, place, f"[Download this notebook]({path.name})", root, config)


def cached(path: Path, root: Path) -> Any:
    """Execute an example, unless it was executed before with the same code and weights of the package."""
    code = hashlib.sha256(path.read_bytes())
    for source in sorted([*(root / "src").rglob("*.py"), *(root / "src").rglob("*.safetensors")]):
        code.update(source.read_bytes())
    kept = root / ".cache" / "gallery" / f"{path.stem}-{code.hexdigest()[:16]}.ipynb"
    if not kept.is_file():
        executed = execute(path, root)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(nbformat.writes(executed), encoding="utf-8")
    return nbformat.read(kept, as_version=4)


def execute(path: Path, root: Path) -> Any:
    """Run an example in an empty folder that has the repository's ``examples`` and ``recipes``.

    Args:
        path: Script in jupytext's percent format, or notebook.
        root: The repository.

    Returns:
        The notebook with its outputs.
    """
    notebook = jupytext.read(path)
    with tempfile.TemporaryDirectory() as place:
        for folder in ("examples", "recipes"):
            shutil.copytree(root / folder, Path(place) / folder)
        # One thread: pictures are small, and the outputs should not depend on the machine.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        # Sockets of the file system: those of the network are unencrypted, which the kernel warns about.
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{place}/kernel"}})
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=SECONDS,
            coalesce_streams=True,
            resources={"metadata": {"path": place}},
            config=sockets,
        )
        return client.execute()


def to_markdown(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Convert an executed notebook.

    Returns:
        The Markdown, and the pictures by file name.
    """
    blocks: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            blocks.append(cell.source)
        elif cell.source.strip():
            blocks.append(f"```python\n{cell.source}\n```")
            for output in cell.outputs:
                blocks += _output(output, name, pictures)
    return "\n\n".join(blocks) + "\n", pictures


def _page(path: Path, place: str, link: str, root: Path, config: MkDocsConfig) -> Iterator[File]:
    markdown, pictures = to_markdown(cached(path, root), path.stem)
    yield File.generated(config, f"{place}.md", content=f"{markdown}\n{link}\n")
    for name, content in pictures.items():
        yield File.generated(config, f"gallery/{name}", content=content)


def _output(output: Any, name: str, pictures: dict[str, bytes]) -> list[str]:
    if output.output_type == "stream":
        return [f"```{{.text .output}}\n{output.text.rstrip()}\n```"]
    data = output.get("data", {})
    if "image/png" in data:
        file = f"{name}-{len(pictures) + 1}.png"
        pictures[file] = base64.b64decode(data["image/png"])
        return [f"![What this cell shows]({file})"]
    if "text/plain" in data:
        return [f"```{{.text .output}}\n{data['text/plain']}\n```"]
    return []
