"""The head of a chapter, the cards of a part and the table of times, on a book of two chapters."""

import io
import re
from base64 import b64encode

import nbformat
import overview
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from mtl_lib.claims import MIME, Claim

CLAIM = Claim("a-b", "A is more than B.", greater={"a": [2, 3, 2.5]}, smaller={"b": [1, 1, 1]})
INDEX = "# Part\n\n```{chapters} 01_part\n```\n\n```{ledger} 01_part\n```\n"
HOME = (
    "# Home\n\n```{chapters}\n```\n\n```{ledger}\n```\n\n```{toctree}\n:glob:\nchapters/*/*\n```\n"
)


def notebook(title, words=0, code="x = 1", claims=()):
    first = new_markdown_cell(
        f"# {title}\n\n![](attachment:answer.png)\n\n**It takes** a minute on one processor core."
    )
    first.attachments = {"answer.png": {"image/png": b64encode(title.encode()).decode()}}
    ledger = new_code_cell("show()", metadata={"tags": ["hide-input"]})
    if claims:
        data = {MIME: {"claims": [claim.to_dict() for claim in claims]}, "text/plain": "claims"}
        ledger.outputs = [new_output("display_data", data)]
    exercises = new_markdown_cell("## Exercises\n\n```{exercise}\nHow?\n```\n" + "word " * 999)
    text = new_markdown_cell("word " * words + "\n\n$$a = b$$")
    cells = [first, text, new_code_cell(code), ledger, exercises]
    return new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


@pytest.fixture
def chapters(tmp_path):
    folder = tmp_path / "source" / "chapters" / "01_part"
    folder.mkdir(parents=True)
    nbformat.write(notebook("First", 1973, claims=[CLAIM]), folder / "01_first.ipynb")
    exports = "from mtl_lib import claims, export"
    nbformat.write(notebook("Second", 3973, exports), folder / "02_second.ipynb")
    return folder


@pytest.fixture
def build(tmp_path, chapters):
    def built(builder="html"):
        source = tmp_path / "source"
        (source / "index.md").write_text(HOME)
        (chapters / "index.md").write_text(INDEX)
        extensions = ["myst_nb", "sphinx_exercise", "attachments", "ledger", "overview"]
        settings = {
            "extensions": extensions,
            "nb_execution_mode": "off",
            "source_suffix": {},  # or extensions add to the default of all later builds
            "html_sourcelink_suffix": "",  # as Jupyter Book has it
            "suppress_warnings": ["mystnb.unknown_mime_type"],
        }
        folders = (source, None, tmp_path / "out" / builder, tmp_path / "trees")
        warnings = io.StringIO()
        with docutils_namespace():
            Sphinx(*folders, builder, settings, status=None, warning=warnings).build()
        assert warnings.getvalue() == ""
        return tmp_path / "out" / builder

    return built


def text(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_reading_time_is_words_and_pauses_up_to_the_exercises(chapters):
    first, second = (overview.Chapter(path) for path in sorted(chapters.glob("*.ipynb")))
    words = len(first.cells[0].source.split())
    # Half a minute for the formula and half for the open cell, and nothing for the folded one.
    assert first.minutes == pytest.approx((1973 + words) / 200 + 1)
    assert second.minutes - first.minutes == pytest.approx(10)
    assert overview.rounded(first.minutes) == 10
    assert overview.rounded(1) == 5


def test_a_chapter_that_does_not_say_how_long_it_takes_is_named(tmp_path):
    broken = notebook("First")
    broken.cells[0].source = "# First"
    nbformat.write(broken, tmp_path / "broken.ipynb")
    with pytest.raises(ValueError, match=r"broken\.ipynb.*It takes"):
        overview.Chapter(tmp_path / "broken.ipynb")


def test_a_chapter_s_head_says_how_long_it_takes_and_what_it_needs(build):
    folder = build() / "chapters" / "01_part"
    first, second = ((folder / f"{name}.html").read_text() for name in ("01_first", "02_second"))
    head = text(re.search(r'<dl class="chapter-head">.*?</dl>', first, re.S)[0])
    assert "Chapter 1.1 Read 10 minutes" in head
    assert "Run a minute on one processor core" in head
    assert "Needs mtl_lib , no GPU" in head
    assert "mtl_lib[export]" in second
    assert "It takes" not in text(first)  # said once
    (link,) = re.findall(r'<a href="([^"]+)" download', first)
    assert nbformat.read((folder / link).resolve(), 4).cells[0].source.startswith("# First")


def test_a_page_for_paper_keeps_the_sentence_and_has_no_head(build, chapters):
    for path in chapters.glob("*.ipynb"):  # MyST-NB folds cells for pages on a screen only
        path.write_text(path.read_text().replace("hide-input", "none"))
    page = (build("singlehtml") / "index.html").read_text()
    assert text(page).count("It takes a minute on one processor core") == 2
    assert "chapter-head" not in page


def test_a_part_s_page_has_a_card_for_each_chapter_and_a_row_for_each_claim(build):
    page = (build() / "chapters" / "01_part" / "index.html").read_text()
    assert "Reading takes about 30 minutes." in page
    pictures = re.findall(r'<img alt="" src="([^"]+)"', page)
    assert len(set(pictures)) == 2
    assert 'href="02_second.html">1.2 Second</a>' in page
    assert "Read 20 minutes · run a minute" in page
    assert 'href="01_first.html#claim-a-b">A is more than B.</a>' in page
    assert text(page).count("✔ 1 holds") == 2  # on the card, and over all


def test_the_home_page_counts_verdicts_and_the_table_of_times_lists_all_chapters(build):
    page = (build() / "index.html").read_text()
    table = text(re.search(r'aria-label="Times of the chapters".*?</table>', page, re.S)[0])
    assert re.findall(r"(First|Second) (\d+) a minute (\d) (\d)", table) == [
        ("First", "10", "0", "1"),
        ("Second", "20", "0", "1"),
    ]
    counts = text(re.search(r'aria-label="Verdicts of every part".*?</table>', page, re.S)[0])
    assert "Part 1 0 0" in counts
