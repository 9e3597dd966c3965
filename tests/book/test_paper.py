"""The book as a PDF and as an EPUB: whole, set, linked, and asking nobody for anything.

Both are made here as `make pdf` and `make epub` make them. They need an installed Chromium; where
there is none, these tests are skipped and say so.
"""

import os
import posixpath
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path
from urllib.parse import unquote, urldefrag

import chromium
import paper
import paper_epub
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

ROOT = Path(__file__).parents[2]
XHTML = "{http://www.w3.org/1999/xhtml}"
OPF = "{http://www.idpf.org/2007/opf}"
TEX = re.compile(r"\\(frac|sum|lambda|operatorname|mathbb|mathcal|text|left|begin|nabla)\b|\\[(\[]")
PAPER_WIDTH = 627  # pixels between the margins of a page: 166 mm
READER_WIDTH = 600

site = pytest.mark.site


# ---- Both ----


@pytest.fixture(scope="module")
def pages(tmp_path_factory, browser, build_book):
    """Folder of plain pages, built with warnings as errors."""
    builder = ("--builder", "custom", "--custom-builder", "paper")
    return build_book(tmp_path_factory.mktemp("paper"), *builder) / "paper"


def bind(pages, target):
    """What `make` says. It has relative paths, and a browser of its own in a process of its own."""
    tool = ROOT / "book" / "tools" / f"paper_{target.suffix[1:]}.py"
    command = [sys.executable, tool, *(os.path.relpath(path, pages) for path in (pages, target))]
    run = subprocess.run(command, cwd=pages, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert target.with_name(f"{target.name}.sha256").read_text().endswith(f"  {target.name}\n")
    return run.stdout


@pytest.fixture(scope="module")
def read(pages):
    """The book before it is bound."""
    return paper.read(pages)


@pytest.fixture(scope="module")
def titles(read):
    """Parts and chapters in the order of reading."""
    return [
        title
        for part in read.parts()
        for title in [part.title, *(leaf.title for leaf in part.chapters)]
        if title
    ]


@site
def test_nothing_is_left_that_paper_cannot_do(read):
    for leaf in read.leaves:
        assert leaf.body.select("details, summary, button, script, input, .sd-btn") == [], leaf.name
        assert leaf.body.select(".tag_hide-input .cell_input") == [], leaf.name
        assert leaf.body.select("a[href*='playground'], a[href*='_downloads']") == [], leaf.name


@site
def test_every_solution_stands_behind_every_exercise(read):
    solved = 0
    for leaf in read.leaves:
        boxes = leaf.body.select("div.exercise, div.solution")
        kinds = ["solution" in box["class"] for box in boxes]
        assert kinds == sorted(kinds), leaf.name
        titles = [box.select_one(".admonition-title").get_text().strip() for box in boxes]
        exercises, solutions = titles[: kinds.count(False)], titles[kinds.count(False) :]
        assert [title for title in exercises if title in solutions] == solutions
        solved += len(solutions)
    assert solved > 40


@site
def test_every_quiz_has_its_answers_after_its_questions(read):
    quizzes = [leaf for leaf in read.leaves if leaf.body.select(".quiz")]
    assert len(quizzes) == 6
    for leaf in quizzes:
        answers = leaf.body.select_one(".rubric + ol")
        assert len(answers.find_all("li", recursive=False)) == len(leaf.body.select(".quiz"))
        assert leaf.body.select(".quiz")[-1].sourceline < answers.sourceline


def test_what_asks_another_host_is_refused(tmp_path, browser):
    page = tmp_path / "page.html"
    page.write_text('<img src="https://example.invalid/picture.png" alt="">', encoding="utf-8")
    with pytest.raises(SystemExit, match=r"example\.invalid"):
        paper.open_offline(browser, page)


def test_without_a_browser_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(chromium, "BROWSERS", ("no-such-browser",))
    with pytest.raises(SystemExit, match="apt install chromium"), chromium.launched():
        pass


# ---- The PDF ----


@pytest.fixture(scope="module")
def pdf(pages, tmp_path_factory):
    """The PDF as it is read, and the texts of its pages."""
    target = tmp_path_factory.mktemp("pdf") / "book.pdf"
    assert re.search(r"^The PDF: file:///.+\.pdf, \d+ pages, [\d.]+ MB$", bind(pages, target), re.M)
    return PdfReader(target)


@pytest.fixture(scope="module")
def texts(pdf):
    return [page.extract_text() for page in pdf.pages]


def bookmarks(outline):
    for entry in outline:
        if isinstance(entry, list):
            yield from bookmarks(entry)
        else:
            yield entry


def squeezed(text):
    return re.sub(r"\s+", "", text)


@site
def test_the_pdf_has_a_bookmark_for_every_part_and_chapter(pdf, titles, texts):
    found = list(bookmarks(pdf.outline))
    wanted = iter(titles)
    following = next(wanted)
    for mark in found:  # sections stand between them
        if " ".join(mark.title.split()) == following:
            number = pdf.get_destination_page_number(mark)
            assert squeezed(following) in squeezed(texts[number])
            following = next(wanted, None)
    assert following is None
    assert len(found) > 2 * len(titles)


@site
def test_the_contents_name_the_page_of_every_chapter(pdf, read, texts):
    contents = squeezed("".join(texts[1:4]))
    places = {unquote(name.lstrip("/")): place for name, place in pdf.named_destinations.items()}
    for leaf in read.leaves:
        number = pdf.get_destination_page_number(places[leaf.name]) + 1
        assert squeezed(f"{leaf.title}{number}") in contents
        assert squeezed(leaf.title) in squeezed(texts[number - 1])


@site
def test_no_formula_of_the_pdf_is_left_as_it_was_typed(texts):
    assert [(n, m[0]) for n, text in enumerate(texts, 1) if (m := TEX.search(text))] == []


@site
def test_every_link_of_the_pdf_leads_somewhere(pdf):
    inside, outside = set(), set()
    for page in pdf.pages:
        for item in page.get("/Annots", []):
            link = item.get_object()
            if "/Dest" in link:
                inside.add(str(link["/Dest"]))
            else:
                outside.add(str(link["/A"]["/URI"]))
    assert len(inside) > 200
    assert inside - pdf.named_destinations.keys() == set()
    assert {address for address in outside if not re.match("https?://", address)} == set()


@site
def test_the_pdf_says_what_it_is_and_not_when_it_was_made(pdf, read):
    assert pdf.metadata == {"/Title": read.title, "/Author": read.author}
    assert pdf.root_object["/Lang"] == read.language
    assert pdf.root_object["/MarkInfo"]["/Marked"]  # for screen readers
    assert {tuple(round(side) for side in page.mediabox[2:]) for page in pdf.pages} == {(595, 842)}


@site
def test_nothing_is_wider_than_the_paper(pdf, pages, browser):
    page = paper.open_offline(
        browser, pages / "book.html", viewport={"width": PAPER_WIDTH, "height": 900}
    )
    page.emulate_media(media="print")
    page.evaluate("() => MathJax.startup.promise")
    wide = page.evaluate(
        """() => [...document.querySelectorAll("article *")]
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => [e.closest("article").id, e.outerHTML.slice(0, 200)])"""
    )
    page.close()
    assert wide == []


# ---- The EPUB ----


@pytest.fixture(scope="module")
def epub(pages, tmp_path_factory):
    """What is in the EPUB."""
    targets = [tmp_path_factory.mktemp("epub") / name for name in ("book.epub", "again.epub")]
    for target in targets:
        bind(pages, target)
    one, two = (target.read_bytes() for target in targets)
    assert one == two
    with zipfile.ZipFile(targets[0]) as bundle:
        first = bundle.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        return {name: bundle.read(name) for name in bundle.namelist()}


@pytest.fixture(scope="module")
def trees(epub):
    """Every page, which is well-formed."""
    return {
        name: ElementTree.fromstring(content)
        for name, content in epub.items()
        if name.endswith((".xhtml", ".opf", ".xml"))
    }


def chapters(trees):
    return {name: tree for name, tree in trees.items() if name.endswith(".xhtml")}


@site
def test_the_package_lists_every_file_once_and_every_page_in_order(epub, trees, read):
    package = trees["book.opf"]
    items = {item.get("id"): item for item in package.iter(f"{OPF}item")}
    files = [unquote(item.get("href")) for item in items.values()]
    outside = {"mimetype", "META-INF/container.xml", "book.opf"}
    assert sorted(files) == sorted(epub.keys() - outside)
    spine = [unquote(items[r.get("idref")].get("href")) for r in package.iter(f"{OPF}itemref")]
    assert spine == ["cover.xhtml", "nav.xhtml", *(f"{leaf.name}.xhtml" for leaf in read.leaves)]
    with_formulas = {name for name, content in epub.items() if b"<math" in content}
    said = {unquote(i.get("href")) for i in items.values() if i.get("properties") == "mathml"}
    assert said == with_formulas


@site
def test_the_contents_of_the_epub_name_every_part_and_chapter(trees, titles):
    entries = trees["nav.xhtml"].findall(f".//{XHTML}li")
    assert [next(entry.itertext()) for entry in entries] == titles


@site
def test_every_link_and_picture_of_the_epub_is_in_it(epub, trees):
    ids = {
        name: {tag.get("id") for tag in tree.iter() if tag.get("id")}
        for name, tree in chapters(trees).items()
    }
    links = 0
    for name, tree in chapters(trees).items():
        all_ids = [tag.get("id") for tag in tree.iter() if tag.get("id")]
        assert len(all_ids) == len(set(all_ids)), name
        for tag in tree.iter():
            address = tag.get("href") or tag.get("src") or ""
            if tag.tag == f"{XHTML}a" and re.match("https?://", address):
                continue
            assert ":" not in address, (name, address)
            path, anchor = urldefrag(address)
            file = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path)))
            if path:
                assert file in epub, (name, address)
            if anchor:
                assert unquote(anchor) in ids[file if path else name], (name, address)
                links += 1
    assert links > 200


@site
def test_the_epub_runs_no_script_and_describes_every_picture(trees):
    pictures = 0
    for name, tree in chapters(trees).items():
        assert [tag for tag in tree.iter() if tag.tag.endswith("}script")] == [], name
        assert [t for t in tree.iter() if any(key.startswith("on") for key in t.attrib)] == [], name
        for image in tree.iter(f"{XHTML}img"):
            assert image.get("alt") is not None, (name, image.get("src"))
            pictures += image.get("alt") != ""  # a card's picture says nothing more than its title
    assert pictures > 60


@site
def test_every_formula_of_the_epub_is_mathml(pages, trees):
    typed = sum(
        len(BeautifulSoup(p.read_text("utf-8"), "html.parser").select(".math"))
        for p in pages.rglob("*.xhtml")
    )
    text = "".join("".join(tree.itertext()) for tree in chapters(trees).values())
    set_ = sum(
        tag.tag == "{http://www.w3.org/1998/Math/MathML}math"
        for tree in chapters(trees).values()
        for tag in tree.iter()
    )
    assert set_ == typed > 1000
    assert TEX.search(text) is None


@pytest.mark.parametrize(
    ("letters", "shape", "plain"),
    [
        ("E", "double-struck", "𝔼"),
        ("R", "double-struck", "ℝ"),
        ("1", "double-struck", "𝟙"),
        ("GL", "script", "𝒢ℒ"),
        ("x", "bold", "𝐱"),
        ("x", "italic", "x"),
        ("+", "bold", "+"),
    ],
)
def test_a_letter_of_another_shape_is_another_character(letters, shape, plain):
    assert paper_epub.plain_letters(letters, shape) == plain


@site
def test_a_narrow_reader_shows_every_page_whole(epub, browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    for name, content in epub.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    wide = {}
    for name in (name for name in epub if name.endswith(".xhtml")):
        page = paper.open_offline(
            browser, folder / name, viewport={"width": READER_WIDTH, "height": 800}
        )
        found = page.evaluate(
            """() => [document.documentElement.scrollWidth - innerWidth,
                [...document.images].filter((i) => i.complete && !i.naturalWidth).length]"""
        )
        page.close()
        if found != [0, 0]:
            wide[name] = found
    assert wide == {}
