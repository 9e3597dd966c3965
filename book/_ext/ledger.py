"""Sphinx extension: ``{ledger}``, claims and their verdicts, and ``{claim}``, the verdict of one.

``{ledger} 01_background``: every claim of a part, a table for each chapter. ``{ledger}`` alone: how
many of each verdict, part by part.

The verdicts are read from the outputs stored in the chapters. Nothing is executed and nobody
types a verdict.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from mtl_lib.claims import Claim, read_book

__all__ = [
    "CHAPTERS",
    "Ledger",
    "Verdict",
    "chapter_link",
    "resolve_links",
    "resolve_notebooks",
    "row",
    "setup",
    "table",
    "verdict_counts",
]

logger = logging.getLogger(__name__)

CHAPTERS = "chapters"
VERDICTS = {"holds": "✔", "fails": "✘", "inconclusive": "?"}


class Ledger(SphinxDirective):
    """Claims of a part, or a summary of the book's."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        self.env.note_reread()  # a chapter may be new, which no list of dependencies can tell
        chapters = Path(self.env.srcdir) / CHAPTERS
        parts: dict[str, dict[Path, list[Claim]]] = {}
        for notebook, claims in _book(chapters).items():
            path = chapters / notebook
            parts.setdefault(path.parent.name, {})[path] = claims
        if not self.arguments:
            return [verdict_counts(_all(parts.values())), self._summary(parts)]
        if self.arguments[0] not in parts:
            raise self.error(f"{chapters} has no claims in {self.arguments[0]!r}.")
        part = parts[self.arguments[0]]
        return [verdict_counts(_all([part])), *self._tables(part)]

    def _summary(self, parts: dict[str, dict[Path, list[Claim]]]) -> nodes.Node:
        """One row a part."""
        rows = []
        for part, claims in parts.items():
            counts = Counter(claim.verdict for claim in _all([claims]))
            cells = [[nodes.Text(str(counts[verdict]))] for verdict in VERDICTS]
            rows.append(row([_link(f"{CHAPTERS}/{part}/index")], *cells))
        heads = [f"{sign} {verdict}" for verdict, sign in VERDICTS.items()]
        return table(["Part", *heads], rows, (6, 2, 2, 3), "Verdicts of every part")

    def _tables(self, part: dict[Path, list[Claim]]) -> Iterator[nodes.Node]:
        """One table a chapter."""
        for path, claims in part.items():
            if claims:
                yield nodes.paragraph("", "", chapter_link(path), classes=["ledger-chapter"])
                rows = [
                    row([_link(*_row_of(path, c), _kept(c.sentence))], [_verdict(c)])
                    for c in claims
                ]
                yield table(["Claim", "Verdict"], rows, (6, 2), "Claims of this chapter")


class Verdict(SphinxRole):
    """The verdict of the claim with an id, as a link to its row in the chapter."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Sphinx calls this where the role stands."""
        self.env.note_reread()
        chapters = Path(self.env.srcdir) / CHAPTERS
        for notebook, claims in _book(chapters).items():
            for claim in claims:
                if claim.id == self.text:
                    link = _link(*_row_of(chapters / notebook, claim), node=_verdict(claim))
                    link["reftitle"] = claim.sentence
                    return [link], []
        logger.warning("no chapter has a claim %r", self.text, location=self.get_location())
        return [], []


@cache
def _book(chapters: Path) -> dict[str, list[Claim]]:
    """Read once a build."""
    return read_book(chapters)


def _all(parts: Iterable[dict[Path, list[Claim]]]) -> list[Claim]:
    return [claim for part in parts for claims in part.values() for claim in claims]


def table(
    titles: Sequence[str], rows: Iterable[nodes.row], widths: Sequence[int], label: str
) -> nodes.Node:
    """A table in a box that scrolls where it is too wide, and so takes the keyboard focus."""
    group = nodes.tgroup(cols=len(titles))
    group += [nodes.colspec(colwidth=width) for width in widths]
    head = nodes.thead("", row(*([nodes.Text(title)] for title in titles)))
    group += [head, nodes.tbody("", *rows)]
    box = f'<div class="ledger-box" role="group" tabindex="0" aria-label="{label}">'
    before, after = (nodes.raw("", tag, format="html") for tag in (box, "</div>"))
    return nodes.container("", before, nodes.table("", group, classes=["ledger"]), after)


def row(*cells: Iterable[nodes.Node]) -> nodes.row:
    """A row of a table from the contents of its cells."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def verdict_counts(claims: Iterable[Claim]) -> nodes.paragraph:
    """How many of each verdict, in colour and in words."""
    counts = Counter(claim.verdict for claim in claims)
    marks = [_mark(v, f"{sign} {counts[v]} {v}") for v, sign in VERDICTS.items()]
    spaced = [node for mark in marks for node in (mark, nodes.Text(" "))]
    return nodes.paragraph("", "", *spaced, classes=["ledger-counts"])


def _verdict(claim: Claim) -> nodes.inline:
    return _mark(claim.verdict, f"{VERDICTS[claim.verdict]} {claim.verdict}")


def _mark(verdict: str, text: str) -> nodes.inline:
    return nodes.inline(text=text, classes=["mtl-verdict", f"mtl-{verdict}"])


def _kept(sentence: str) -> str:
    """With numbers that stay beside their sign at the end of a line."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def _row_of(notebook: Path, claim: Claim) -> tuple[str, str]:
    """Name of the page and of the row in it."""
    return f"{CHAPTERS}/{notebook.parent.name}/{notebook.stem}", f"claim-{claim.id}"


def chapter_link(notebook: Path, text: str = "") -> nodes.reference:
    """Link to a chapter's page, with its title where no text is given."""
    return _link(f"{CHAPTERS}/{notebook.parent.name}/{notebook.stem}", text=text)


def _link(
    docname: str, anchor: str = "", text: str = "", node: nodes.Node | None = None
) -> nodes.reference:
    inside = [node] if node else [nodes.Text(text)] if text else []
    return nodes.reference("", "", *inside, internal=True, ledger=(docname, anchor))


def resolve_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give links their addresses, and the page's title as text where they have none.

    A chapter that is not in the table of contents has no page: its path stays as plain text.
    """
    for link in list(doctree.findall(nodes.reference)):
        if "ledger" not in link:
            continue
        target, anchor = link.attributes.pop("ledger")
        if target in app.env.titles:
            link["refuri"] = app.builder.get_relative_uri(docname, target)
            link["refuri"] += f"#{anchor}" if anchor else ""
            link.children = link.children or [nodes.Text(app.env.titles[target].astext())]
        else:
            link.replace_self(nodes.Text(target))


def resolve_notebooks(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let tables that `mtl_lib.claims.show_book` stored link to pages in place of notebooks."""
    suffix = getattr(app.builder, "link_suffix", None)
    for raw in list(doctree.findall(nodes.raw)) if suffix else []:
        if ".ipynb#claim-" in raw.astext():
            page = raw.astext().replace(".ipynb#claim-", f"{suffix}#claim-")
            # A page may have several such tables, and a region would need a name of its own.
            page = page.replace('role="region"', 'role="group"')
            raw.replace_self(nodes.raw("", page, **raw.attributes))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("ledger", Ledger)
    app.add_role("claim", Verdict())
    app.connect("doctree-resolved", resolve_links)
    app.connect("doctree-resolved", resolve_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
