"""Parts of the documentation site that are made from code and results, and the notebooks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from docsite import commands, external, gallery, history, results, settings
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import PluginCollection
from mkdocs.structure.files import Files
from typer.main import get_command

from moceir.cli import app
from moceir.config import ModelConfig
from moceir.recipe import Recipe, load_recipe
from moceir.weights import read_description
from moceir.weights.folders import BUNDLED

ROOT = Path(__file__).parents[2]


def test_every_option_of_every_command_is_in_the_reference() -> None:
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", commands.reference(), re.DOTALL | re.MULTILINE))
    root: Any = get_command(app)
    found = {f"moceir {name}": command for name, command in root.commands.items() if not hasattr(command, "commands")}
    found |= {f"moceir data {name}": command for name, command in root.commands["data"].commands.items()}
    assert found.keys() <= sections.keys()
    for name, command in found.items():
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert all(f"`{option}`" in sections[name] for option in options), name


def test_every_key_of_a_recipe_is_in_the_reference() -> None:
    def keys(content: Any, prefix: str = "") -> set[str]:
        if isinstance(content, dict):
            return {key for k, v in content.items() for key in (f"{prefix}{k}", *keys(v, f"{prefix}{k}."))}
        return keys(content[0], prefix) if isinstance(content, list) and content else set()

    documented = set(re.findall(r"^\| `([\w.]+)` \|", settings.recipe_keys(), re.MULTILINE))
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        dumped = load_recipe(path).model_dump(mode="json", exclude={"tasks", "model", "kernels"})
        assert keys(dumped) <= documented, path
    assert set(Recipe.model_fields) <= documented
    assert all(f"`{name}`" in settings.network_keys() for name in ModelConfig.model_fields)


def test_types_and_ranges_of_keys_are_shown() -> None:
    table = settings.recipe_keys()
    assert "| `stages.patch_px` | integer, 8 or more, at most 1024 | required | Side of the square" in table
    assert "| `optimizer.schedule` | `cosine` or `stretches` | `cosine` |" in table


def test_tables_of_results_have_the_numbers_of_the_model_folder() -> None:
    rain = read_description(BUNDLED / "tiny").results["rain100l"]
    row = next(line for line in results.scores().splitlines() if line.startswith("| `rain100l`"))
    assert f"| {rain['images']} | {rain['input_psnr_db']:.2f} | {rain['psnr_db']:.2f} |" in row
    published = results.published().splitlines()
    assert f"{rain['psnr_db']:.2f} / {rain['ssim']:.3f}" in next(line for line in published if "`tiny`" in line)
    assert "| `tiny` | 1.69 M | 4.2 to 4.8 |" in results.models()


def test_links_out_of_the_documentation_lead_to_copies() -> None:
    config, files = MkDocsConfig(), Files([])
    config.plugins = PluginCollection()
    config.plugins.on_startup(command="build", dirty=False)  # MkDocs makes files only after an event

    def led(link: str, page: str) -> str:
        return external.rewrite_links(f"see [it]({link})", page, ROOT, config, files).removeprefix("see [it](")[:-1]

    assert led("../tools/accelerator/README.md", "training.md") == "project/accelerator.md"
    assert led("../../src/moceir/pretrained/tiny/README.md#terms", "how-to/index.md") == "../models/tiny.md#terms"
    assert led("docs/errors.md", "project/changelog.md") == "../errors.md"
    assert led("errors.md", "files.md") == "errors.md"
    assert led("https://example.org/a.md", "files.md") == "https://example.org/a.md"
    assert led("../nothing.py", "files.md") == "../nothing.py"  # MkDocs reports it
    assert led("../recipes/tiny.yaml", "training.md") == "files/recipes/tiny.yaml"
    assert [file.src_uri for file in files] == ["files/recipes/tiny.yaml"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first_steps", "what_the_network_sees"])
def test_notebooks_run(name: str) -> None:
    notebook = gallery.execute(ROOT / "examples" / "notebooks" / f"{name}.ipynb", ROOT)
    markdown, pictures = gallery.to_markdown(notebook, name)
    assert pictures
    assert all(content.startswith(b"\x89PNG") and f"({file})" in markdown for file, content in pictures.items())


def test_outputs_of_cells_become_markdown() -> None:
    cell = nbformat.v4.new_code_cell("1 + 1")
    cell.outputs = [
        nbformat.v4.new_output("stream", text="said\n"),
        nbformat.v4.new_output("execute_result", {"text/plain": "2"}),
        nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Image>"}),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title"), cell])
    markdown, pictures = gallery.to_markdown(notebook, "sum")
    expected = ["# Title", "```python\n1 + 1\n```", "said", "2", "(sum-1.png)"]
    assert [markdown.index(part) for part in expected] == sorted(markdown.index(part) for part in expected)
    assert pictures == {"sum-1.png": b"\x89PNG\r\n\x1a\n"}


def test_benchmarks_are_drawn_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "RESULTS", tmp_path)
    for day, seconds in (("2026-01-01", 2.0), ("2026-02-01", 1.5)):
        row = {"preset": "nano", "width": 64, "height": 48, "threads": 1, "network": "package", "seconds": seconds}
        record = {"machine": {"cpu": "a"}, "commit": "abcdef1234", "command": "python x.py", "rows": [row]}
        path = tmp_path / "inference" / f"{day}-abcdef1.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record))
    page = history.charts()
    assert "## inference" in page
    assert "2026-02-01, commit `abcdef1`; cpu a." in page
    assert "nano, package, 64x48, 1 threads" in page
    assert page.count("<svg") == 1
    assert "| nano | 64 | 48 | 1 | package | 1.5 |" in page
