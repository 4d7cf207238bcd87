"""Hooks of MkDocs: generated parts, executed examples, and the pages and files outside of ``docs/``.

``mkdocs.yml`` names this file. A page asks for a generated part with a line such as ``<!-- generated: commands -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from docsite import commands, external, gallery, history, results, settings
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PARTS: dict[str, Callable[[], str]] = {
    "commands": commands.reference,
    "recipe keys": settings.recipe_keys,
    "network keys": settings.network_keys,
    "options": settings.options,
    "models": results.models,
    "scores": results.scores,
    "published": results.published,
    "benchmarks": history.charts,
}
MARK = re.compile(r"^<!-- generated: ([\w ]+) -->$", re.MULTILINE)
LOADED_FROM_OUTSIDE = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^"'>\s]+""")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the executed examples and the pages that live outside of ``docs/``."""
    for file in (*gallery.pages(ROOT, config), *external.pages(ROOT, config)):
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the generated parts, and lead links out of ``docs/`` to the copies on the site."""
    filled = MARK.sub(_part, markdown)
    return external.rewrite_links(filled, page.file.src_uri, ROOT, config, files)


def on_post_build(config: MkDocsConfig) -> None:
    """Check that no page loads anything from another host, so that the site works offline."""
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        found = LOADED_FROM_OUTSIDE.findall(path.read_text(encoding="utf-8"))
        # The canonical address of a page is a <link>, but nothing is loaded from it.
        if loaded := [tag for tag in found if 'rel="canonical"' not in tag]:
            raise PluginError(f"{path} loads from another host: {loaded[0]}")


def _part(mark: re.Match[str]) -> str:
    if mark[1] not in PARTS:
        raise PluginError(f"unknown generated part '{mark[1]}'; choose from {', '.join(PARTS)}")
    return PARTS[mark[1]]()
