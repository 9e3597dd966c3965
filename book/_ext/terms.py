"""Sphinx extension: the first mention of a term on a page links to the glossary.

Chapters stay plain Markdown, which JupyterLab shows as it is: nobody marks a term. The link says
the definition in a tooltip. Headings, links, code, formulas, captions, quotations, options of a
quiz and solutions have no such links. A word with another sense on some pages (``terms_everyday``)
is linked there only where it stands alone in italics or bold, as where a chapter introduces it.

For the index (``places.py``) each page also says where it introduces a term, or mentions a name
that has no definition (``terms_names``).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.matching import Matcher

__all__ = ["Definition", "Mention", "Terms", "definitions", "mentions", "setup"]

_SKIPPED = (nodes.block_quote, nodes.thead, nodes.figure, nodes.footnote)
_SKIPPED_CLASSES = {"cell", "ledger", "quiz-options", "solution"}


class Definition(NamedTuple):
    """Where the glossary defines a term, and what it says."""

    anchor: str
    text: str


class Mention(NamedTuple):
    """A term in the running text of a page."""

    name: str
    form: str  # the name, or what else is said for it
    text: nodes.Text
    start: int
    end: int
    alone: str  # "emphasis" or "strong" around it and nothing else, or ""


def definitions(env: BuildEnvironment) -> dict[str, Definition]:
    """Every term of the glossary, in its order."""
    tree = env.get_doctree(env.config.terms_glossary)
    return {
        term.astext(): Definition(term["ids"][0], item[-1].astext().replace("\n", " "))
        for item in tree.findall(nodes.definition_list_item)
        for term in item.findall(nodes.term)
    }


def mentions(
    document: nodes.document, names: Iterable[str], forms: dict[str, list[str]]
) -> Iterator[Mention]:
    """Every mention of a name, or of another form of it; where several fit, of the longest."""
    known = [(form, name) for name in names for form in (name, *forms.get(name, ()))]
    known.sort(key=lambda pair: -len(pair[0]))
    pattern = re.compile("|".join(f"({_inflected(form)})" for form, _ in known), re.ASCII)
    for paragraph in filter(_is_running_text, document.findall(nodes.paragraph)):
        for text in paragraph.findall(nodes.Text):
            around = text.parent
            inside = "" if around is paragraph else around.tagname
            if inside and (around.parent is not paragraph or inside not in ("emphasis", "strong")):
                continue
            for match in pattern.finditer(text):
                alone = inside if match[0] == around.astext() else ""
                form, name = known[(match.lastindex or 0) - 1]
                yield Mention(name, form, text, *match.span(), alone)


def _inflected(form: str) -> str:
    """A pattern of a form and its plural, in small letters or large; an acronym keeps its own."""
    words = r"[\s-]".join(map(re.escape, re.split(r"[\s-]", form)))
    words = words[:-1] + "(?:y|ies)" if re.search("[^aeiou]y$", words) else words + "(?:s|es)?"
    case = "" if re.search("[A-Z]{2}|[a-z][A-Z]", form) else "i"
    return rf"(?<![\w-])(?{case}:{words})(?![\w-])"


def _is_running_text(node: nodes.Node) -> bool:
    return not any(
        isinstance(around, _SKIPPED) or _SKIPPED_CLASSES & {*around["classes"]}
        for around in _around(node)
    )


def _around(node: nodes.Node) -> Iterator[nodes.Element]:
    while node := node.parent:
        if "classes" in node:
            yield node


class Terms(SphinxTransform):
    """Link the first mention of each term, and note for the index where a page introduces it."""

    default_priority = 840  # after translation, before Sphinx collects what the index has

    def apply(self, **_: Any) -> None:
        """Sphinx calls this once a page."""
        if Matcher(self.config.terms_pages)(self.env.docname):
            # By identity: texts are strings, and equal where they say the same.
            marks: dict[int, list[tuple[Mention, list[nodes.Node]]]] = {}
            for mention, new in self._marks():
                marks.setdefault(id(mention.text), []).append((mention, new))
            for of_text in marks.values():
                _replace(of_text)

    def _marks(self) -> Iterator[tuple[Mention, list[nodes.Node]]]:
        """What takes the place of the first mention, and of the one that introduces the term."""
        defined = definitions(self.env)
        for name, found in self._found([*defined, *self.config.terms_names]).items():
            first = found[0]
            place = next((mention for mention in found if mention.alone == "strong"), first)
            key = defined[name].anchor if name in defined else f"name-{name}"
            anchor = nodes.make_id(f"{key} in {self.env.docname}")
            main = "main" if place.alone else ""
            index = addnodes.index(entries=[("single", name, anchor, main, None)])
            link = nodes.reference("", _said(first), internal=True, classes=["term"], term=name)
            if name in defined and place is first:
                link["ids"] = [anchor]
                yield first, [index, link]
            else:
                yield place, [index, nodes.inline("", _said(place), ids=[anchor])]
                if name in defined:
                    yield first, [link]

    def _found(self, names: Iterable[str]) -> dict[str, list[Mention]]:
        """All mentions that count, in the order of the page."""
        found: dict[str, list[Mention]] = {}
        for mention in mentions(self.document, names, self.config.terms_forms):
            another_sense = Matcher(self.config.terms_everyday.get(mention.form, ()))
            if mention.alone or not another_sense(self.env.docname):
                found.setdefault(mention.name, []).append(mention)
        return found


def _said(mention: Mention) -> str:
    return str(mention.text[mention.start : mention.end])


def _replace(marks: list[tuple[Mention, list[nodes.Node]]]) -> None:
    """Cut a text in pieces, with what takes the place of its mentions between them."""
    text, done, pieces = marks[0][0].text, 0, []
    for mention, new in sorted(marks, key=lambda mark: mark[0].start):
        pieces += [nodes.Text(text[done : mention.start]), *new]
        done = mention.end
    pieces.append(nodes.Text(text[done:]))
    parent = text.parent
    place = next(i for i, child in enumerate(parent) if child is text)
    parent[place : place + 1] = pieces


def read_the_glossary_first(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Have it there when pages look for its terms, and read them again where it has changed."""
    glossary = app.config.terms_glossary
    if glossary in docnames:
        pages = set(filter(Matcher(app.config.terms_pages), env.found_docs))
        docnames[:] = [glossary, *sorted(pages.union(docnames) - {glossary})]


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Lead links to the definition, and say it."""
    marked = [link for link in doctree.findall(nodes.reference) if "term" in link]
    if marked:
        defined = definitions(app.env)
        address = app.builder.get_relative_uri(docname, app.config.terms_glossary)
    for link in marked:
        link["refuri"] = f"{address}#{defined[link['term']].anchor}"
        if not any("quiz" in around["classes"] for around in _around(link)):  # no answers there
            link["reftitle"] = defined[link["term"]].text


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_config_value("terms_glossary", "glossary", "env", [str])
    app.add_config_value("terms_pages", [], "env", [list])  # patterns of pages
    app.add_config_value("terms_everyday", {}, "env", [dict])  # term: patterns of pages
    app.add_config_value("terms_forms", {}, "env", [dict])  # term: what else is said for it
    app.add_config_value("terms_names", [], "env", [list])  # for the index only
    app.add_transform(Terms)
    app.connect("env-before-read-docs", read_the_glossary_first)
    app.connect("doctree-resolved", resolve)
    # Pages are read after the glossary, by the same process.
    return {"parallel_read_safe": False, "parallel_write_safe": True}
