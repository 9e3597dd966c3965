"""The book on paper: what the tools that bind it as a PDF and as an EPUB have in common.

They begin with the pages of the builder ``paper`` (``book/_ext/paper_pages.py``). Both need an
installed Chromium, which sets the formulas, and prints.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urldefrag

import yaml
from archive import write_checksum
from bs4 import BeautifulSoup
from pygments.formatters import HtmlFormatter

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = [
    *("LICENCE", "PICTURE", "WORDS", "Book", "Leaf", "Part"),
    *("formulas", "html", "make", "open_offline", "read", "style"),
    "title_page",
]

BOOK = Path(__file__).parents[1]
STYLE = BOOK / "paper"
MATHJAX = BOOK / "_static" / "mathjax" / "startup.js"
CONFIG = BOOK.parent / "_config.yml"
PICTURE = BOOK / "images" / "family.png"
LICENCE = "Text and figures: CC BY 4.0. Code: MIT."
# Every word that is on paper and not on the site.
WORDS = {"home": "About this book", "contents": "Contents", "solutions": "Solutions"}

# For a screen only: buttons, links to source code, anchors. The home page's map of the book is the
# table of contents, and its picture is on the cover. The text cites by author and year, and the
# labels of the bibliography are of no use.
_SCREEN = (
    ".screen, .buttons, .headerlink, .viewcode-link, .toctree-wrapper, script, template, summary, "
    ".hero-picture, .hero-picture ~ .figure-note, #the-map, .citation > .label"
)
_DEPRECATED = {"doc-biblioentry"}


@dataclass
class Leaf:
    """One page of the site as it is printed."""

    name: str  # the document's, as in the table of contents
    part: str
    level: int  # 0, or how deep below another page of its part
    body: BeautifulSoup

    @property
    def title(self) -> str:
        """The heading as plain text."""
        heading = self.body.h1
        return " ".join(heading.get_text().split()) if heading else self.name


@dataclass
class Book:
    """What is printed, in the order of reading."""

    folder: Path
    title: str
    author: str
    language: str
    leaves: list[Leaf]
    styles: dict[str, str]  # of code, "light" and "dark", by Pygments' names

    def colours(self, theme: str) -> str:
        """Style sheet of code."""
        return str(HtmlFormatter(style=self.styles[theme]).get_style_defs(".highlight"))

    def parts(self) -> list["Part"]:
        """What the table of contents shows; what is before the first part has no title."""
        return [
            Part(title, list(leaves))
            for title, leaves in groupby(self.leaves, key=lambda leaf: leaf.part)
        ]


@dataclass
class Part:
    """Chapters that the table of contents puts under one title."""

    title: str
    leaves: list[Leaf]

    @property
    def opener(self) -> Leaf | None:
        """The page that introduces the part under its own title, where there is one."""
        return self.leaves[0] if self.leaves[0].title == self.title else None

    @property
    def chapters(self) -> list[Leaf]:
        """All but the opener."""
        return self.leaves[bool(self.opener) :]


def read(folder: Path) -> Book:
    """Read the pages that the builder left in ``folder`` and make them fit for paper."""
    about = json.loads((folder / "book.json").read_text(encoding="utf-8"))
    pages = [("", {"name": about["root"], "level": 0})]
    pages += [(part["title"], page) for part in about["parts"] for page in part["pages"]]
    leaves = []
    for part, page in pages:
        text = (folder / (page["name"] + about["suffix"])).read_text(encoding="utf-8")
        leaf = Leaf(page["name"], part, page["level"], BeautifulSoup(text, "html.parser"))
        if leaf.name == about["root"] and leaf.body.h1:
            leaf.body.h1.string = WORDS["home"]
        _tidy(leaf.body)
        leaves.append(leaf)
    known = (about[name] for name in ("title", "author", "language"))
    book = Book(folder, *known, leaves, about["styles"])
    _drop_colourless(book)
    names = {leaf.name for leaf in leaves}
    for leaf in leaves:
        _resolve_links(leaf, names, about["suffix"])
    return book


def _tidy(body: BeautifulSoup) -> None:
    """Take away what is for a screen, open what is folded, put solutions behind exercises."""
    for tag in body.select(_SCREEN):
        tag.decompose()
    for tag in body.select("details"):
        tag.unwrap()
    for tag in body.find_all(True):
        for name in ("tabindex", "onclick", "loading", "decoding"):
            tag.attrs.pop(name, None)
        if tag.get("role") in _DEPRECATED:
            del tag["role"]
    for tag in body.select(".bibtex-citation a"):
        tag.attrs.pop("title", None)  # the whole entry, for a mouse; it stands in the bibliography
    _move_solutions(body)
    _make_ids_unique(body)


def _move_solutions(body: BeautifulSoup) -> None:
    """On paper a solution cannot be folded: all of them follow after the last exercise."""
    exercise, moved = "", []
    for box in body.select("div.exercise, div.solution"):
        title = box.select_one(".admonition-title")
        if "exercise" in box["class"]:
            exercise = " ".join(title.get_text().split()) if title else ""
        elif title:
            title.string = exercise
            moved.append(box.extract())
    if moved:
        section = body.new_tag("section", attrs={"class": "solutions"})
        heading = body.new_tag("h2", id="paper-solutions")
        heading.string = WORDS["solutions"]
        section.extend([heading, *moved])
        body.section.append(section) if body.section else body.append(section)


def _make_ids_unique(body: BeautifulSoup) -> None:
    """Sphinx-Exercise gives all exercises of a page the same one; no link leads there."""
    seen: set[str] = set()
    for tag in body.find_all(id=True):
        if tag["id"] in seen:
            del tag["id"]
        else:
            seen.add(str(tag["id"]))


def _drop_colourless(book: Book) -> None:
    """Half of a highlighted program's elements have no colour: they cost time and space only."""
    styles = book.colours("light") + book.colours("dark")
    coloured = set(re.findall(r"\.highlight \.(\w+)", styles))
    for leaf in book.leaves:
        for tag in leaf.body.select(".highlight span, code span.pre, .sig span.pre"):
            if not coloured.intersection(tag.get("class", [])):
                tag.unwrap()
        leaf.body.smooth()


def _resolve_links(leaf: Leaf, names: set[str], suffix: str) -> None:
    """Name the page and the anchor that each link leads to in ``data-to`` and ``data-at``.

    Of links to what is on the site only, such as a live page or a download, the words stay.
    """
    for anchor in leaf.body.select("a[href]"):
        path, at = urldefrag(str(anchor["href"]))
        if re.match(r"[a-z+]+:|/", path):
            continue
        to = leaf.name if not path else _joined(leaf.name, path).removesuffix(suffix)
        if to in names:
            anchor["data-to"], anchor["data-at"] = to, unquote(at)
        else:
            anchor.unwrap()


def _joined(name: str, path: str) -> str:
    """Where a relative path leads from the page ``name``."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


def open_offline(running: "Browser", file: Path, **options: Any) -> Any:
    """Open a file. What asks another host for something is an error, not a blank."""
    page = running.new_page(**options)
    asked: list[str] = []

    def sift(route: Any) -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            return route.continue_()
        asked.append(route.request.url)
        return route.abort()

    page.route("**/*", sift)
    page.goto(file.as_uri(), wait_until="load")
    if asked:
        raise SystemExit(f"{file.name} asks another host for {asked}: paper cannot")
    return page


def formulas(**options: Any) -> list[str]:
    """Scripts that set formulas, with the settings of the site and more."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["sphinx"]["config"]
    settings = json.dumps(config["mathjax3_config"] | options)
    source = quote(MATHJAX.resolve().as_uri(), safe=":/%")
    return [f"<script>window.MathJax = {settings}</script>", f'<script src="{source}"></script>']


def title_page(book: Book, picture: str) -> str:
    """What is on the cover and on the first page."""
    return (
        f'<section class="title-page"><div class="title">{book.title}</div>'
        f'<div class="author">{book.author}</div><img src="{picture}" alt=""/>'
        f'<div class="licence">{LICENCE}</div></section>'
    )


def style(*names: str) -> str:
    """The text of style sheets of ``book/paper``."""
    return "\n".join((STYLE / f"{name}.css").read_text(encoding="utf-8") for name in names)


def html(book: Book, body: str, css: str, scripts: Iterable[str] = ()) -> str:
    """A whole page for the browser."""
    return (
        f'<!DOCTYPE html><html lang="{book.language}"><head><meta charset="utf-8"/>'
        f"<title>{book.title}</title><style>{css}</style>{''.join(scripts)}</head>"
        f"<body>{body}</body></html>"
    )


def make(bind: Callable[[Book, Path], str], arguments: list[str]) -> None:
    """Bind the pages in a folder as a file, and say where it is."""
    folder, target = (Path(argument).resolve() for argument in arguments)
    said = bind(read(folder), target)
    write_checksum(target)
    size = target.stat().st_size / 1e6
    print(f"The {target.suffix[1:].upper()}: {target.as_uri()}, {said}, {size:.1f} MB")
