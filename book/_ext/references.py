"""Sphinx extension: a bibliography by name and year, each entry with the chapters that cite it.

`[Yu et al., 2020]` is what stands in the text and what stands before the entry, so that a reader on
paper finds it. Letters tell apart what would read the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from unicodedata import normalize

from docutils import nodes
from places import Links, Place, separated
from pybtex.database import Entry
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as UnsortedStyle
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

__all__ = ["Cited", "Labels", "Sorting", "Style", "setup"]


class Sorting(BaseSortingStyle):
    """By the label, accents aside, so that a reader finds what stands in the text."""

    def sorting_key(self, entry: Entry) -> tuple[str, str]:
        """What an entry is sorted by."""
        plain = normalize("NFD", _label(entry)).encode("ascii", "ignore").decode()
        return plain.lower(), entry.fields["title"]


class Labels(BaseLabelStyle):
    """Names and year, as in the text."""

    def format_labels(self, sorted_entries: list[Entry]) -> Iterator[str]:
        """One label an entry; equal ones get letters."""
        labels = [_label(entry) for entry in sorted_entries]
        seen: Counter[str] = Counter()
        for label in labels:
            seen[label] += 1
            again = labels.count(label) > 1
            yield label + (chr(ord("a") + seen[label] - 1) if again else "")


def _label(entry: Entry) -> str:
    names = [" ".join(p.prelast_names + p.last_names) for p in entry.persons["author"]]
    shown = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
    return f"{shown}, {entry.fields['year']}"


class Style(UnsortedStyle):
    """Like pybtex's own, with other labels and in their order."""

    default_sorting_style = "book"
    default_label_style = "book"


class Cited(SphinxTransform):
    """Give the first citation of each entry on a page a name that no other page has."""

    default_priority = 840  # after translation

    def apply(self, **_: Any) -> None:
        """Sphinx calls this once a page."""
        seen: set[str] = set()
        for node in self.document.findall(addnodes.pending_xref):
            if node.get("refdomain") == "cite":
                keys = [key.strip() for key in node["reftarget"].split(",")]
                node["ids"] += [_anchor(key, self.env.docname) for key in keys if key not in seen]
                seen.update(keys)


def _anchor(key: str, page: str) -> str:
    return nodes.make_id(f"cite {key} in {page}")


def resolve(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Below each entry, list the chapters that cite it; other pages where none does."""
    entries = list(doctree.findall(nodes.citation))
    domain = app.env.domains["cite"]
    keys = {entry.citation_id: entry.key for entry in domain.citations} if entries else {}
    for entry in entries:
        key = keys[entry["ids"][0]]
        pages = {ref.docname for ref in domain.citation_refs if key in {t.key for t in ref.targets}}
        found = [Place(page, _anchor(key, page), main=False) for page in sorted(pages)]
        line = Links(app, docname).line([p for p in found if p.number] or found)
        entry += nodes.paragraph("", "", *separated(line), classes=["term-places"])


def rewrite_the_bibliography(app: Sphinx, env: BuildEnvironment) -> Iterable[str]:
    """Whatever page was read may cite something else than before."""
    return {bibliography.docname for bibliography in env.domains["cite"].bibliographies}


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    for kind, style in (("formatting", Style), ("labels", Labels), ("sorting", Sorting)):
        register_plugin(f"pybtex.style.{kind}", "book", style)
    app.add_transform(Cited)
    app.connect("env-updated", rewrite_the_bibliography)
    app.connect("doctree-resolved", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
