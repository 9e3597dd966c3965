"""What every chapter has, checked in the files as they are stored; only solutions are run.

**How solutions are tested.** An exercise is one Markdown cell with an ``{exercise}`` directive and
a ``:label:``; a practice exercise has a ``{solution}`` directive with that label and
``:class: dropdown``, which folds it away. All ``python`` blocks of a solution are one program. It
starts where the chapter's code cells tagged ``parameters`` or ``setup`` end, in the order of the
page, with ``budget = 0.1`` and the first seed only. So the imports, and the definitions and small
data that solutions build on, stand in cells tagged ``setup``, and nothing slow does. Solutions of
a chapter do not see each other's variables. Each ends with the check of its exercise, and passes.
"""

import ast
import os
import re
import statistics
import subprocess
import sys
from itertools import pairwise

import claims as claims_tool
import notebooks
import pytest
import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin

from mtl_lib import claims
from mtl_lib.exercises import _practice as practice

ROOT = notebooks.CHAPTERS.parent
CHAPTERS = notebooks.chapters()
MARKDOWN = MarkdownIt().use(colon_fence_plugin)

FEWEST_SEEDS = 3
MOST_LINES = 30
MEDIAN_LINES = 8
MOST_BYTES = 1_000_000
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
SOLUTION_SECONDS = 60  # a hang, not the budget: machines differ


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.relative_to(notebooks.CHAPTERS).as_posix())
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return notebooks.load(path)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def tagged(notebook, *tags):
    return [cell for cell in code_cells(notebook) if {*tags} & {*cell.metadata.get("tags", [])}]


def outputs(notebook, kind):
    found = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output for output in found if output.output_type == kind]


def prose(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def headings(notebook):
    tokens = [token for text in prose(notebook) for token in MARKDOWN.parse(text)]
    return [b.content for a, b in pairwise(tokens) if a.type == "heading_open"]


def directives(text, name):
    """``[(argument, content)]`` of the directives with a name, in fences or colon fences."""
    for token in MARKDOWN.parse(text):
        found = re.match(r"\{([\w:-]+)\}\s*(.*)", token.info)
        if token.type in ("fence", "colon_fence") and found:
            if found[1] == name:
                yield found[2].strip(), token.content
            yield from directives(token.content, name)


def in_chapter(notebook, name):
    return [found for text in prose(notebook) for found in directives(text, name)]


def texts(notebook):
    """Everything in a notebook that a person reads: sources, and outputs that are not images."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (str(c) for kind, c in output.get("data", {}).items() if "image" not in kind)


def lines_of_code(cell):
    return len([line for line in cell.source.splitlines() if line.strip()])


def displays(cell):
    """Whether the cell itself, outside functions and conditions, prints or shows something."""
    try:
        body = ast.parse(cell.source).body
    except SyntaxError:  # a magic
        return False
    calls = [
        s.value.func for s in body if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)
    ]
    names = {func.id if isinstance(func, ast.Name) else getattr(func, "attr", "") for func in calls}
    return bool(names & {"print", "show", "display"})


def test_the_book_has_a_chapter():
    assert CHAPTERS, f"no notebook below {notebooks.CHAPTERS}"


def test_chapter_is_in_the_table_of_contents(path):
    def files(node):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if key in ("file", "root"):
                yield value
            elif isinstance(value, dict | list):
                yield from files(value)

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [name.removesuffix(".ipynb") for name in files(toc)]
    assert path.relative_to(ROOT).with_suffix("").as_posix() in listed


def test_chapter_is_stored_as_the_tool_stores_it(path):
    assert notebooks.not_normalised([path]) == [], "run `make notebooks`"


def test_chapter_is_below_the_size_limit(path):
    assert path.stat().st_size < MOST_BYTES


def test_cells_ran_once_each_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_cells_that_display_have_their_outputs_stored(notebook):
    assert [c.source for c in code_cells(notebook) if displays(c) and not c.outputs] == []


def test_outputs_have_no_error_and_no_warning(notebook):
    assert outputs(notebook, "error") == []
    assert [o.text for o in outputs(notebook, "stream") if o.name == "stderr"] == []


def test_no_cell_escapes_the_comparison(notebook):
    escapes = r"(?i)nbval[-_](skip|ignore|raises)|skip-execution|raises-exception"
    found = [(c.id, str(c.metadata.get("tags")), c.source) for c in code_cells(notebook)]
    assert [cell for cell in found if re.search(escapes, " ".join(cell))] == []


def test_cells_have_distinct_ids(notebook, path):
    # The file itself: loading it would add what is missing.
    ids = re.findall(r'^   "id": "([A-Za-z0-9_-]{1,64})",$', path.read_text(encoding="utf-8"), re.M)
    assert len(set(ids)) == len(notebook.cells)


def test_parameters_set_seeds_budget_and_threads(notebook):
    values = claims_tool.parameters(notebook)
    assert len(set(values["seeds"])) >= FEWEST_SEEDS
    assert values["budget"] == 1.0
    assert values["threads"] == 1


def test_measured_numbers_are_marked_as_such(notebook):
    assert tagged(notebook, "measured"), "tag cells whose numbers come from training `measured`"


def test_one_ledger_with_enough_seeds_for_every_claim(notebook, path):
    ledgers = [o for o in outputs(notebook, "display_data") if claims.MIME in o.data]
    assert len(ledgers) == 1
    found = claims.read(path)
    assert found
    assert all(claim.seeds >= FEWEST_SEEDS for claim in found)


def test_no_claim_is_made_twice_in_the_book():
    assert claims.read_book(notebooks.CHAPTERS).keys()


def test_every_figure_has_alternative_text_and_a_caption(notebook):
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            settings = cell.metadata.get("mystnb", {})
            alt = settings.get("image", {}).get("alt", "")
            caption = settings.get("figure", {}).get("caption", "")
            assert len(alt) >= 20, f"say what the picture of this cell shows:\n{cell.source}"
            assert len(caption) >= 20, f"write a caption for the picture of:\n{cell.source}"
            assert alt != caption, "a caption tells what to look at, alternative text what is there"


def test_chapter_opens_with_its_question_and_a_picture_of_the_answer(notebook):
    first_code = next(i for i, c in enumerate(notebook.cells) if c.cell_type == "code")
    opening = "\n".join(cell.source for cell in notebook.cells[:first_code])
    assert re.match(r"# \S", opening), "the first cell is Markdown and starts with the title"
    picture = re.search(r"!\[([^\]]+)\]\(attachment:answer\.png\)", opening)
    assert picture, "the picture that answers the question comes before any code"
    assert len(picture[1]) >= 20, "say in the picture's alternative text what it shows"
    assert "?" in opening[: picture.start()], "the question comes before the picture"


def test_opening_picture_is_what_the_chapter_computes(notebook):
    bundles = [cell.get("attachments", {}).get(notebooks.ANSWER) for cell in notebook.cells]
    attached = [bundle["image/png"] for bundle in bundles if bundle]
    assert attached == [notebooks.answer_picture(notebook)]


@pytest.mark.parametrize(
    "title", ["Claims", "What this chapter did not show", "Further reading", "Exercises"]
)
def test_chapter_has_its_closing_sections(notebook, title):
    assert title in headings(notebook)


def test_chapter_has_three_to_five_exercises_and_folded_solutions(notebook):
    exercises = in_chapter(notebook, "exercise")
    labels = [re.search(r":label: *(\S+)", content)[1] for _, content in exercises]
    assert 3 <= len(set(labels)) == len(labels) <= 5
    solutions = in_chapter(notebook, "solution")
    assert solutions
    assert {label for label, _ in solutions} <= set(labels)
    assert all(":class: dropdown" in content for _, content in solutions)


def practised(notebook):
    return sorted({label for label, _ in in_chapter(notebook, "solution")})


def test_every_practice_exercise_has_a_check_that_waits_for_an_answer(notebook):
    cells = [cell for cell in code_cells(notebook) if re.search(r'check\("', cell.source)]
    labels = [re.findall(r'check\("([\w-]+)"', cell.source) for cell in cells]
    assert sorted(labels) == [[label] for label in practised(notebook)]
    printed = [cell.outputs[0].text for cell in cells]
    wanted = [f"{label}: no answer yet. " for [label] in labels]
    assert [text[: len(start)] for text, start in zip(printed, wanted, strict=True)] == wanted


def test_every_check_belongs_to_an_exercise():
    notebooks_of_the_book = [notebooks.load(path) for path in CHAPTERS]
    assert sorted(practice.load()) == sorted(
        label for notebook in notebooks_of_the_book for label in practised(notebook)
    )


def test_visible_code_is_short(notebook):
    visible = [c for c in code_cells(notebook) if not HIDDEN & {*c.metadata.get("tags", [])}]
    lines = [lines_of_code(cell) for cell in visible]
    assert max(lines) <= MOST_LINES
    assert statistics.median(lines) < MEDIAN_LINES, sorted(lines)


def test_no_text_names_a_place_on_one_machine(notebook):
    local = re.compile(
        r"(?<![\w.])/(?:home|work|tmp|root|Users)/|\b[A-Z]:\\|localhost|127\.0\.0\.1"
    )
    assert [text for text in texts(notebook) if local.search(text)] == []


def solution_program(notebook):
    """The program that runs every solution in a copy of the chapter's setup."""
    setup = []
    for cell in tagged(notebook, "parameters", "setup"):
        setup.append(cell.source)
        if "parameters" in cell.metadata.tags:
            setup.append("budget = 0.1\nseeds = seeds[:1]")
    lines = ["setup = {'__name__': 'solution'}", f"exec({chr(10).join(setup)!r}, setup)"]
    for label, content in in_chapter(notebook, "solution"):
        code = "\n".join(t.content for t in MARKDOWN.parse(content) if t.info == "python")
        lines.append(f"exec(compile({code!r}, {label!r}, 'exec'), dict(setup))")
    return "\n".join(lines)


def test_solutions_run(path, notebook):
    environment = {**os.environ, **notebooks.ENVIRONMENT, "MPLBACKEND": "Agg"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", solution_program(notebook)],
        cwd=path.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SOLUTION_SECONDS,
    )
    assert run.returncode == 0, run.stderr
    wrong = [label for label in practised(notebook) if f"{label}: right." not in run.stdout]
    assert wrong == [], run.stdout
