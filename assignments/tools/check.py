"""What must be true of a problem set before a student sees it."""

import re
from pathlib import Path

import nbformat
from nbgrader.utils import is_grade, is_locked, is_solution

SOLUTION = re.compile(r"### BEGIN SOLUTION(.*?)### END SOLUTION", re.S)
HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS(.*?)### END HIDDEN TESTS", re.S)
ITEM = re.compile(r"^[#\s]*- \((\d+(?:\.\d+)?)\) ", re.M)


def problems(source: Path, student_version: Path) -> list[str]:
    """Return what is wrong with a set, in words for its author."""
    cells = nbformat.read(source, 4).cells
    name = source.stem
    return [
        *wrong_ids(cells, name),
        *wrong_cells(cells),
        *wrong_rubrics(cells),
        *leaks(cells, "\n".join(c.source for c in nbformat.read(student_version, 4).cells)),
    ]


def key(cell) -> str:
    """Return nbgrader's id of a cell, empty if it has none."""
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def wrong_ids(cells, name) -> list[str]:
    """Ids are given once, begin with the set's name, and say which cells are tests."""
    ids = [key(cell) for cell in cells if key(cell)]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    strange = [i for i in ids if not re.fullmatch(rf"{name}(-[a-z0-9]+)+", i)]
    return [f"the id {i} is there twice" for i in twice] + [
        f"the id {i} is not {name}-question-what" for i in strange
    ]


def wrong_cells(cells) -> list[str]:
    """Answers have a region for the solution, tests have points, hidden parts and messages."""
    found = []
    for cell in cells:
        if is_solution(cell) and not SOLUTION.search(cell.source):
            found.append(f"{key(cell)} has no ### BEGIN SOLUTION … ### END SOLUTION")
        if is_grade(cell) and not is_solution(cell):
            if not HIDDEN.search(cell.source):
                found.append(f"{key(cell)} has no ### BEGIN HIDDEN TESTS … ### END HIDDEN TESTS")
            if not is_locked(cell) or cell.metadata.nbgrader.points <= 0:
                found.append(f"{key(cell)} is not locked, or is worth nothing")
        if cell.get("outputs"):
            found.append(f"{key(cell) or cell.id} has outputs stored: clear them")
    return found


def wrong_rubrics(cells) -> list[str]:
    """What is marked by hand has a rubric whose points add up."""
    found = []
    for cell in cells:
        if is_grade(cell) and is_solution(cell):
            points = sum(float(p) for p in ITEM.findall(cell.source))
            wanted = cell.metadata.nbgrader.points
            if points != wanted:
                found.append(f"the rubric of {key(cell)} has {points:g} points, not {wanted:g}")
    return found


def leaks(cells, shown: str) -> list[str]:
    """Return what of the solutions and hidden tests stands in a text that students get."""
    return [f"students would see: {line}" for line in secrets(cells) if line in shown]


def secrets(cells) -> list[str]:
    """Return every line of the solutions and hidden tests that stands nowhere else in the set."""
    hidden, open_text = [], []
    for cell in cells:
        rest = cell.source
        for region in (SOLUTION, HIDDEN):
            hidden += [line for part in region.findall(rest) for line in part.splitlines()]
            rest = region.sub("", rest)
        open_text.append(rest)
    everything = "\n".join(open_text)
    lines = dict.fromkeys(line.strip() for line in hidden)
    return [line for line in lines if len(line) >= 16 and line not in everything]
