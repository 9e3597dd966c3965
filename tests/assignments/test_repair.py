"""What students do to the cells of a notebook is undone, and their answers are kept."""

import copy
import json

import nbformat
import pytest
from classroom import TINY_ANSWERS, Classroom, key
from course import Course
from repair import RejectedError, repair


@pytest.fixture(scope="module")
def room(tiny, tmp_path_factory):
    course = Course(tmp_path_factory.mktemp("class"), tiny)
    skeleton = nbformat.read(course.release("ps1"), 4)
    return Classroom(nbformat.read(tiny / "ps1" / "ps1.ipynb", 4), skeleton, TINY_ANSWERS, 1)


def repaired(room, notebook):
    return repair(nbformat.writes(notebook).encode(), room.skeleton, "ps1")


def sources(notebook):
    return {key(cell): cell.source for cell in notebook.cells if key(cell)}


def test_a_notebook_as_it_should_be_comes_back_as_it_was(room):
    solved = room.solved()
    result = repaired(room, solved)
    assert [cell.source for cell in result.notebook.cells] == [c.source for c in solved.cells]
    assert result.notes == []


@pytest.mark.parametrize("harm", ["doubled", "reversed", "as_text"])
def test_answers_survive_what_is_done_to_cells(room, harm):
    result = repaired(room, getattr(room, harm)())
    assert sources(result.notebook) == sources(room.solved())
    ids = [key(cell) for cell in result.notebook.cells if key(cell)]
    assert ids == [key(cell) for cell in room.skeleton.cells if key(cell)]


def test_changed_and_deleted_tests_are_the_original_ones_again(room):
    original = {k: v for k, v in sources(room.skeleton).items() if "-test" in k}
    for notebook in (room.edited(), room.without("-test")):
        result = repaired(room, notebook)
        assert original.items() <= sources(result.notebook).items()
        [note] = result.notes
        assert set(note.partition(": ")[2].split(", ")) == original.keys()
    points = [c.metadata.nbgrader.get("points") for c in result.notebook.cells if key(c)]
    assert 1000 not in points


def test_a_deleted_answer_counts_as_none(room):
    result = repaired(room, room.without("ps1-1-answer"))
    assert sources(result.notebook)["ps1-1-answer"] == sources(room.skeleton)["ps1-1-answer"]
    assert "not answered" in result.notes[0]


def test_of_two_answers_the_later_one_counts_and_both_are_kept(room):
    notebook = room.first_is("def mean(values):\n    return 0")
    place = next(i for i, cell in enumerate(notebook.cells) if key(cell) == room.first)
    again = copy.deepcopy(notebook.cells[place])
    again.id, again.source = "again", sources(room.solved())[room.first]
    notebook.cells.insert(place + 1, again)
    result = repaired(room, notebook).notebook
    code = [cell.source for cell in result.cells if "def mean" in cell.source]
    assert code == [notebook.cells[place].source, again.source]
    assert sources(result)[room.first] == again.source


def test_two_written_answers_are_joined(room):
    notebook = room.solved()
    place = next(i for i, cell in enumerate(notebook.cells) if key(cell) == "ps1-3-text")
    again = copy.deepcopy(notebook.cells[place])
    again.id, again.source = "again", "A second thought."
    notebook.cells.insert(place + 1, again)
    text = sources(repaired(room, notebook).notebook)["ps1-3-text"]
    assert notebook.cells[place].source in text
    assert "A second thought." in text


def test_cells_of_a_students_own_stay_where_they_were(room):
    notebook = room.solved()
    place = next(i for i, cell in enumerate(notebook.cells) if key(cell) == room.first)
    notebook.cells.insert(place, nbformat.v4.new_code_cell("import statistics"))
    notebook.cells.insert(place + 2, nbformat.v4.new_markdown_cell("Because of this."))
    result = [cell.source for cell in repaired(room, notebook).notebook.cells]
    assert result == [cell.source for cell in notebook.cells]


def test_a_picture_in_a_written_answer_is_kept(room):
    notebook = room.solved()
    cell = next(cell for cell in notebook.cells if key(cell) == "ps1-3-text")
    cell.source += "\n![](attachment:proof.png)"
    cell.attachments = {"proof.png": {"image/png": "aGVsbG8="}}
    result = repaired(room, notebook).notebook
    kept = next(cell for cell in result.cells if key(cell) == "ps1-3-text")
    assert kept.attachments == cell.attachments


def test_outputs_are_dropped(room):
    result = repaired(room, room.with_output()).notebook
    assert not any(cell.get("outputs") for cell in result.cells)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_usual_encoding_is_read(room, encoding):
    notebook = room.solved()
    answer = next(cell for cell in notebook.cells if key(cell) == "ps1-3-text")
    answer.source = "Grüße"
    text = json.dumps(notebook, ensure_ascii=False)
    result = repair(text.encode(encoding), room.skeleton, "ps1")
    assert sources(result.notebook)["ps1-3-text"] == "Grüße"
    assert bool(result.notes) == (encoding in ("utf-16", "cp1252"))


def test_a_notebook_of_the_format_before_this_one_is_read(room):
    cells = [
        {"cell_type": c.cell_type, "metadata": c.metadata, "input": c.source, "source": c.source}
        for c in room.solved().cells
    ]
    old = {"worksheets": [{"cells": cells}], "metadata": {}, "nbformat": 3}
    result = repair(json.dumps(old).encode(), room.skeleton, "ps1")
    assert sources(result.notebook) == sources(room.solved())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"%PDF-1.7 \xe2\xe3\xcf\xd3", "not a notebook"),
        (b'{"cells": [', "cut off"),
        (b'{"cells": 3}', "no cells"),
        (b"[1, 2]", "no cells"),
        (b'{"cells": []}', "no cell of ps1"),
        (b'{"cells": [1, null, {"metadata": 3}]}', "no cell of ps1"),
        (b'{"cells": [{"metadata": {"nbgrader": {"grade_id": "ps2-1-answer"}}}]}', "of ps2"),
        (b"[" * 100_000, "not a notebook"),
    ],
)
def test_what_is_no_submission_to_this_set_is_rejected_with_the_reason(room, data, why):
    with pytest.raises(RejectedError, match=why):
        repair(data, room.skeleton, "ps1")
