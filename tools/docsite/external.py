"""Pages and files of the repository that lie outside of ``docs/`` but belong to the site."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/conduct.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "studies/README.md": "project/studies.md",
    "tools/README.md": "project/tools.md",
    "tools/accelerator/README.md": "project/accelerator.md",
    "examples/README.md": "project/examples.md",
} | {
    f"src/moceir/pretrained/{card.parent.name}/README.md": f"models/{card.parent.name}.md"
    for card in sorted((Path(__file__).parents[2] / "src" / "moceir" / "pretrained").glob("*/README.md"))
}
"""Place in the repository, and on the site. Every bundled model has a page, its card."""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)(#[^)\s]*)?(?=\))")


def pages(root: Path, config: MkDocsConfig) -> Iterator[File]:
    """Yield the pages of ``PAGES`` as files of the site."""
    for source, target in PAGES.items():
        yield File.generated(config, target, content=(root / source).read_text(encoding="utf-8"))


def rewrite_links(markdown: str, page: str, root: Path, config: MkDocsConfig, files: Files) -> str:
    """Lead the relative links of a page to where their targets are on the site.

    Targets that are neither in ``docs/`` nor in ``PAGES`` are copied to ``files/`` on the site. Links to files that do
    not exist stay as they are, so that MkDocs reports them.

    Args:
        markdown: Text of the page.
        page: Place of the page on the site, relative to ``docs/``.
        root: The repository.
        config: Configuration of the site.
        files: Files of the site, to which copies are added.
    """
    source = next((place for place, target in PAGES.items() if target == page), f"docs/{page}")

    def led(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        if target.startswith("docs/"):
            place = target.removeprefix("docs/")
        elif target in PAGES:
            place = PAGES[target]
        elif (root / target).is_dir() and f"{target}/README.md" in PAGES:
            place = PAGES[f"{target}/README.md"]
        elif (root / target).is_file():
            # Markdown that is not in PAGES becomes text, so that its own links need not lead anywhere.
            place = f"files/{target}" + (".txt" if target.endswith(".md") else "")
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, content=(root / target).read_bytes()))
        else:
            return link[0]
        return posixpath.relpath(place, posixpath.dirname(page) or ".") + (link[2] or "")

    return LINK.sub(led, markdown)
