"""Sphinx extension: ``{interactive}``, a drawing that answers to the reader.

Its body is Markdown that says the same without a script, for paper, for a notebook and for a
browser that runs none. On a page on a screen, ``_static/NAME.js`` puts the drawing in its place.
"""

from html import escape
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["SCREEN", "Interactive", "add_files", "setup"]

SCREEN = ("html", "dirhtml")  # builders of pages for a screen: a page for each file
STATIC = Path(__file__).parents[1] / "_static"


class Interactive(SphinxDirective):
    """One drawing: its name is that of its script and its style, its label is for screen readers.

    No formulas in the body: the script takes it away while MathJax may still be setting them.
    """

    has_content = True
    required_arguments = 1
    option_spec = {"label": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        name, label = self.arguments[0], self.options.get("label")
        missing = [file for file in _files(name) if not (STATIC / file).is_file()]
        if missing:
            raise self.error(f"{STATIC.name} has no {' and no '.join(missing)}.")
        if not (label and self.content):
            raise self.error(f"{name} wants a :label: and a body that stands for the drawing.")
        body = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, body)
        said = f'role="group" aria-label="{escape(label)}"'
        tag = f'<div class="interactive" data-name="{name}" {said}>'
        before = nodes.raw("", tag, format="html", interactive=name)
        return [before, *body.children, nodes.raw("", "</div>", format="html")]


def _files(name: str) -> tuple[str, str]:
    return f"{name}.js", f"{name}.css"


def add_files(app: Sphinx, *page: object) -> None:
    """Load script and style on the pages whose drawing they are."""
    doctree = page[-1]  # none on pages such as the index
    if doctree and app.builder.name in SCREEN:
        found = {raw.get("interactive") for raw in doctree.findall(nodes.raw)} - {None}
        for script, style in map(_files, sorted(found)):
            app.add_js_file(script, loading_method="defer")
            app.add_css_file(style)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("interactive", Interactive)
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
