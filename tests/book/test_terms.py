"""Terms link to the glossary where a page first mentions them, and an index finds the place.

Most tests build a book of a few lines. Those marked `site` look at the whole book, built.
"""

import io
import pickle
import re
from html import unescape
from itertools import pairwise
from pathlib import Path

import notebooks
import pytest
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace
from sphinx.util.matching import Matcher

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["sphinx"]["config"]
FEWEST_LINKS = 8  # in a chapter: fewer means that the extension has lost its way, or its glossary

GLOSSARY = """# Glossary

```{glossary}
bias
  How far a mean lies from the truth.

copying
  Handing out what was there.

data
  What is given.

data copying
  *Copying* of images.

GAN
  Two networks, one against the other.

memory
  What is kept.

Pareto front
  What no other point beats.

unused
  Nobody says this.
```
"""
BIAS, COPYING, MEMORY = ("bias", "bias"), ("copying", "copying"), ("memory", "memory")
# A page, and the links wanted on it: what is said, and the term.
CASES = {
    "the first mention only": ("bias here.\nBias there.\n\nbias again.", [BIAS]),
    "a capital": ("Bias.", [("Bias", "bias")]),
    "a plural": ("Two Pareto fronts.", [("Pareto fronts", "Pareto front")]),
    "a plural in -ies": ("Some memories.", [("memories", "memory")]),
    "the longest that fits": ("No data copying, no copying.", [("data copying",) * 2, COPYING]),
    "no part of a longer one": ("Data copying, data copying.", [("Data copying", "data copying")]),
    "a hyphen or a blank": ("A Pareto-front.", [("Pareto-front", "Pareto front")]),
    "another form": ("Adversarial networks.", [("Adversarial networks", "GAN")]),
    "no part of a word": ("Biassed memoryless self-bias GAN-like GANGLIA.", []),
    "an acronym in its capitals": ("A gan and two GANs.", [("GANs", "GAN")]),
    "no unknown word": ("Nothing to see.", []),
    "no heading": ("## Bias\n\nText.", []),
    "no code": ("`bias`\n\n```python\nbias = 1\n```", []),
    "no formula": ("$bias$\n\n$$\nbias\n$$", []),
    "no link": ("[bias](everyday.md) [**bias**](everyday.md)", []),
    "no quotation": ("> Bias, he said.\n\nA bias, he says.", [BIAS]),
    "no caption": ("```{figure} dot.png\n:alt: bias\n\nThe bias.\n```", []),
    "no head of a table": ("| bias |\n|---|\n| memory |", [MEMORY]),
    "lists": ("- bias\n\n1. memory", [BIAS, MEMORY]),
    "italics and bold": ("*bias* and **data copying**.", [BIAS, ("data copying",) * 2]),
    "equal texts in a paragraph": ("*bias*, **bias**, *memory*, **memory**", [BIAS, MEMORY]),
}
PAGES = {
    "everyday": "# Page\n\nA copying of no sense.\n\nThe **copying** of the book, and bias.",
    "chapters/01_a/01_one": "# One\n\nNo data copying on MNIST.\n\n**Data copying** is this.",
    "chapters/01_a/02_two": "# Two\n\nMore data copying.",
    "chapters/01_a/quiz": "# Quiz\n\n:::{container} quiz\nWhat is a GAN?\n:::\n\nA bias.",
    "names": "# Index\n\n```{places} terms\n```\n",
}
SETTINGS = {
    "extensions": ["myst_parser", "terms", "places"],
    "myst_enable_extensions": ["colon_fence", "dollarmath"],
    "suppress_warnings": ["image.not_readable", "epub.unknown_project_files"],
    "html_theme": "basic",
    **{"version": "1", "copyright": "nobody"},  # which EPUB wants
    "terms_pages": ["case_*", "everyday", "chapters/**"],
    "terms_everyday": {"copying": ["everyday"], "memory": ["elsewhere"]},
    "terms_forms": {"GAN": ["adversarial network"]},
    "terms_names": ["MNIST", "ImageNet"],
}


def build(folder, builder="html", pages=(), **settings):
    """The Sphinx application that has built the small book, some of its pages changed."""
    all_pages = {f"case_{i}": f"# Page\n\n{text}" for i, (text, _) in enumerate(CASES.values())}
    all_pages |= {**PAGES, "glossary": GLOSSARY}
    all_pages["index"] = "# Book\n\n```{toctree}\n" + "\n".join(all_pages) + "\n```\n"
    for name, text in {**all_pages, **dict(pages)}.items():
        path = folder / "source" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")
    warnings = io.StringIO()
    folders = (folder / "source", None, folder / builder, folder / "doctrees")
    with pytest.MonkeyPatch.context() as patch, docutils_namespace():
        patch.syspath_prepend(ROOT / "book" / "_ext")
        options = {"status": None, "warning": warnings}
        app = Sphinx(*folders, builder, SETTINGS | settings, **options)
        app.build()
    assert warnings.getvalue() == ""
    return app


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    return build(tmp_path_factory.mktemp("terms"))


def links(doctree):
    return [node for node in doctree.findall(nodes.reference) if "term" in node]


def page(app, name):
    return (Path(app.outdir) / f"{name}.html").read_text("utf-8")


def words(markup):
    return " ".join(unescape(re.sub("<[^>]+>", "", markup)).split())


def below_definition(app, term):
    """What the glossary says below a definition, as on the page."""
    [item] = re.findall(rf"<dt[^>]*>{term}<.*?(?=<dt|</dl>)", page(app, "glossary"), re.S)
    return re.findall(r'<p class="term-places">(.*?)</p>', item, re.S)


# ---- Links ----


@pytest.mark.parametrize("case", CASES)
def test_links_are_where_they_should_be_for(book, case):
    doctree = book.env.get_doctree(f"case_{[*CASES].index(case)}")
    assert [(link.astext(), link["term"]) for link in links(doctree)] == CASES[case][1]


def test_a_page_says_what_it_said_without_links(book, tmp_path):
    plain = build(tmp_path, terms_pages=[])
    for name in sorted(book.env.found_docs):
        with_links, without = (app.env.get_doctree(name) for app in (book, plain))
        assert with_links.astext() == without.astext()
        assert not links(without)


def test_a_word_with_another_sense_is_linked_where_it_stands_alone_in_bold(book):
    found = links(book.env.get_doctree("everyday"))
    assert [link["term"] for link in found] == ["copying", "bias"]
    assert isinstance(found[0].parent, nodes.strong)


def test_a_link_says_the_definition_and_leads_to_it(book):
    [link] = re.findall(r"<a [^>]*>data copying</a>", page(book, "chapters/01_a/02_two"))
    assert 'title="Copying of images."' in link
    assert 'href="../../glossary.html#term-data-copying"' in link


def test_a_quiz_says_no_definition_before_a_reader_asks(book):
    quiz = page(book, "chapters/01_a/quiz")
    assert "title=" not in re.search(r"<a [^>]*>GAN</a>", quiz)[0]
    assert "title=" in re.search(r"<a [^>]*>bias</a>", quiz)[0]


def test_a_changed_glossary_changes_pages_and_a_changed_page_the_glossary(tmp_path):
    build(tmp_path)
    glossary = GLOSSARY.replace("*Copying* of images", "New words").replace("unused", "more")
    app = build(tmp_path, pages={"glossary": glossary})
    assert 'title="New words."' in page(app, "chapters/01_a/02_two")
    assert ">More</a>" in page(app, "chapters/01_a/02_two")
    pages = {"glossary": glossary, "chapters/01_a/02_two": "# Other\n\nA GAN."}
    assert "1.2 Other" in words(*below_definition(build(tmp_path, pages=pages), "GAN"))


# ---- Places ----


def test_the_glossary_lists_chapters_and_in_bold_those_that_introduce_a_term(book):
    [line] = below_definition(book, "data copying")
    assert words(line) == "1.1 One · 1.2"
    assert re.findall("<strong>(.*?)</strong>", line) == ["1.1"]
    assert below_definition(book, "unused") == []


def test_the_glossary_names_another_page_where_no_chapter_mentions_a_term(book):
    assert words(*below_definition(book, "GAN")).endswith("Quiz")


def test_the_index_lists_terms_and_names_under_their_letters(book):
    index = page(book, "names")
    entries = {words(entry) for entry in re.findall("<li>(.*?)</li>", index, re.S)}
    assert {"MNIST 1.1", "data copying 1.1 · 1.2", "unused"} <= entries
    assert "ImageNet" not in index
    [line] = re.findall(r'<p class="letters">(.*?)</p>', index, re.S)
    letters = re.findall(r'href="#(letter-(.))"', line)
    assert [letter for _, letter in letters] == ["B", "C", "D", "G", "M", "P", "U"]
    assert all(f'id="{anchor}"' in index for anchor, _ in letters)


@pytest.mark.parametrize("builder", ["html", "singlehtml", "epub"])
def test_every_address_of_a_term_and_of_a_place_exists(tmp_path, builder):
    app = build(tmp_path, builder)
    assert missing(Path(app.outdir)) == []


def missing(folder):
    """Addresses of terms and places, on any page below a folder, that lead nowhere."""
    wrong, seen = [], 0
    pages = {p.resolve(): p.read_text("utf-8") for p in folder.rglob("*.*html")}
    for path, markup in pages.items():
        addresses = re.findall(r'href="([^"#:]*)#([\w-]+-in-[\w-]+|(?:term|letter)-[^"]+)"', markup)
        for address, anchor in addresses:
            target = (path.parent / address).resolve() if address else path
            if pages.get(target, "").count(f'id="{anchor}"') != 1:
                wrong.append((path.name, address, anchor))
        seen += len(addresses)
    assert seen > 20
    return wrong


# ---- The book ----


def terms():
    body = (ROOT / "book" / "glossary.md").read_text("utf-8").split("```")[1]
    return re.findall(r"^(\S.*)\n  \S", body.split("\n", 1)[1], re.M)


def test_the_glossary_is_in_order_and_has_nothing_twice():
    keys = [re.sub("[^a-z]", "", term.lower()) for term in terms()]
    assert len(keys) > 100
    assert [(a, b) for a, b in pairwise(keys) if a > b] == []
    assert len({*terms()}) == len(keys)


def test_the_settings_speak_of_terms_and_pages_that_exist():
    pages = [p.relative_to(ROOT).with_suffix("").as_posix() for p in ROOT.glob("*/**/*.*")]
    assert {*CONFIG["terms_everyday"], *CONFIG["terms_forms"]} - {*terms()} == set()
    assert {*CONFIG["terms_names"]} & {*terms()} == set()
    patterns = {pattern for each in CONFIG["terms_everyday"].values() for pattern in each}
    assert [p for p in patterns if not any(map(Matcher([p]), pages))] == []


def test_no_notebook_marks_a_term_with_a_role_that_jupyter_shows_as_it_is():
    assert [p for p in notebooks.chapters() if "{term}" in p.read_text("utf-8")] == []


@pytest.fixture(scope="module")
def marked(site):
    """``{page: [term, ...]}`` of the links in the book."""
    folder = site.parent / ".doctrees"
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "book" / "_ext")
        for path in sorted(folder.rglob("*.doctree")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            found[name] = [link["term"] for link in links(pickle.loads(path.read_bytes()))]
    return found


@pytest.mark.site
def test_every_term_is_linked_somewhere(marked):
    assert {*terms()} - {term for found in marked.values() for term in found} == set()


@pytest.mark.site
def test_every_chapter_links_its_terms_once_each(marked):
    for path in notebooks.chapters():
        found = marked[path.relative_to(ROOT).with_suffix("").as_posix()]
        assert len(found) == len({*found}) >= FEWEST_LINKS, path


@pytest.mark.site
def test_every_name_of_the_settings_is_in_the_index(site):
    index = (site / "book" / "terms_index.html").read_text("utf-8")
    entries = {words(shown) for shown in re.findall(r"<li><p><span>(.*?)</span>", index)}
    assert {*CONFIG["terms_names"]} - entries == set()


@pytest.mark.site
def test_every_address_of_a_term_exists_in_the_site(site):
    assert missing(site) == []
