"""Every problem set: right answers get all points, others what they deserve, and nothing leaks."""

import copy
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import teach
import yaml
from check import ITEM, problems, secrets
from classroom import Classroom, key
from course import SOURCE, Course, sets

ROOT = Path(__file__).parents[2]
PARTS = 6
POINTS = 40
SECONDS = 60


def autograded(cell):
    settings = cell.metadata.get("nbgrader", {})
    return settings.get("grade") and not settings.get("solution")


def by_hand(cell):
    settings = cell.metadata.get("nbgrader", {})
    return settings.get("grade") and settings.get("solution")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return Course(tmp_path_factory.mktemp("class"))


@pytest.fixture(scope="module", params=sets())
def room(request, course):
    """One set with its student version and the answers that its tests are tried on."""
    name = request.param
    answers = yaml.safe_load((Path(__file__).parent / f"{name}.yml").read_text("utf-8"))
    source = nbformat.read(SOURCE / name / f"{name}.ipynb", 4)
    skeleton = nbformat.read(course.release(name), 4)
    return Classroom(source, skeleton, answers, megabytes=1)


@pytest.fixture(scope="module")
def passed(room, tmp_path_factory):
    """``{kind: ids of the cells that pass}``, for four students."""
    folder = tmp_path_factory.mktemp(room.name)
    kinds = {
        "right": room.solved(),
        "untouched": room.skeleton,
        "wrong": room.answered("wrong"),
        "hard-coded": room.answered("hard-coded"),
    }
    return run_cells(room, kinds, folder)


def run_cells(room, notebooks, folder):
    """Return the ids of the cells that pass, for each notebook, with the hidden tests in place."""
    tests = {cell.id: cell.source for cell in room.source.cells if autograded(cell)}
    for kind, notebook in notebooks.items():
        whole = copy.deepcopy(notebook)
        for cell in whole.cells:
            cell.source = tests.get(cell.id, cell.source)
        nbformat.write(whole, folder / f"{kind}.ipynb")
    script = Path(__file__).with_name("cells.py")
    run = subprocess.run(
        [sys.executable, script, *(f"{kind}.ipynb" for kind in notebooks)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MTL_QUIET": "1"},
        capture_output=True,
        text=True,
        timeout=5 * SECONDS * len(notebooks),  # a hang, not the budget: machines differ
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    return {kind: set(json.loads(line)) for kind, line in zip(notebooks, lines, strict=True)}


def points(room, ids):
    return {
        key(cell): cell.metadata.nbgrader.points if key(cell) in ids else 0
        for cell in room.source.cells
        if autograded(cell)
    }


def test_there_is_a_set_for_every_part():
    assert {f"ps{part}" for part in range(1, PARTS + 1)} <= set(sets())


def test_a_set_is_as_its_author_is_told(room, course):
    source = SOURCE / room.name / f"{room.name}.ipynb"
    student_version = course.folder / "release" / room.name / f"{room.name}.ipynb"
    assert problems(source, student_version) == []


def test_a_set_has_code_a_derivation_an_interpretation_and_an_open_question(room):
    graded = [cell for cell in room.source.cells if autograded(cell) or by_hand(cell)]
    assert sum(cell.metadata.nbgrader.points for cell in graded) == POINTS
    questions = {key(cell).split("-")[1] for cell in graded if autograded(cell)}
    assert 4 <= len(questions) <= 6
    texts = [cell for cell in graded if by_hand(cell) and cell.cell_type == "markdown"]
    assert len(texts) >= 3
    own = [cell for cell in graded if by_hand(cell) and cell.cell_type == "code"]
    assert own
    assert any("mtl_lib" in cell.source or "mtl_lib" in intro(room, cell) for cell in own)
    assert all(ITEM.findall(cell.source) for cell in texts)


def intro(room, cell):
    """Return the text before a cell."""
    place = room.source.cells.index(cell)
    return next(c.source for c in room.source.cells[place::-1] if c.cell_type == "markdown")


def test_right_answers_get_every_point(room, passed):
    assert points(room, passed["right"]) == points(room, {key(c) for c in room.source.cells})
    open_questions = {key(c) for c in room.source.cells if by_hand(c) and c.cell_type == "code"}
    assert open_questions <= passed["right"]


def test_the_untouched_set_gets_none(room, passed):
    assert set(points(room, passed["untouched"]).values()) == {0}


@pytest.mark.parametrize("kind", ["wrong", "hard-coded"])
def test_other_answers_get_what_they_deserve(room, passed, kind):
    asked = {
        key(cell)
        for cell in room.source.cells
        if cell.metadata.get("nbgrader", {}).get("solution") and not by_hand(cell)
    }
    assert room.answers[kind].keys() == asked
    deserved = {i: p for answer in room.answers[kind].values() for i, p in answer["points"].items()}
    assert points(room, passed[kind]) == deserved
    assert sum(deserved.values()) < room.full / (2 if kind == "wrong" else 4)


def test_answers_do_not_depend_on_those_before(room, passed, tmp_path):
    """With one question left out, all others keep their points."""
    first = room.first.split("-")[1]
    stub = next(cell.source for cell in room.skeleton.cells if key(cell) == room.first)
    found = points(room, run_cells(room, {"one": room.first_is(stub)}, tmp_path)["one"])
    assert all(p == 0 for i, p in found.items() if i.split("-")[1] == first)
    rest = {i: p for i, p in points(room, passed["right"]).items() if i.split("-")[1] != first}
    assert {i: found[i] for i in rest} == rest


def test_only_answers_can_be_edited_and_nothing_can_be_deleted(room):
    for cell in room.skeleton.cells:
        answer = cell.metadata.get("nbgrader", {}).get("solution", False)
        assert cell.metadata.get("deletable") is False
        assert cell.metadata.get("editable", True) is answer


def test_a_student_needs_the_environment_of_the_book_and_nothing_else(room):
    code = "\n".join(c.source for c in room.skeleton.cells if c.cell_type == "code")
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", code, re.M))
    assert (
        imported <= {"mtl_lib", "torch", "numpy", "scipy", "matplotlib"} | sys.stdlib_module_names
    )


def test_the_zip_has_the_student_version_and_nothing_else(room, course, tmp_path):
    student_version = course.folder / "release" / room.name / f"{room.name}.ipynb"
    first = teach.pack(student_version, tmp_path / "a.zip").read_bytes()
    assert teach.pack(student_version, tmp_path / "b.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [f"{room.name}.ipynb"]
        text = archive.read(archive.namelist()[0]).decode()
    assert "BEGIN SOLUTION" not in text
    assert "HIDDEN TESTS" not in text
    assert "Rubric" not in text


def test_no_line_of_a_solution_is_anywhere_where_a_student_looks(room):
    """Neither in the chapters, the book's pages, nor the library."""
    secret = [line for line in secrets(room.source.cells) if len(line) > 30]
    assert secret
    shown = []
    for folder, pattern in (("chapters", "*.ipynb"), ("book", "*.md"), ("mtl_lib", "*.py")):
        for path in (ROOT / folder).rglob(pattern):
            text = path.read_text("utf-8")
            if path.suffix == ".ipynb":
                text = "\n".join(cell.source for cell in nbformat.reads(text, 4).cells)
            shown += [f"{path.name}: {line}" for line in secret if line in text]
    assert shown == []


def test_the_search_for_leaks_finds_one(room):
    leaky = nbformat.writes(room.skeleton) + secrets(room.source.cells)[0]
    assert [line for line in secrets(room.source.cells) if line in leaky]
