"""Bind the book as a PDF: one long page, set by MathJax, printed by Chromium.

    python book/tools/paper_pdf.py _build/paper/_build/paper _build/book.pdf

Chromium knows how many pages there are only after printing, and CSS has no way to ask: the book is
printed, the numbers are read from the PDF and written beside the links, and it is printed again.
"""

import io
import re
import sys
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import paper
import pikepdf
from bs4 import Tag
from chromium import launched

__all__ = ["bind", "whole"]

# Only formulas are formulas, whatever the text around them looks like. For screen readers they get
# names below, which a PDF carries; hidden MathML it would only carry twice.
_OWN = {"enableAssistiveMml": False, "ignoreHtmlClass": "paper", "processHtmlClass": "math"}
_MOST_PRINTINGS = 3
_HEADING = re.compile("^h[1-6]$")
_SHORT = 14  # lines of code that stay on one page
_FITTING = 100  # characters on a line, in the size that print.css gives to code
_OPTIONS = {"prefer_css_page_size": True, "print_background": True}
# To a screen reader a formula is what was typed, not its glyphs one by one.
_NAME_FORMULAS = """() => {
    for (const item of MathJax.startup.document.math) {
        item.typesetRoot.setAttribute("role", "img");
        item.typesetRoot.setAttribute("aria-label", item.math.trim());
    }
}"""
_FILL = """(numbers) => {
    for (const link of document.querySelectorAll("a[data-page]"))
        link.dataset.page = numbers[decodeURIComponent(link.hash.slice(1))] ?? "?";
}"""


def bind(book: paper.Book, target: Path) -> str:
    """Write the PDF and say how many pages it has."""
    page = book.folder / "book.html"
    page.write_text(whole(book), encoding="utf-8")
    with launched() as running:
        printed = _printed(paper.open_offline(running, page))
    return _finish(book, printed, target)


def _finish(book: paper.Book, printed: bytes, target: Path) -> str:
    """Write what Chromium printed, with the author, without the time, at half the size."""
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        del pdf.docinfo
        pdf.docinfo["/Title"], pdf.docinfo["/Author"] = book.title, book.author
        pdf.Root.PageMode = pikepdf.Name.UseOutlines
        pdf.Root.ViewerPreferences = pikepdf.Dictionary(DisplayDocTitle=True)
        _spell_bookmarks(pdf, book)
        packed = pikepdf.ObjectStreamMode.generate
        pdf.save(target, object_stream_mode=packed, deterministic_id=True)
        return f"{len(pdf.pages)} pages"


def _spell_bookmarks(pdf: pikepdf.Pdf, book: paper.Book) -> None:
    """Chromium forgets the blank where a heading goes on in another line."""
    headings = [h.get_text() for leaf in book.leaves for h in leaf.body.find_all(_HEADING)]
    headings += [part.title for part in book.parts()]
    spelled = {"".join(text.split()): " ".join(text.split()) for text in headings}

    def spell(items: list[pikepdf.OutlineItem]) -> None:
        for item in items:
            item.title = spelled.get("".join(item.title.split()), item.title)
            spell(item.children)

    with pdf.open_outline() as outline:
        spell(outline.root)


def whole(book: paper.Book) -> str:
    """The whole book as one page."""
    names = {leaf.name: f"p{number}" for number, leaf in enumerate(book.leaves)}
    body = [
        paper.title_page(book, _relative(book, paper.PICTURE)),
        f'<nav class="contents"><h1>{paper.WORDS["contents"]}</h1><ol>{_contents(book)}</ol></nav>',
    ]
    rules = []
    for number, part in enumerate(book.parts()):
        if part.title and not part.opener:
            body.append(_part(part, number))
        for leaf in part.leaves:
            rules.append(_running_titles(names[leaf.name], part.title, leaf.title))
            body.append(_article(book, leaf, names[leaf.name], leaf is part.opener))
    css = "\n".join([book.colours("light"), paper.style("paper", "print"), *rules])
    scripts = paper.formulas(options=_OWN)
    return paper.html(book, f'<main class="paper">{"".join(body)}</main>', css, scripts)


def _relative(book: paper.Book, file: Path) -> str:
    return quote(str(file.resolve().as_uri()), safe=":/%")


def _anchor(name: str, anchor: str = "") -> str:
    """The place on the one page: pages of the book have anchors of the same name."""
    return f"{name}:{anchor}" if anchor else name


def _entry(anchor: str, title: str) -> str:
    """A line of the table of contents; the number is not known yet."""
    href = quote(anchor)
    return f'<a href="#{href}" data-page="000"><span>{escape(title)}</span></a>'


def _entries(leaves: list[paper.Leaf]) -> str:
    lines = (f"<li>{_entry(_anchor(leaf.name), leaf.title)}</li>" for leaf in leaves)
    return f"<ol>{''.join(lines)}</ol>"


def _contents(book: paper.Book) -> str:
    lines = []
    for number, part in enumerate(book.parts()):
        start = part.opener.name if part.opener else f"part:{number}"
        head = f'<div class="part-name">{_entry(start, part.title)}</div>' if part.title else ""
        lines.append(f"<li>{head}{_entries(part.chapters)}</li>")
    return "".join(lines)


def _part(part: paper.Part, number: int) -> str:
    """The page of a part that has none of its own."""
    return (
        f'<section class="part" id="part:{number}"><h1>{escape(part.title)}</h1>'
        f"{_entries(part.leaves)}</section>"
    )


def _running_titles(page: str, part: str, chapter: str) -> str:
    """What stands above the text of a chapter."""
    look = 'color: #5d6570; font: italic 9pt "Liberation Serif", Georgia, serif'
    right = "" if chapter == part else chapter
    left, right = (text.replace("\\", "").replace('"', '\\"') for text in (part, right))
    return (
        f'@page {page} {{ @top-left {{ content: "{left}"; {look} }} '
        f'@top-right {{ content: "{right}"; {look} }} }}'
    )


def _article(book: paper.Book, leaf: paper.Leaf, page: str, opens: bool) -> str:
    """A chapter with its anchors, links and pictures where they are on the one page."""
    body = leaf.body
    for tag in body.find_all(id=True):
        tag["id"] = _anchor(leaf.name, str(tag["id"]))
    for anchor in body.select("a[href]"):
        _lead(leaf, anchor)
    for image in body.select("img[src]"):
        place = (book.folder / leaf.name).parent / str(image["src"])
        image["src"] = _relative(book, place)
    for code in body.select("pre"):
        lines = code.get_text().splitlines()
        if len(lines) <= _SHORT:
            code["class"] = "short"
        longest = max(map(len, lines), default=0)
        if longest > _FITTING:  # a table that somebody printed; broken lines would ruin it
            code["style"] = f"font-size: {max(0.5, 0.72 * _FITTING / longest):.3f}em"
    below = leaf.level + bool(leaf.part)  # parts have the first level of headings
    for heading in body.find_all(_HEADING):
        level = int(heading.name[1])
        heading["class"] = f"level-{level}"
        heading.name = f"h{1 if opens and level == 1 else min(6, level + below)}"
    return f'<article id="{_anchor(leaf.name)}" style="page: {page}">{body}</article>'


def _lead(leaf: paper.Leaf, anchor: Tag) -> None:
    """Lead a link to its place on the one page, or say that it leads elsewhere."""
    to, at = anchor.attrs.pop("data-to", None), anchor.attrs.pop("data-at", "")
    if to is None:
        said = anchor.get_text().strip().removeprefix("doi:")
        if str(anchor["href"]).rstrip("/").endswith(said.rstrip("/")):
            anchor["class"] = [*anchor.get("class", []), "bare"]
        return
    anchor["href"] = "#" + quote(_anchor(to, at))
    elsewhere = to != leaf.name and "api" not in leaf.name.split("/")
    # A citation and a term of the glossary are found by the alphabet.
    named = anchor.find_parent(class_="bibtex-citation") or "term" in (anchor.get("class") or [])
    if elsewhere and not named:
        anchor["data-page"] = "000"


def _printed(page: Any) -> bytes:
    """Print until the numbers beside the links are those of the pages."""
    page.evaluate("() => MathJax.startup.promise")
    page.evaluate(_NAME_FORMULAS)
    page.evaluate("() => Promise.all([...document.images].map((image) => image.decode()))")
    page.evaluate("() => document.fonts.ready")
    # Tags, for screen readers, and the outline take longest, and move nothing.
    numbers = _numbers(page.pdf(**_OPTIONS))
    for _ in range(_MOST_PRINTINGS):
        page.evaluate(_FILL, numbers)
        printed: bytes = page.pdf(**_OPTIONS, outline=True, tagged=True)
        found = _numbers(printed)
        if found == numbers:
            return printed
        numbers = found
    raise SystemExit(f"The pages still move after {_MOST_PRINTINGS} printings.")


def _numbers(printed: bytes) -> dict[str, int]:
    """Number of the page that each link leads to."""
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        pages = {page.obj.objgen: number for number, page in enumerate(pdf.pages, start=1)}
        return {
            unquote(name.removeprefix("/")): pages[place[0].objgen]
            for name, place in pdf.Root.Dests.items()
        }


if __name__ == "__main__":
    paper.make(bind, sys.argv[1:])
