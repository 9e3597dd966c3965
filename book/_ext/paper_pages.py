"""Sphinx extension: the builder ``paper``, plain pages that the PDF and the EPUB are made of.

It writes what stands on a page and nothing around it, as well as ``book.json``, which says in what
order and in which parts. ``book/tools/paper.py`` makes a book of them. An extension that does
something for a screen only looks at the builder's name.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.config import Config

__all__ = ["PaperBuilder", "drop_folded_code", "setup", "show_outputs"]

# Best first: of everything that a cell can put out, what can be printed.
_PRINTABLE = ("text/html", "image/svg+xml", "image/png", "image/jpeg", "text/markdown")


class PaperBuilder(StandaloneHTMLBuilder):
    """One file a page, with the body alone: no theme, no script, no search, no source code."""

    name = "paper"
    out_suffix = ".xhtml"
    search = False
    copysource = False

    def get_doc_context(self, docname: str, body: str, metatags: str) -> dict[str, Any]:
        """Sphinx asks for what the template needs; there is no template."""
        return {"body": body}

    def handle_page(
        self,
        pagename: str,
        addctx: dict[str, Any],
        templatename: str = "page.html",
        outfilename: str | None = None,
        event_arg: Any = None,
    ) -> None:
        """Write one page."""
        file = Path(self.outdir, pagename + self.out_suffix)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(addctx["body"], encoding="utf-8")

    def write_doc_serialized(self, docname: str, doctree: nodes.document) -> None:
        """Collect the page's pictures; there is no search index to feed."""
        self.post_process_images(doctree)

    def copy_assets(self) -> None:
        """Copy no script, no style and no download."""
        Path(self.outdir, "_static").mkdir(parents=True, exist_ok=True)  # MyST-NB writes to it

    def finish(self) -> None:
        """Copy the pictures, and say what the book is."""
        self.copy_image_files()
        site_map = self.env.external_site_map  # type: ignore[attr-defined]
        parts = [
            {
                "title": tree.caption or "",
                "pages": [page for item in tree.items for page in _below(site_map, str(item))],
            }
            for tree in site_map.root.subtrees
        ]
        options = self.config.html_theme_options
        book = {
            "title": self.config.html_title,
            "author": self.config.author,
            "language": self.config.language,
            "root": self.config.root_doc,
            "suffix": self.out_suffix,
            "styles": {theme: options[f"pygments_{theme}_style"] for theme in ("light", "dark")},
            "parts": parts,
        }
        Path(self.outdir, "book.json").write_text(json.dumps(book, indent=1), encoding="utf-8")


def _below(site_map: Any, name: str, level: int = 0) -> Iterator[dict[str, Any]]:
    """A page and those that the table of contents puts below it, in the order of reading."""
    yield {"name": name, "level": level}
    for tree in site_map[name].subtrees:
        for item in tree.items:
            yield from _below(site_map, str(item), level + 1)


def show_outputs(app: Sphinx, config: Config) -> None:
    """MyST-NB knows no builder of this name: tell it which outputs to show."""
    order = [(PaperBuilder.name, kind, place) for place, kind in enumerate(_PRINTABLE)]
    plain = (PaperBuilder.name, "text/plain", len(order))
    config.nb_mime_priority_overrides = [*config.nb_mime_priority_overrides, *order, plain]


def drop_folded_code(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Leave out code that only draws or prints: on paper nobody can unfold it."""
    if app.builder.name == PaperBuilder.name:
        for cell in list(doctree.findall(nodes.container)):
            if cell.get("nb_element") == "cell_code" and cell.get("hide_mode"):
                del cell[0]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the builder."""
    app.add_builder(PaperBuilder)
    app.connect("config-inited", show_outputs)
    app.connect("doctree-resolved", drop_folded_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
