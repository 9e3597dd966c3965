"""The book's tools, on small notebooks in a temporary folder."""

import copy
import json

import claims as claims_tool
import nbformat
import notebooks
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mtl_lib.claims import MIME, Claim

PIXEL = "iVBORw0KGgo="  # nobody here decodes it
LEDGER = (
    "from mtl_lib.claims import Claim, show\n"
    "show(Claim('a', 'A exceeds B.', {{'A': {}}}, {{'B': [0, 0, 0]}}))"
)


def write(path, *cells):
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def picture(content=PIXEL):
    return new_output("display_data", data={"image/png": content, "text/plain": "<Figure>"})


def printed(*outputs):
    return [(o.name, o.text) for o in notebooks.normalise_outputs(outputs)]


def messy():
    """A notebook with everything that normalising removes."""
    noise = {"tags": ["answer"], "execution": {"iopub.status.idle": "2024"}, "collapsed": True}
    outputs = [stream("a  \n"), stream("b\n"), stream(" 50%|##  | 1/2", "stderr"), picture()]
    return new_notebook(
        cells=[
            new_markdown_cell("![The answer](attachment:answer.png)", metadata={"tags": []}),
            new_code_cell("draw()", metadata=noise, outputs=outputs, execution_count=1),
        ],
        metadata={"widgets": {"x": 1}, "language_info": {"name": "python", "version": "3.11"}},
    )


def test_normalising_twice_changes_nothing_more():
    once = notebooks.normalise(messy())
    assert notebooks.normalise(once) == once


def test_normalising_leaves_its_argument_alone():
    notebook = messy()
    before = copy.deepcopy(notebook)
    notebooks.normalise(notebook)
    assert notebook == before


def test_metadata_keeps_what_the_book_reads_and_nothing_else():
    notebook = notebooks.normalise(messy())
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert notebook.metadata.kernelspec["name"] == "python3"
    assert [cell.metadata for cell in notebook.cells] == [{}, {"tags": ["answer"]}]


@pytest.mark.parametrize(
    ("outputs", "stored"),
    [
        ([stream("a\n"), stream("b\n")], [("stdout", "a\nb\n")]),
        ([stream("a  \nb\t\n\n")], [("stdout", "a\nb\n")]),
        ([stream("1\r2\r3\n")], [("stdout", "3\n")]),
        ([stream("\n")], []),
        ([stream("\r 10%|#   | 1/9 [00:01<00:08, 1.00it/s]", "stderr")], []),
        ([stream("careful\n 10%|#  | 1/9", "stderr")], [("stderr", "careful\n")]),
    ],
)
def test_streams_are_stored_as_a_terminal_would_show_them(outputs, stored):
    assert printed(*outputs) == stored


def test_widgets_are_dropped_from_outputs():
    view = "application/vnd.jupyter.widget-view+json"
    widget = new_output("display_data", data={view: {"model_id": "1"}})
    assert notebooks.normalise_outputs([widget]) == []


def test_missing_cell_ids_follow_from_the_content(tmp_path):
    path = write(tmp_path / "n.ipynb", new_code_cell("1"), new_code_cell("1"), new_code_cell("2"))
    raw = json.loads(path.read_text())
    del raw["cells"][0]["id"], raw["cells"][1]["id"]
    path.write_text(json.dumps(raw))
    first, second = ([cell.id for cell in notebooks.load(path).cells] for _ in range(2))
    assert first == second
    assert len(set(first)) == 3
    assert first[2] == raw["cells"][2]["id"]


def test_the_first_picture_of_the_answer_is_attached_to_the_page():
    notebook = messy()
    notebook.cells[1].outputs.append(picture("AAAA"))
    top = notebooks.normalise(notebook).cells[0]
    assert top.attachments == {"answer.png": {"image/png": PIXEL}}


def test_an_answer_that_nobody_draws_is_refused():
    notebook = messy()
    notebook.cells[1].metadata = {}
    with pytest.raises(ValueError, match="wanted a code cell tagged 'answer'"):
        notebooks.normalise(notebook)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A stored notebook, and what storing it reported."""
    path = tmp_path_factory.mktemp("good") / "good.ipynb"
    parameters = new_code_cell("seeds = [1, 2, 3]", metadata={"tags": ["parameters"]})
    code = "from pathlib import Path\nprint(Path.cwd().name, sum(seeds), end='  ')"
    write(path, parameters, new_code_cell(code), new_code_cell(LEDGER.format("[4, 5, 6]")))
    return notebooks.store(path)


def test_a_notebook_runs_in_its_own_folder_and_is_stored_normalised(good):
    assert good.error == ""
    assert notebooks.not_normalised([good.path]) == []
    cells = notebooks.load(good.path).cells
    assert cells[1].outputs[0].text == f"{good.path.parent.name} 6\n"
    assert [cell.execution_count for cell in cells] == [1, 2, 3]


def test_time_and_memory_of_a_notebook_are_reported(good):
    # A Python kernel starts in well over 0.1 s and takes over 20 MB; no notebook here takes 10 GB.
    assert 0.1 < good.seconds < 600
    assert 20 < good.megabytes < 10_000


def test_check_names_the_notebook_that_was_edited_by_hand(good, tmp_path, capsys):
    edited = tmp_path / "edited.ipynb"
    edited.write_text(good.path.read_text().replace('"python3"', '"other"'))
    assert notebooks.main(["--check", str(good.path)]) == 0
    assert notebooks.main(["--check", str(good.path), str(edited)]) == 1
    assert "edited.ipynb is not stored by this tool" in capsys.readouterr().out


def test_a_failing_notebook_stays_as_it_was_and_the_error_names_the_cell(tmp_path, capfd):
    path = write(tmp_path / "bad.ipynb", new_code_cell("x = 0"), new_code_cell("# half\n1 / x"))
    before = path.read_bytes()
    assert notebooks.main([str(path)]) == 1
    assert path.read_bytes() == before
    assert "code cell 2, '1 / x': ZeroDivisionError: division by zero" in capfd.readouterr().out


def seeded(values, name="seeds"):
    """A stored chapter whose claim depends on its seeds."""
    claim = Claim("a", "A exceeds B.", {"A": [4, 5, 6]}, {"B": [0, 0, 0]})
    data = {MIME: {"version": 1, "claims": [claim.to_dict()]}, "text/plain": "the ledger"}
    outputs = [new_output("display_data", data=data)]
    return [
        new_code_cell(f"{name} = [0, 1, 2]", metadata={"tags": ["parameters"]}),
        new_code_cell(LEDGER.format(values), outputs=outputs, execution_count=2),
    ]


@pytest.mark.parametrize(
    ("measured", "fresh", "status"),
    [
        ("[s - 96 for s in seeds]", "holds", 0),  # shifted by 100: 4, 5, 6 again
        ("[9 * (s - 101) for s in seeds]", "inconclusive", 0),
        ("[0 - s for s in seeds]", "fails", 1),
    ],
)
def test_other_seeds_fail_where_a_verdict_flips(tmp_path, capfd, measured, fresh, status):
    path = write(tmp_path / "chapter.ipynb", *seeded(measured))
    before = path.read_bytes()
    assert claims_tool.main([str(path)]) == status
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1] == f"{1 - status} passed, {status} failed"
    assert lines[-2].split()[1:4] == ["a", "holds", fresh]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (seeded("[1, 2, 3]", name="seed"), "sets no seeds"),
        (seeded("[1, 2, oops]"), "NameError"),
        ([new_code_cell("seeds = [1]")], "0 cells are tagged 'parameters'"),
    ],
)
def test_a_chapter_that_cannot_run_again_fails_with_the_reason(tmp_path, capfd, cells, message):
    assert claims_tool.main([str(write(tmp_path / "chapter.ipynb", *cells))]) == 1
    out = capfd.readouterr().out
    assert message in out
    assert out.splitlines()[-1] == "0 passed, 1 failed"


def test_a_run_over_no_claims_does_not_succeed(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(notebooks, "CHAPTERS", tmp_path)
    assert claims_tool.main([]) == 1
