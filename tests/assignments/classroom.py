"""Hands in a problem set in all the ways in which real classes do."""

import copy
import json
import os
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from check import key

SOLUTION = re.compile(r"^[ \t]*### BEGIN SOLUTION\n|^[ \t]*### END SOLUTION\n?", re.M)

UNSTOPPABLE = """
import time
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""


@dataclass
class Hand:
    """One student's submission: what they do, and the autograded points they deserve, if any."""

    points: float | None
    write: Callable[[Path], None]
    remark: str | None = ""  # None: how it ends depends on the machine


class Classroom:
    """The submissions to one set.

    Args:
        source: the set with its solutions.
        skeleton: its student version.
        answers: ``{"wrong": {...}, "hard-coded": {...}}``, each ``{id: {"code", "points"}}``.
        megabytes: size of the outputs that are too large.
    """

    def __init__(self, source, skeleton, answers: dict, megabytes: int):
        self.source, self.skeleton, self.answers = source, skeleton, answers
        self.megabytes = megabytes
        tests = {
            c.metadata.nbgrader.grade_id: c.metadata.nbgrader.points
            for c in source.cells
            if c.metadata.get("nbgrader", {}).get("grade") and not c.metadata.nbgrader.solution
        }
        self.name = next(iter(tests)).split("-")[0]
        self.full = sum(tests.values())
        self.first = next(
            c.metadata.nbgrader.grade_id
            for c in source.cells
            if c.metadata.get("nbgrader", {}).get("solution")
        )
        prefix = "-".join(self.first.split("-")[:2]) + "-"
        self.rest = self.full - sum(p for i, p in tests.items() if i.startswith(prefix))

    # --- notebooks ---

    def solved(self, changed: dict[str, str] | None = None):
        """Return the set with its solutions, except for the answers that are given by id."""
        notebook = copy.deepcopy(self.skeleton)
        right = {c.id: SOLUTION.sub("", c.source) for c in self.source.cells}

        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = (changed or {}).get(key(cell), right[cell.id])
        return notebook

    def first_is(self, code: str):
        """Return the solved set with other code in its first answer."""
        return self.solved({self.first: code})

    def answered(self, kind: str):
        """Return the set with the answers of a kind, the untouched text elsewhere."""
        notebook = copy.deepcopy(self.skeleton)
        for cell in notebook.cells:
            found = self.answers[kind].get(key(cell))
            if found:
                cell.source = found["code"]
        return notebook

    def deserved(self, kind: str) -> float:
        """Return the points for the answers of a kind."""
        each = self.answers[kind].values()
        return float(sum(sum(answer["points"].values()) for answer in each))

    # --- what students do with them ---

    def hands(self) -> dict[str, Hand]:
        """Return every student's submission."""
        full, rest, first = self.full, self.rest, self.first
        spoiled = {
            "an-endless-loop": "while True:\n    pass",
            "a-loop-that-cannot-be-stopped": UNSTOPPABLE,
            "an-import-that-fails": "import a_package_that_nobody_has",
            "the-end-of-python": "import os\nos._exit(0)",
            "exit": "exit()",
            "endless-output": "while True:\n    print('x' * 10**6)",
            "too-much-memory": "everything = bytearray(10**13)",
            "a-question-to-the-keyboard": "name = input()",
            "a-syntax-error": "def (:",
        }
        hands = {
            "everything-right": Hand(full, self.as_folder(self.solved())),
            "untouched": Hand(0, self.as_folder(self.skeleton)),
            "plausibly-wrong": Hand(self.deserved("wrong"), self.as_folder(self.answered("wrong"))),
            "hard-coded": Hand(
                self.deserved("hard-coded"), self.as_folder(self.answered("hard-coded"))
            ),
            "doubled-cells": Hand(full, self.as_folder(self.doubled()), "times"),
            "a-deleted-answer": Hand(rest, self.as_folder(self.without(first)), "deleted"),
            "deleted-tests": Hand(full, self.as_folder(self.without("-test")), "put back"),
            "edited-tests": Hand(0, self.as_folder(self.edited()), "changed"),
            "another-order": Hand(full, self.as_folder(self.reversed())),
            "another-kind": Hand(full, self.as_folder(self.as_text()), "kind"),
            "another-name": Hand(full, self.as_folder(self.solved(), "final version (2).ipynb")),
            "a-text-file": Hand(full, self.as_folder(self.solved(), f"{self.name}.ipynb.txt")),
            "a-zip": Hand(full, self.as_zip(self.solved())),
            "stored-output": Hand(full, self.as_folder(self.with_output())),
            "much-output": Hand(full, self.as_folder(self.loud())),
            "twice": Hand(full, self.twice, "older"),
            "latin": Hand(full, self.encoded("cp1252"), "cp1252"),
            "utf-16": Hand(full, self.encoded("utf-16"), "utf-16"),
            "another-set": Hand(None, self.as_folder(self.other_set()), "another problem set"),
            "copied-cells": Hand(None, self.as_folder(self.without_ids()), "copied"),
            "cut-off": Hand(None, self.raw(nbformat.writes(self.solved())[:3000].encode()), "JSON"),
            "an-empty-file": Hand(None, self.raw(b""), "empty"),
            "a-printout": Hand(None, self.raw(b"%PDF-1.7 \xe2\xe3", "answers.pdf"), "no notebook"),
        }
        remarks = {
            "a-loop-that-cannot-be-stopped": "could not be interrupted",
            "the-end-of-python": "ended Python",
            "endless-output": None,
        }
        hands |= {
            who: Hand(rest, self.as_folder(self.first_is(code)), remarks.get(who, ""))
            for who, code in spoiled.items()
        }
        return hands

    def hand_in(self, folder: Path, only: list[str] | None = None) -> dict[str, Hand]:
        """Write the submissions into a folder, and a file that is nobody's; return what is due."""
        hands = {who: hand for who, hand in self.hands().items() if only is None or who in only}
        for who, hand in hands.items():
            place = folder / who
            place.mkdir(parents=True)
            hand.write(place)
        nbformat.write(self.solved(), folder / f"{self.name}.ipynb")
        return hands

    # --- ways of handing in ---

    def as_folder(self, notebook, name: str = "") -> Callable[[Path], None]:
        return lambda place: nbformat.write(notebook, place / (name or f"{self.name}.ipynb"))

    def as_zip(self, notebook) -> Callable[[Path], None]:
        def write(place):
            with zipfile.ZipFile(place / "work.zip", "w") as archive:
                archive.writestr(f"some folder/{self.name}.ipynb", nbformat.writes(notebook))

        return write

    def raw(self, data: bytes, name: str = "") -> Callable[[Path], None]:
        return lambda place: (place / (name or f"{self.name}.ipynb")).write_bytes(data) and None

    def encoded(self, encoding: str) -> Callable[[Path], None]:
        notebook = self.solved()
        notebook.cells.append(nbformat.v4.new_markdown_cell("Grüße, déjà vu"))
        text = json.dumps(notebook, ensure_ascii=False)
        return self.raw("".join(c if ord(c) < 256 else "?" for c in text).encode(encoding))

    def twice(self, place: Path) -> None:
        old, new = place / f"{self.name}.ipynb", place / f"{self.name} (1).ipynb"
        nbformat.write(self.skeleton, old)
        nbformat.write(self.solved(), new)
        os.utime(old, (time.time() - 3600,) * 2)

    # --- ways of treating cells ---

    def doubled(self):
        notebook = self.solved()
        stubs = {c.id: c for c in self.skeleton.cells}
        cells = []
        for cell in notebook.cells:
            copied = copy.deepcopy(cell)
            copied.id += "-copy"
            if key(cell) == self.first:
                cell = copy.deepcopy(cell)
                cell.source = stubs[cell.id].source + "\n# a first attempt"
            cells += [cell, copied] if cell.metadata.get("nbgrader") else [cell]
        notebook.cells = cells
        return notebook

    def without(self, part: str):
        notebook = self.solved()
        notebook.cells = [c for c in notebook.cells if part not in key(c)]
        return notebook

    def edited(self):
        notebook = copy.deepcopy(self.skeleton)
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade") and cell.metadata.nbgrader.locked:
                cell.source = "pass"
                cell.metadata.nbgrader.points = 1000
        return notebook

    def reversed(self):
        notebook = self.solved()
        notebook.cells = notebook.cells[::-1]
        return notebook

    def as_text(self):
        notebook = self.solved()
        for index, cell in enumerate(notebook.cells):
            if key(cell) == self.first:
                text = nbformat.v4.new_markdown_cell(cell.source, metadata=cell.metadata)
                notebook.cells[index] = text
        return notebook

    def with_output(self):
        notebook = self.solved()
        cell = next(c for c in notebook.cells if c.cell_type == "code")
        cell.outputs = [nbformat.v4.new_output("stream", text="x" * self.megabytes * 10**6)]
        return notebook

    def loud(self):
        right = next(cell.source for cell in self.solved().cells if key(cell) == self.first)
        flood = f"for _ in range({self.megabytes}):\n    print('x' * 10**6)\n"
        return self.first_is(flood + right)

    def other_set(self):
        text = nbformat.writes(self.solved()).replace(f'"{self.name}-', '"ps0-')
        return nbformat.reads(text, 4)

    def without_ids(self):
        notebook = self.solved()
        for cell in notebook.cells:
            cell.metadata = {}
        return notebook


# --- a set that is small ---

TINY_ANSWERS = {
    "wrong": {
        "ps1-1-answer": {
            "code": "def mean(values):\n    return sum(values) / 2",
            "points": {"ps1-1-test-a": 0, "ps1-1-test-b": 1},
        },
        "ps1-2-answer": {
            "code": "def spread(values):\n    return max(values)",
            "points": {"ps1-2-test-a": 0},
        },
    },
    "hard-coded": {
        "ps1-1-answer": {
            "code": "def mean(values):\n    return 2",
            "points": {"ps1-1-test-a": 0, "ps1-1-test-b": 0},
        },
        "ps1-2-answer": {
            "code": "def spread(values):\n    return 2",
            "points": {"ps1-2-test-a": 0},
        },
    },
}


def graded_cell(kind: str, name: str, source: str, points: int = 0):
    """Return a cell of a set: ``locked``, ``answer``, ``test``, ``text`` or ``open``."""
    settings = {
        "schema_version": 3,
        "grade_id": name,
        "grade": kind in ("test", "text", "open"),
        "solution": kind in ("answer", "text", "open"),
        "locked": kind in ("locked", "test"),
        "task": False,
    }
    if settings["grade"]:
        settings["points"] = points
    make = nbformat.v4.new_markdown_cell if kind == "text" else nbformat.v4.new_code_cell
    return make(source, id=name, metadata={"nbgrader": settings})


def solution(text: str) -> str:
    """Return a text that students do not get."""
    return f"### BEGIN SOLUTION\n{text}\n### END SOLUTION"


def tests(seen: str, unseen: str) -> str:
    """Return the source of a test, of which students get a part."""
    return f"{seen}\n### BEGIN HIDDEN TESTS\n{unseen}\n### END HIDDEN TESTS"


def tiny_set():
    """Return a set of four questions with their solutions."""
    markdown = nbformat.v4.new_markdown_cell
    average = f"def mean(values):\n{indent(solution('return sum(values) / len(values)'))}"
    width = f"def spread(values):\n{indent(solution('return max(values) - min(values)'))}"
    first = tests(
        "assert mean([1, 3]) == 2, 'the mean of 1 and 3'",
        "assert mean([1, 3, 5, 7]) == 4, 'divide by how many there are'",
    )
    second = tests("assert mean([1, 3]) == 2", "assert mean((2, 4)) == 3, 'tuples, too'")
    third = tests("assert spread([1, 3]) == 2", "assert spread([5, 1, 3]) == 4, 'any order'")
    proof = "Set $-2 \\sum_i (x_i - m)$ to zero.\n\n**Rubric**\n\n- (2) derivative\n- (2) zero"
    trial = "print('an experiment of one own making')\n# Rubric\n# - (3) it runs"
    cells = [
        markdown("# A tiny set", id="title"),
        graded_cell("locked", "ps1-setup", "import math"),
        markdown("## 1. The mean", id="one"),
        graded_cell("answer", "ps1-1-answer", average),
        graded_cell("test", "ps1-1-test-a", first, 2),
        graded_cell("test", "ps1-1-test-b", second, 1),
        markdown("## 2. The spread", id="two"),
        graded_cell("answer", "ps1-2-answer", width),
        graded_cell("test", "ps1-2-test-a", third, 3),
        markdown("## 3. Why is $\\sum_i (x_i - m)^2$ least at the mean?", id="three"),
        graded_cell("text", "ps1-3-text", solution(proof), 4),
        markdown("## 4. An experiment", id="four"),
        graded_cell("open", "ps1-4-code", solution(trial), 3),
    ]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def indent(text: str) -> str:
    """Return a text as the body of a function."""
    return "\n".join(f"    {line}" for line in text.splitlines())
