"""Sphinx extension: where a term stands, below its definition in the glossary and in an index.

``{places} terms`` lists all terms, and names without a definition, with the chapters that mention
them; ``{places} library`` lists what the library offers. What a page mentions is found by
``terms.py``. Sphinx's own index would list every method and argument, and numbers in place of
chapters.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.matching import Matcher
from terms import definitions

__all__ = ["Links", "Place", "Places", "chapter_number", "places", "separated", "setup"]

_OBJECTS = ("class", "function", "exception")  # methods stand with their class


def chapter_number(page: str) -> str:
    """Part and chapter: "1.2" for `chapters/01_background/02_measuring`, "" for others."""
    found = re.search(r"(\d+)_[^/]*/(\d+)_[^/]*$", page)
    return f"{int(found[1])}.{int(found[2])}" if found else ""


class Place(NamedTuple):
    """Where a page mentions a term."""

    page: str
    anchor: str
    main: bool  # the page introduces it

    @property
    def number(self) -> str:
        """Part and chapter."""
        return chapter_number(self.page)


def places(env: BuildEnvironment) -> dict[str, list[Place]]:
    """The chapters that mention each term or name, in order; other pages where no chapter does."""
    pages = Matcher(env.config.terms_pages)
    found: dict[str, list[Place]] = {}
    for page, entries in sorted(env.domains["index"].entries.items()):
        for _, name, anchor, main, _ in entries if pages(page) else ():
            found.setdefault(name, []).append(Place(page, anchor, bool(main)))
    return {name: [p for p in each if p.number] or each for name, each in found.items()}


class Places(SphinxDirective):
    """An index: of ``terms`` and names, or of the ``library``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        self.env.note_reread()  # other pages decide what it lists
        kind = directives.choice(self.arguments[0], tuple(_LISTS))
        return [nodes.container(classes=["places"], places=kind)]


class Links:
    """Links from the page that is written to others."""

    def __init__(self, app: Sphinx, page: str) -> None:
        self.app, self.env, self.page = app, app.env, page

    def to(self, page: str, anchor: str, shown: nodes.Node, **more: Any) -> nodes.reference:
        """A link that shows a node."""
        address = self.app.builder.get_relative_uri(self.page, page)
        return nodes.reference("", "", shown, internal=True, refuri=f"{address}#{anchor}", **more)

    def line(self, found: list[Place], *, titles: int = 0) -> Iterator[nodes.Node]:
        """Numbers of chapters, in bold where they introduce the term; the first with titles."""
        for i, place in enumerate(found):
            title = self.env.titles[place.page].astext()
            number = (nodes.strong if place.main else nodes.inline)(text=place.number or title)
            full = f"{place.number} {title}".strip()
            link = self.to(place.page, place.anchor, number, reftitle=full)
            if place.number and i < titles:
                link += nodes.Text(f" {title}")
            yield link


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Fill the lists, now that all pages are read."""
    links = Links(app, docname)
    if items := _defined(doctree):
        found = places(app.env)
    for item in items:
        if line := separated(links.line(found.get(item[0].astext(), []), titles=1)):
            item[-1] += nodes.paragraph("", "", *line, classes=["term-places"])
    for node in [n for n in doctree.findall(nodes.container) if "places" in n]:
        node += _LISTS[node["places"]](links)


def _defined(doctree: nodes.document) -> list[nodes.definition_list_item]:
    glossaries = doctree.findall(addnodes.glossary)
    return [item for g in glossaries for item in g.findall(nodes.definition_list_item)]


def separated(links: Iterable[nodes.Node]) -> list[nodes.Node]:
    """Links with a dot between them."""
    return [node for link in links for node in (nodes.Text(" · "), link)][1:]


def _terms(links: Links) -> list[nodes.Node]:
    """Terms and names under their letters; above them the letters."""
    defined, found = definitions(links.env), places(links.env)
    in_code = {_key(o.name): o for o in _library(links.env) if "recipes" not in o.module}
    names = sorted({*defined, *found}, key=lambda name: (_key(name), name))
    letters, columns = nodes.paragraph(classes=["letters"]), nodes.container(classes=["columns"])
    for letter, group in groupby(names, key=lambda name: _key(name)[0].upper()):
        anchor, entries = f"letter-{letter}", nodes.bullet_list("")
        letters += [nodes.reference("", letter, internal=True, refid=anchor), nodes.Text(" ")]
        for name in group:
            shown: nodes.Node = nodes.inline(text=name)
            if name in defined:
                glossary = links.env.config.terms_glossary
                shown = links.to(glossary, defined[name].anchor, shown)
            line = [*links.line(found.get(name, []))]
            if thing := in_code.get(_key(name)):
                line.append(links.to(thing.page, thing.anchor, nodes.literal(text=thing.name)))
            entries += _entry(shown, line)
        columns += nodes.section("", nodes.title(text=letter), entries, ids=[anchor])
    return [letters, columns]


class _Object(NamedTuple):
    """A class or function of the library, and its entry on a page."""

    name: str
    module: str
    page: str
    anchor: str


def _library(env: BuildEnvironment) -> Iterator[_Object]:
    for full, entry in env.domains["py"].objects.items():
        if entry.objtype in _OBJECTS and not entry.aliased:
            module, _, name = full.rpartition(".")
            yield _Object(name, module.partition(".")[2], entry.docname, entry.node_id)


def _names(links: Links) -> list[nodes.Node]:
    """Names of the library, each with the modules that have it."""
    entries = nodes.bullet_list("")
    objects = sorted(_library(links.env), key=lambda o: (o.name.lower(), o.name, o.module))
    for name, group in groupby(objects, key=lambda o: o.name):
        line = [links.to(o.page, o.anchor, nodes.inline(text=o.module)) for o in group]
        entries += _entry(nodes.literal(text=name), line)
    return [nodes.container("", entries, classes=["columns"])]


def _entry(shown: nodes.Node, line: list[nodes.Node]) -> nodes.list_item:
    blank = [nodes.Text("  ")] if line else []
    return nodes.list_item("", nodes.paragraph("", "", shown, *blank, *separated(line)))


def _key(name: str) -> str:
    """What a name is sorted by: its letters, so that β-VAE stands with VAE."""
    return re.sub("[^a-z]", "", name.lower())


_LISTS = {"terms": _terms, "library": _names}


def rewrite_the_glossary(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Whatever page was read may have changed what the glossary lists."""
    return [app.config.terms_glossary]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("places", Places)
    app.connect("env-updated", rewrite_the_glossary)
    app.connect("doctree-resolved", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
