"""The teaching guide says what the chapters say: titles, links, times, verdicts and hours."""

import importlib
import itertools
import math
import re
from functools import cache
from pathlib import Path

import notebooks
import overview
import pytest
import yaml
from markdown_it import MarkdownIt
from myst_parser.mdit_to_docutils.base import default_slugify

from mtl_lib import claims

ROOT = Path(__file__).parents[2]
TEACHING = ROOT / "book" / "teaching"
PAGES = {p.stem: p.read_text("utf-8") for p in sorted(TEACHING.glob("*.md"))}
PAGES["student_guide"] = (ROOT / "book" / "student_guide.md").read_text("utf-8")
GUIDE = PAGES["chapters"]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
CHAPTERS = [
    entry["file"]
    for part in TOC["parts"]
    for entry in part["chapters"]
    if (ROOT / f"{entry['file']}.ipynb").exists()
]
SETS = [f"ps{number}" for number in range(1, 7)]
HEADINGS = ["Prerequisites", "Objectives", "Misconceptions", "Discussion"]
VERDICTS = {
    c.id: c.verdict for found in claims.read_book(notebooks.CHAPTERS).values() for c in found
}

MINUTES_A_PRACTICE_EXERCISE = 15
MINUTES_A_SET, MINUTES_A_QUIZ = 120, 15


@cache
def chapter(name):
    return notebooks.load(ROOT / f"{name}.ipynb")


def title(name):
    return re.search(r"^# (.+)$", chapter(name).cells[0].source, re.M)[1]


def sections():
    """``{chapter: its part of the guide}``, by the link in the heading."""
    parts = re.split(r"^### ", GUIDE, flags=re.M)[1:]
    found = {}
    for part in parts:
        name, link = re.match(r"\[(.+)\]\(\.\./\.\./(.+)\.ipynb\)\n", part).groups()
        assert name == title(link)
        found[link] = re.split(r"^## ", part, flags=re.M)[0]
    return found


def rows(text, heading):
    """The cells of the first table below a heading, without its head."""
    table = text.split(f"\n## {heading}\n")[1].split("\n|", 1)[1].split("\n\n")[0]
    return [[c.strip() for c in line.strip("| ").split("|")] for line in table.splitlines()[2:]]


def linked(cell):
    return re.findall(r"\]\(\.\./\.\./(chapters/[^)#]+)\.ipynb\)", cell)


# ---- Every chapter has its section ----


def test_every_chapter_has_a_section_in_the_order_of_the_book():
    assert list(sections()) == CHAPTERS


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_section_has_all_headings_and_as_many_items_as_a_teacher_needs(name):
    parts = re.split(r"^#### ", sections()[name], flags=re.M)[1:]
    items = {part.split("\n")[0]: len(re.findall(r"^- ", part, re.M)) for part in parts}
    assert list(items) == HEADINGS
    assert items["Prerequisites"] == 3
    assert 3 <= items["Objectives"] <= 5
    assert 2 <= items["Misconceptions"] <= 5
    assert 3 <= items["Discussion"] <= 5
    assert sections()[name].count("*Where it should end:*") == items["Discussion"]


# ---- Links and verdicts ----


@cache
def slugs(path):
    """The addresses of a page's headings, as MyST makes them."""
    if path.suffix == ".ipynb":
        texts = [c.source for c in notebooks.load(path).cells if c.cell_type == "markdown"]
    else:
        texts = [path.read_text("utf-8")]
    tokens = [token for text in texts for token in MarkdownIt().parse(text)]
    headings = [b for a, b in itertools.pairwise(tokens) if a.type == "heading_open"]
    plain = ["".join(part.content for part in h.children if part.content) for h in headings]
    return {default_slugify(heading) for heading in plain}


@cache
def names_of_the_book():
    """Figures and exercises, which a link may call by name from any page."""
    found = set()
    for name in CHAPTERS:
        for cell in chapter(name).cells:
            found.add(cell.metadata.get("mystnb", {}).get("figure", {}).get("name"))
            found.update(re.findall(r"^:label: (\S+)$", cell.source, re.M))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
    folder = ROOT / "book" if page == "student_guide" else TEACHING
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, fragment = target.partition("#")
        file = file or f"{page}.md"
        if "/" not in target and "." not in target:
            assert target in names_of_the_book(), target
        elif fragment:
            assert fragment in slugs((folder / file).resolve()), target
        else:
            assert (folder / file).exists(), target


def cited(text):
    return set(re.findall(r"\{claim\}`([^`]+)`", text))


def texts_about_verdicts():
    """Sections of the guide, and the first page of every part of the book."""
    overviews = ROOT.glob("chapters/*/index.md")
    return sections() | {p.parent.name: p.read_text("utf-8") for p in overviews}


@pytest.mark.parametrize("name", texts_about_verdicts())
def test_the_words_of_a_section_rest_on_today_s_verdicts(name):
    """A section names the verdicts that its sentences were written for: all that it cites."""
    text = texts_about_verdicts()[name]
    line = re.search(r"^% claims: (.+)$", text, re.M)[1]
    pinned = dict(pair.split("=") for pair in line.split())
    assert pinned == {claim: VERDICTS[claim] for claim in pinned}, "rewrite the sentence"
    assert set(pinned) == cited(text)


@pytest.mark.parametrize("page", PAGES)
def test_every_claim_that_a_page_cites_is_in_the_ledger(page):
    assert cited(PAGES[page]) <= set(VERDICTS)


# ---- Times ----


def read(name):
    return overview.chapter(ROOT / f"{name}.ipynb")


def test_the_guide_states_the_rule_by_which_reading_times_are_computed():
    assert f"{overview.WORDS_A_MINUTE} words a minute, and half a minute for each" in GUIDE
    assert overview.MINUTES_A_PAUSE == 0.5


# ---- Problem sets ----


def cells(name):
    """Everything that nbgrader marks in a set, with what it says about each."""
    source = notebooks.load(ROOT / "assignments" / "source" / name / f"{name}.ipynb")
    return [c.metadata.nbgrader for c in source.cells if "nbgrader" in c.metadata]


@pytest.mark.parametrize("name", SETS)
def test_points_are_divided_as_the_guide_says(name):
    told = re.search(
        r"A set has (\d+) points: (\d+) from tests, (\d+) by hand\.", PAGES["problem_sets"]
    )
    graded = [cell for cell in cells(name) if cell.grade]
    by_tests = sum(cell.points for cell in graded if not cell.solution)
    by_hand = sum(cell.points for cell in graded if cell.solution)
    assert [by_tests + by_hand, by_tests, by_hand] == [int(number) for number in told.groups()]


@pytest.mark.parametrize("name", SETS)
def test_a_question_has_two_to_four_tests(name):
    tests = [cell.grade_id for cell in cells(name) if cell.grade and not cell.solution]
    questions = [test.split("-")[1] for test in tests]
    assert {2, 3, 4} >= {questions.count(question) for question in questions}
    assert "A question has two to four test cells" in PAGES["problem_sets"]


@pytest.mark.parametrize("name", SETS)
def test_no_set_takes_longer_than_the_syllabi_allow(name):
    path = ROOT / "assignments" / "source" / name / f"{name}.ipynb"
    head = notebooks.load(path).cells[0].source
    stated = re.search(r"(?:Time\*\*|It takes).*?(\d+) minutes", head)
    assert 60 <= int(stated[1]) <= MINUTES_A_SET


def test_the_limits_of_grading_are_those_of_the_tools(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "assignments" / "tools")
    autograde, execute, teach = map(importlib.import_module, ("autograde", "execute", "teach"))
    told = (
        f"{teach.CELL_SECONDS} seconds a cell, "
        f"{teach.SECONDS // 60} minutes in all, "
        f"{autograde.MEMORY // 2**30} GB of address space, "
        f"files of at most {autograde.FILE // 2**20} MB, "
        f"{execute.LimitedExecute.output_limit.default_value:_} characters of output a cell"
    )
    assert told.replace("_", " ") in PAGES["problem_sets"]


def test_every_make_target_that_a_page_names_exists():
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M)
    named = re.findall(
        r"(?:`|\$ |&& |^    |mtl-grader )make ([a-z]+)", "\n".join(PAGES.values()), re.M
    )
    assert len(named) > 10
    assert set(named) <= set(targets)


# ---- Syllabi ----


def week_hours(row, practice):
    """Reading, some practice exercises a chapter, problem sets and quizzes, in hours."""
    minutes = 0.0
    for name in linked(row[1]):
        solved = read(name).exercises[0]
        minutes += overview.rounded(read(name).minutes)
        minutes += MINUTES_A_PRACTICE_EXERCISE * min(practice, solved)
    minutes += MINUTES_A_SET * len(re.findall(r"\bps\d\b", row[3]))
    minutes += MINUTES_A_QUIZ * len(re.findall(r"\bquiz \d\b", row[3]))
    return minutes / 60


SYLLABI = {"Six weeks": (6, 1), "Twelve weeks": (12, math.inf)}


@pytest.mark.parametrize("name", SYLLABI)
def test_a_syllabus_has_every_chapter_set_and_quiz_once(name):
    weeks = rows(PAGES["index"], name)
    assert [int(row[0]) for row in weeks] == list(range(1, SYLLABI[name][0] + 1))
    assert [link for row in weeks for link in linked(row[1])] == CHAPTERS
    due = " ".join(row[3] for row in weeks)
    assert re.findall(r"\bps\d\b", due) == SETS
    assert re.findall(r"\bquiz \d\b", due) == [f"quiz {part}" for part in range(1, 7)]


@pytest.mark.parametrize("name", SYLLABI)
def test_a_problem_set_is_due_after_its_part_was_read(name):
    read = []
    for row in rows(PAGES["index"], name):
        read += [int(re.search(r"chapters/0(\d)", link)[1]) for link in linked(row[1])]
        for part in map(int, re.findall(r"(?:ps|quiz )(\d)", row[3])):
            wanted = sum(f"chapters/0{part}" in chapter_name for chapter_name in CHAPTERS)
            assert read.count(part) == wanted, f"week {row[0]}"


@pytest.mark.parametrize("name", SYLLABI)
def test_hours_of_work_add_up(name):
    for row in rows(PAGES["index"], name):
        computed = week_hours(row, SYLLABI[name][1])
        assert abs(float(row[4]) - computed) <= 0.5, f"week {row[0]}: {computed:.1f}"
