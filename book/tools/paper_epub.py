"""Bind the book as an EPUB 3: no script, formulas as MathML, the same bytes for the same book.

    python book/tools/paper_epub.py _build/paper/_build/paper _build/book.epub

Readers of EPUBs run no MathJax, so it runs here: Chromium turns TeX into MathML. What the format
asks for is at https://www.w3.org/TR/epub-33/.
"""

import mimetypes
import re
import sys
import unicodedata
import uuid
import zipfile
from html import escape
from pathlib import Path, PurePosixPath
from posixpath import relpath
from typing import Any
from urllib.parse import quote

import paper
from bs4 import BeautifulSoup, Tag
from chromium import launched

__all__ = ["bind", "plain_letters"]

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_MODIFIED = "2026-01-01T00:00:00Z"  # the format wants a date; the same book is the same file
_COVER = {"width": 1200, "height": 1700}
_CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
# Typed letters that MathML Core knows as characters only, by TeX's names for their shapes.
_SHAPES = {
    "double-struck": "DOUBLE-STRUCK",
    "script": "SCRIPT",
    "bold": "BOLD",
    "bold-italic": "BOLD ITALIC",
    "fraktur": "FRAKTUR",
    "sans-serif": "SANS-SERIF",
    "monospace": "MONOSPACE",
}


def bind(book: paper.Book, target: Path) -> str:
    """Write the EPUB and say how many chapters it has."""
    files: dict[str, bytes] = {}
    css = [
        paper.style("paper", "reader"),
        book.colours("light"),
        "@media (prefers-color-scheme: dark) {",
        book.colours("dark"),
        "}",
    ]
    files["style.css"] = "\n".join(css).encode()
    with launched() as running:
        _set_formulas(running, book)
        files["cover.png"] = _cover(running, book)
    cover = (
        f'<section epub:type="cover"><img src="cover.png" alt="{escape(book.title)}"/></section>'
    )
    files["cover.xhtml"] = _page(book, "cover.xhtml", book.title, cover)
    files["nav.xhtml"] = _page(book, "nav.xhtml", paper.WORDS["contents"], _contents(book))
    for leaf in book.leaves:
        _bind_leaf(book, leaf, files)
    files["book.opf"] = _package(book, files).encode()
    _write(target, files)
    return f"{len(book.leaves)} chapters"


# ---- Formulas ----


def _set_formulas(running: Any, book: paper.Book) -> None:
    """Put MathML where TeX was."""
    found = [tag for leaf in book.leaves for tag in leaf.body.select(".math")]
    sources = [(_source(tag), tag.name == "div") for tag in found]
    page = book.folder / "formulas.html"
    page.write_text(paper.html(book, "", "", paper.formulas()), encoding="utf-8")
    opened = paper.open_offline(running, page)
    opened.evaluate("() => MathJax.startup.promise")
    made = opened.evaluate(
        "(all) => all.map(([tex, display]) => MathJax.tex2mml(tex, {display}))", sources
    )
    for tag, (source, _), text in zip(found, sources, made, strict=True):
        tag.clear()
        tag.append(_formula(text, source))


def _source(tag: Tag) -> str:
    """TeX without the marks around it."""
    return re.sub(r"^\\[(\[]|\\[)\]]$", "", tag.get_text().strip()).strip()


def _formula(text: str, source: str) -> Tag:
    """MathML for readers that know the core of the language only."""
    maths = BeautifulSoup(re.sub(r">\s+<", "><", text), "html.parser").math
    if maths is None or maths.select_one("merror"):
        raise SystemExit(f"MathJax cannot set {source}")
    for tag in maths.find_all(True):
        shape = tag.attrs.pop("mathvariant", None)
        if shape == "normal":
            tag["mathvariant"] = shape
        elif shape and tag.string:
            tag.string = plain_letters(tag.string, str(shape))
        for name in [name for name in tag.attrs if name.startswith("data-")]:
            del tag[name]
    maths["alttext"] = source
    return maths.extract()


def plain_letters(text: str, shape: str) -> str:
    """Characters of a shape, such as 𝔼: few readers turn letters themselves.

    Unicode has some of them at another place, under a name of their own: ℝ, ℒ.
    """
    if shape not in _SHAPES:
        return text
    found = []
    for letter in text:
        size = "CAPITAL" if letter.isupper() else "SMALL"
        kind = "DIGIT" if letter.isdigit() else size
        name = unicodedata.name(letter, "").rpartition(" ")[2]
        for start in ("MATHEMATICAL ", ""):
            try:
                found.append(unicodedata.lookup(f"{start}{_SHAPES[shape]} {kind} {name}"))
                break
            except KeyError:
                continue
        else:
            found.append(letter)
    return "".join(found)


# ---- Pages ----

_COVER_BODY = (
    '<section epub:type="cover"><img class="cover" src="cover.png" alt="{title}"/></section>'
)


def _file(name: str) -> str:
    return f"{name}.xhtml"


def _page(book: paper.Book, file: str, title: str, body: str) -> bytes:
    """A whole XHTML page."""
    style = relpath("style.css", str(PurePosixPath(file).parent))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" '
        f'lang="{book.language}" xml:lang="{book.language}"><head><title>{escape(title)}</title>'
        f'<link rel="stylesheet" type="text/css" href="{style}"/></head>'
        f"<body>{body}</body></html>\n"
    ).encode()


def _contents(book: paper.Book) -> str:
    """What a reader shows as the table of contents: parts and chapters."""
    lines = []
    for part in book.parts():
        entries = "".join(f"<li>{_entry(leaf)}</li>" for leaf in part.chapters)
        if part.title:
            head = _entry(part.opener) if part.opener else f"<span>{escape(part.title)}</span>"
            entries = f"<li>{head}<ol>{entries}</ol></li>"
        lines.append(entries)
    heading = f"<h1>{paper.WORDS['contents']}</h1>"
    return f'<nav epub:type="toc" id="toc">{heading}<ol>{"".join(lines)}</ol></nav>'


def _entry(leaf: paper.Leaf) -> str:
    return f'<a href="{_file(leaf.name)}">{escape(leaf.title)}</a>'


def _bind_leaf(book: paper.Book, leaf: paper.Leaf, files: dict[str, bytes]) -> None:
    """Add a chapter and its pictures."""
    here = str(PurePosixPath(leaf.name).parent)
    for anchor in leaf.body.select("a[href]"):
        to, at = anchor.attrs.pop("data-to", None), anchor.attrs.pop("data-at", "")
        if to is not None:
            file = "" if to == leaf.name else relpath(_file(to), here)
            anchor["href"] = file + (f"#{quote(at)}" if at else "") or relpath(_file(to), here)
    for image in leaf.body.select("img[src]"):
        source = (book.folder / here / str(image["src"])).resolve()
        name = f"images/{source.name}"
        files[name] = source.read_bytes()
        image["src"] = relpath(name, here)
    body = leaf.body.decode(formatter="minimal")
    files[_file(leaf.name)] = _page(book, _file(leaf.name), leaf.title, body)


# ---- The package ----


def _package(book: paper.Book, files: dict[str, bytes]) -> str:
    """Say what is in the book and in what order it is read."""
    ids = {name: f"i{number}" for number, name in enumerate(files)}
    items = "".join(_item(name, ids[name], content) for name, content in files.items())
    order = ["cover.xhtml", "nav.xhtml", *(_file(leaf.name) for leaf in book.leaves)]
    spine = "".join(f'<itemref idref="{ids[name]}"/>' for name in order)
    about = f"""
<dc:identifier id="book">urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, book.title)}</dc:identifier>
<dc:title>{escape(book.title)}</dc:title>
<dc:creator>{escape(book.author)}</dc:creator>
<dc:language>{book.language}</dc:language>
<dc:rights>{escape(paper.LICENCE)}</dc:rights>
<meta property="dcterms:modified">{_MODIFIED}</meta>
<meta property="schema:accessMode">textual</meta>
<meta property="schema:accessMode">visual</meta>
<meta property="schema:accessibilityFeature">alternativeText</meta>
<meta property="schema:accessibilityFeature">MathML</meta>
<meta property="schema:accessibilityFeature">tableOfContents</meta>
<meta property="schema:accessibilityHazard">none</meta>
"""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="book" '
        f'xml:lang="{book.language}"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"{about}</metadata><manifest>{items}</manifest><spine>{spine}</spine></package>\n"
    )


def _item(name: str, key: str, content: bytes) -> str:
    kind = "application/xhtml+xml" if name.endswith(".xhtml") else mimetypes.guess_type(name)[0]
    properties = {"nav.xhtml": "nav", "cover.png": "cover-image"}.get(name, "")
    if name.endswith(".xhtml") and b"<math" in content:
        properties = "mathml"  # a reader may want to know before it opens the page
    said = f' properties="{properties}"' if properties else ""
    return f'<item id="{key}" href="{quote(name)}" media-type="{kind}"{said}/>'


def _cover(running: Any, book: paper.Book) -> bytes:
    """The first page of the PDF as a picture."""
    page = book.folder / "cover.html"
    body = paper.title_page(book, paper.PICTURE.resolve().as_uri())
    css = paper.style("paper", "cover")
    page.write_text(paper.html(book, body, css), encoding="utf-8")
    opened = paper.open_offline(running, page, viewport=_COVER)
    opened.evaluate("() => Promise.all([...document.images].map((image) => image.decode()))")
    return bytes(opened.screenshot())


def _write(target: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(target, "w") as bundle:
        # What the file is comes first and is not compressed, so that a program need not unpack it.
        _add(bundle, "mimetype", b"application/epub+zip", zipfile.ZIP_STORED)
        _add(bundle, "META-INF/container.xml", _CONTAINER.encode())
        for name in sorted(files):
            _add(bundle, name, files[name])


def _add(
    bundle: zipfile.ZipFile, name: str, content: bytes, how: int = zipfile.ZIP_DEFLATED
) -> None:
    entry = zipfile.ZipInfo(name, _FIRST_DAY)
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # the same on every system
    bundle.writestr(entry, content, how, 9)


if __name__ == "__main__":
    paper.make(bind, sys.argv[1:])
