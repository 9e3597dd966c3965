"""Sphinx extension: what the theme, Sphinx and docutils leave out for keyboards and screen readers.

Solutions fold by the browser's own ``<details>``, which every keyboard and screen reader knows and
which needs no script. The arrows of the menu get names, and entries of the bibliography a role that
is not deprecated. The rest is in ``_templates``, in ``accessible.js`` and in ``book.css``.
"""

from functools import partial, wraps
from typing import Any

from bs4 import BeautifulSoup
from docutils import nodes
from interactive import SCREEN
from myst_nb.sphinx_ import HideCodeCellNode, depart_HideCellInput, visit_HideCellInput
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

__all__ = ["fold", "name_the_arrows", "setup", "visit_citation", "visit_folded_code"]


def fold(app: Sphinx, doctree: nodes.document, _docname: str) -> None:
    """Make boxes of the class ``dropdown`` fold, on pages for a screen; on others they are open."""
    for section in doctree.findall(nodes.section):
        if section["ids"] in (["exercise-content"], ["solution-content"]):
            section["ids"] = []  # sphinx-exercise gives these to every one of a page
    if app.builder.name in SCREEN:
        for box in list(doctree.findall(nodes.Admonition)):
            if "dropdown" in box["classes"] and isinstance(box[0], nodes.title):
                place = box.parent.index(box)
                box.parent[place : place + 1] = _folded(box)


def _folded(box: nodes.Element) -> list[nodes.Node]:
    title, *content = box.children
    classes = " ".join(["admonition", *box["classes"]])
    name = f' id="{box["ids"][0]}"' if box["ids"] else ""
    summary = [_raw('<summary class="admonition-title">'), *title.children, _raw("</summary>")]
    return [_raw(f'<details class="{classes}"{name}>'), *summary, *content, _raw("</details>")]


def _raw(tag: str) -> nodes.raw:
    return nodes.raw("", tag, format="html")


def name_the_arrows(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: object
) -> None:
    """An arrow of the menu unfolds the pages below the link beside it, and is called like that."""
    if "generate_toctree_html" in context:
        context["generate_toctree_html"] = wraps(context["generate_toctree_html"])(
            partial(_named, context["generate_toctree_html"])
        )


def _named(menu: Any, *args: Any, **options: Any) -> BeautifulSoup:
    found: BeautifulSoup = menu(*args, **options)
    for summary in found.select("li.has-children > details > summary"):
        link = summary.find_parent("li").find("a")
        summary["aria-label"] = link.get_text().strip()
    return found


def visit_citation(self: HTML5Translator, node: nodes.citation) -> None:
    """As docutils, with a role that a list may hold: doc-biblioentry is deprecated."""
    HTML5Translator.visit_citation(self, node)
    self.body[-1] = self.body[-1].replace('role="doc-biblioentry"', 'role="listitem"')


def visit_folded_code(self: HTML5Translator, node: HideCodeCellNode) -> None:
    """As MyST-NB, without a name that hides the words of the summary."""
    visit_HideCellInput(self, node)
    self.body[-4] = "<summary>\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_node(
        nodes.citation, override=True, html=(visit_citation, HTML5Translator.depart_citation)
    )
    app.add_node(HideCodeCellNode, override=True, html=(visit_folded_code, depart_HideCellInput))
    app.connect("doctree-resolved", fold)
    app.connect("html-page-context", name_the_arrows, priority=600)  # the theme comes before
    app.add_js_file("accessible.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
