"""Quizzes: every question has one right option, and the page works with a keyboard alone.

The pages are built by themselves, without the rest of the book. Playwright drives an installed
Chromium. Where there is none, the tests of the page are skipped and say so. What the questions
rest on is tested in `test_quiz_facts.py`.
"""

import io
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

ROOT = Path(__file__).parents[2]
PAGES = {path.parent.name: path for path in sorted(ROOT.glob("chapters/*/quiz.md"))}
# As the book sets its formulas.
CONFIGURED = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["sphinx"]["config"]
FEWEST, MOST = 6, 8
WIDE, PHONE = 1280, 390

site = pytest.mark.site


def build(folder, builder, pages):
    """The Sphinx application after it has built ``{name: text}``, and its warnings."""
    source = folder / "source"
    source.mkdir()
    for name, text in pages.items():
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    warnings = io.StringIO()
    settings = {
        "extensions": ["myst_parser", "sphinx.ext.mathjax", "quiz"],
        "myst_enable_extensions": ["attrs_block", "dollarmath", "tasklist"],
        "root_doc": next(iter(pages)),
        "html_theme": "basic",
        "html_static_path": [str(ROOT / "book" / "_static")],
        "html_css_files": ["book.css"],
        **{name: CONFIGURED[name] for name in ("mathjax_path", "mathjax3_config")},
        # Chapters are not part of this build; that links lead somewhere, `make book` tests.
        "suppress_warnings": ["myst.xref_missing"],
    }
    folders = (source, None, folder / builder, folder / "doctrees")
    with docutils_namespace():
        app = Sphinx(*folders, builder, settings, status=None, warning=warnings)
        app.build()
    kept = [line for line in warnings.getvalue().splitlines() if "any toctree" not in line]
    return app, kept


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """All quizzes as pages, and the application that built them."""
    pages = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
    app, warnings = build(tmp_path_factory.mktemp("quiz"), "html", pages)
    assert warnings == []
    return app


def questions(app, page):
    return [
        node
        for node in app.env.get_doctree(page).findall(nodes.container)
        if "quiz" in node["classes"]
    ]


def lengths(question):
    return [len(option[0].astext()) for option in question[1]]


# ---- What the pages say ----


def test_every_part_has_a_quiz():
    assert [*PAGES] == sorted(p.name for p in (ROOT / "chapters").iterdir() if p.is_dir())


@pytest.mark.parametrize("page", PAGES)
def test_a_quiz_is_short_and_its_options_all_differ(book, page):
    found = questions(book, page)
    assert FEWEST <= len(found) <= MOST
    for question in found:
        options = [option[0].astext() for option in question[1]]
        assert len(set(options)) == len(options)


@pytest.mark.parametrize("page", PAGES)
def test_every_explanation_says_something_and_what_to_read_again(book, page):
    for question in questions(book, page):
        for option in question[1]:
            _verdict, *said, again = option[1]
            assert said, option.astext()
            assert again.astext().startswith("Read again: "), option.astext()


@pytest.mark.parametrize("page", PAGES)
def test_neither_place_nor_length_gives_the_right_option_away(book, page):
    found = questions(book, page)
    places = Counter(question["right"] for question in found)
    assert len(places) >= 3
    assert max(places.values()) <= len(found) / 2
    longest = sum(lengths(q)[q["right"]] == max(lengths(q)) for q in found)
    shortest = sum(lengths(q)[q["right"]] == min(lengths(q)) for q in found)
    assert longest <= len(found) / 2
    assert shortest <= len(found) / 2


# ---- What the directive makes of them ----

QUESTION = """# Page

```{quiz}
Which?

- [ ] First

  Because of one.
- [x] Second

  Because of two.
- [ ] Third

  Because of three.

Read again: more.
```
"""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("[ ] First", "[x] First"), "2 options are marked"),
        (lambda text: text.replace("[x]", "[ ]"), "0 options are marked"),
        (lambda text: text.replace("- [ ] Third\n\n  Because of three.\n", ""), "3 options"),
        (lambda text: text.replace("\n\n  Because of three.", ""), "No explanation below"),
        (lambda text: text.replace("[ ] Third", "Third"), "is no task"),
        (lambda text: text.replace("Which?", ""), "wants a question"),
    ],
)
def test_a_question_that_is_not_whole_is_refused(tmp_path, damage, message):
    assert damage(QUESTION) != QUESTION
    _app, warnings = build(tmp_path, "dummy", {"index": damage(QUESTION)})
    assert any(message in line for line in warnings), warnings


def test_another_builder_gets_the_answers_at_the_end(tmp_path):
    _app, warnings = build(tmp_path, "text", {"index": QUESTION + QUESTION[8:]})
    assert warnings == []
    text = (tmp_path / "text" / "index.txt").read_text(encoding="utf-8")
    asked, answered = text.split("Answers")
    assert re.findall(r"\d\. Which\?", asked) == ["1. Which?", "2. Which?"]
    assert asked.count("Second") == 2
    assert "Because" not in asked
    order = r"(\d)\.\s+\*\*b\) \*\*Second\s+Because of two\."
    order += r"\s+a\) Because of one\.\s+c\) Because of three\.\s+Read again: more\."
    assert re.findall(order, answered) == ["1", "2"]


def test_a_page_that_is_no_form_loads_no_script(tmp_path):
    build(tmp_path, "singlehtml", {"index": QUESTION})
    text = (tmp_path / "singlehtml" / "index.html").read_text(encoding="utf-8")
    assert "Answers" in text
    assert "quiz.js" not in text


def test_a_translation_finds_every_sentence(tmp_path):
    build(tmp_path, "gettext", {"index": QUESTION})
    template = (tmp_path / "gettext" / "index.pot").read_text(encoding="utf-8")
    found = re.findall(r'^msgid "(.+)"$', template, re.M)
    page = ["Page", "Which?", "First", "Second", "Third", "Read again: more."]
    page += [f"Because of {number}." for number in ("one", "two", "three")]
    words = ["Check", "If you choose this", "✓ Right.", "✗ Not yet.", "Answers"]
    assert sorted(found) == sorted([*page, *words, "Right at the first try: {right} of {all}."])


# ---- The page ----


@pytest.fixture
def open_page(offline_page, book):
    """Open the quiz of a part."""

    def opened(page="01_background", width=WIDE, **options):
        address = (Path(book.outdir) / f"{page}.html").as_uri()
        return offline_page(address, width, 900, **options)

    return opened


def focused(page):
    """What has the keyboard: its kind, and the number of the question it belongs to."""
    return page.evaluate(
        """() => {
            const active = document.activeElement;
            const quiz = [...document.querySelectorAll(".quiz")].indexOf(active.closest(".quiz"));
            return [active.type ?? active.tagName, quiz];
        }"""
    )


def tab_to(page, kind, number):
    for _ in range(200):
        page.keyboard.press("Tab")
        if focused(page) == [kind, number]:
            return
    raise AssertionError(f"no {kind} of question {number} is reached by the tabulator key")


@site
@pytest.mark.parametrize("page", PAGES)
def test_a_quiz_is_solved_with_the_keyboard_alone(open_page, book, page):
    view = open_page(page)
    right = [question["right"] for question in questions(book, page)]
    for number, place in enumerate(right):
        tab_to(view, "radio", number)
        view.keyboard.press("Space")
        for _ in range(place):
            view.keyboard.press("ArrowDown")
        tab_to(view, "submit", number)
        view.keyboard.press("Enter")
        answer = view.locator(".quiz").nth(number).locator("[aria-live=polite]")
        assert answer.inner_text().startswith("✓ Right.")
        assert "Read again: " in answer.inner_text()
    said = f"Right at the first try: {len(right)} of {len(right)}."
    assert view.locator(".quiz-score").inner_text() == said


@site
def test_a_wrong_answer_is_explained_and_may_be_mended(open_page, book):
    page = open_page()
    quiz = page.locator(".quiz").first
    right = questions(book, "01_background")[0]["right"]
    wrong = 0 if right else 1
    answer = quiz.locator("[aria-live=polite]")
    assert answer.inner_text() == ""

    quiz.get_by_role("radio").nth(wrong).check()
    quiz.get_by_role("button", name="Check").click()
    assert answer.inner_text().startswith("✗ Not yet.")
    first = answer.inner_text()

    quiz.get_by_role("radio").nth(right).check()
    assert answer.inner_text() == ""  # an old explanation would stand beside a new choice
    quiz.get_by_role("button", name="Check").click()
    assert answer.inner_text().startswith("✓ Right.")

    quiz.get_by_role("radio").nth(wrong).check()
    quiz.get_by_role("button", name="Check").click()
    assert answer.inner_text() == first
    total = page.locator(".quiz").count()
    score = page.locator(".quiz-score").inner_text()
    assert score == f"Right at the first try: 0 of {total}."


@site
def test_nothing_is_checked_before_something_is_chosen(open_page):
    page = open_page()
    quiz = page.locator(".quiz").first
    quiz.get_by_role("button", name="Check").click()
    assert quiz.locator("[aria-live=polite]").inner_text() == ""
    assert page.locator(".quiz-score").inner_text() == ""


@site
@pytest.mark.parametrize("page", PAGES)
def test_a_screen_reader_hears_question_and_options(open_page, book, page):
    view = open_page(page)
    for number, question in enumerate(questions(book, page)):
        group = view.locator(".quiz").nth(number).get_by_role("group")
        options = [question[0][0], *(option[0] for option in question[1])]
        # A formula is heard in MathML's words, and not as it was typed.
        first, *rest = (re.split(r"[.,:\\]|\b\w_", option.astext())[0] for option in options)
        # Names are there when the formulas in them are set; what is missing then ends the wait.
        group.and_(view.get_by_role("group", name=first)).wait_for(timeout=20_000)
        for option in filter(None, rest):
            radio = group.get_by_role("radio", name=option).first
            radio.wait_for(timeout=20_000, state="attached")


@site
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_a_quiz_fits_and_formulas_are_set(open_page, width, theme):
    page = open_page("03_loss_math", width=width, color_scheme=theme)
    page.evaluate("() => window.MathJax.startup.promise")
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    assert page.locator(".math").count() > 10
    assert page.locator(".math:not(:has(mjx-container)), mjx-merror").count() == 0
    small = page.locator(".quiz label, .quiz button").evaluate_all(
        "(all) => all.filter((e) => e.getBoundingClientRect().height < 32).length"
    )
    assert small == 0, "too small for a finger"


@site
def test_without_scripts_explanations_unfold(open_page):
    page = open_page(java_script_enabled=False)
    option = page.locator(".quiz-options > li").first
    assert option.is_visible()
    assert page.locator(".quiz input").count() == 0
    assert not option.locator("details > div").is_visible()
    option.locator("summary").click()
    assert "Read again: " in option.locator("details > div").inner_text()


@site
def test_nothing_is_stored(open_page):
    page = open_page()
    page.locator(".quiz").first.get_by_role("radio").first.check()
    page.locator(".quiz").first.get_by_role("button").click()
    assert page.evaluate("() => localStorage.length + sessionStorage.length") == 0
    assert page.context.cookies() == []
