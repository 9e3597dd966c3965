"""Sphinx extension: ``{ledger}``, every claim of the book, and ``{claim}``, the verdict of one.

The verdicts are read from the outputs stored in the chapters. Nothing is executed and nobody
types a verdict.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from mtl_lib.claims import Claim, read_book

__all__ = ["Ledger", "Verdict", "resolve_links", "resolve_notebooks", "setup"]

logger = logging.getLogger(__name__)

CHAPTERS = "chapters"
VERDICTS = {"holds": "✔", "fails": "✘", "inconclusive": "?"}
_TITLES = ("Claim", "Verdict", "Chapter")


class Ledger(SphinxDirective):
    """Counts of the verdicts and a table of the claims; a plain sentence while there are none."""

    def run(self) -> list[nodes.Node]:
        """Sphinx calls this where the directive stands."""
        self.env.note_reread()  # a chapter may be new, which no list of dependencies can tell
        book = read_book(Path(self.env.srcdir) / CHAPTERS)
        verdicts = Counter(claim.verdict for claims in book.values() for claim in claims)
        if not verdicts:
            return [nodes.paragraph(text="No chapter has stored a claim yet.")]
        return [_counts(verdicts), self._table(book)]

    def _table(self, book: dict[str, list[Claim]]) -> nodes.Node:
        table = nodes.table(classes=["ledger"])
        group = nodes.tgroup(cols=len(_TITLES))
        group += [nodes.colspec(colwidth=width) for width in (6, 2, 3)]
        head = nodes.thead("", _row([nodes.Text(title)] for title in _TITLES))
        group += [head, nodes.tbody("", *self._rows(book))]
        table += group
        # The box scrolls where the table is too wide, so it takes the keyboard focus.
        before, after = (
            nodes.raw("", tag, format="html")
            for tag in (
                '<div class="ledger-box" role="region" tabindex="0" '
                'aria-label="Every claim of the book">',
                "</div>",
            )
        )
        return nodes.container("", before, table, after)

    def _rows(self, book: dict[str, list[Claim]]) -> Iterator[nodes.row]:
        for notebook, claims in book.items():
            docname = f"{CHAPTERS}/{notebook.removesuffix('.ipynb')}"
            for claim in claims:
                link = nodes.reference("", docname, internal=True)
                link["ledger"] = (docname, f"claim-{claim.id}")
                yield _row([[nodes.Text(claim.sentence)], [_verdict(claim.verdict)], [link]])


class Verdict(SphinxRole):
    """The verdict of the claim with an id, as a link to its row in the chapter."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Sphinx calls this where the role stands."""
        self.env.note_reread()
        if "claims" not in self.env.temp_data:  # which Sphinx empties after every page
            book = read_book(Path(self.env.srcdir) / CHAPTERS)
            self.env.temp_data["claims"] = {
                claim.id: (notebook, claim) for notebook, claims in book.items() for claim in claims
            }
        if self.text not in self.env.temp_data["claims"]:
            logger.warning("no chapter has a claim %r", self.text, location=self.get_location())
            return [], []
        notebook, claim = self.env.temp_data["claims"][self.text]
        target = f"{CHAPTERS}/{notebook.removesuffix('.ipynb')}", f"claim-{claim.id}"
        link = nodes.reference("", "", _verdict(claim.verdict), internal=True, ledger=target)
        link["reftitle"] = claim.sentence
        return [link], []


def _row(cells: object) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def _verdict(verdict: str, count: str = "") -> nodes.inline:
    text = f"{VERDICTS[verdict]} {count}{verdict}"
    return nodes.inline(text=text, classes=["mtl-verdict", f"mtl-{verdict}"])


def _counts(verdicts: Counter[str]) -> nodes.paragraph:
    parts = [_verdict(verdict, f"{verdicts[verdict]} ") for verdict in VERDICTS]
    spaced = [node for part in parts for node in (part, nodes.Text(" "))]
    return nodes.paragraph("", "", *spaced, classes=["ledger-counts"])


def resolve_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Point links to the claim's row; those of the table show the chapter's title.

    A chapter that is not in the table of contents has no page: its path stays as plain text.
    """
    for link in list(doctree.findall(nodes.reference)):
        if "ledger" not in link:
            continue
        target, anchor = link.attributes.pop("ledger")
        if target in app.env.titles:
            link["refuri"] = f"{app.builder.get_relative_uri(docname, target)}#{anchor}"
            if "reftitle" not in link:
                link.children = [nodes.Text(app.env.titles[target].astext())]
        else:
            link.replace_self(nodes.Text(target))


def resolve_notebooks(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let tables that `mtl_lib.claims.show_book` stored link to pages in place of notebooks."""
    suffix = getattr(app.builder, "link_suffix", None)
    for raw in list(doctree.findall(nodes.raw)) if suffix else []:
        if ".ipynb#claim-" in raw.astext():
            page = raw.astext().replace(".ipynb#claim-", f"{suffix}#claim-")
            raw.replace_self(nodes.raw("", page, **raw.attributes))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("ledger", Ledger)
    app.add_role("claim", Verdict())
    app.connect("doctree-resolved", resolve_links)
    app.connect("doctree-resolved", resolve_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
