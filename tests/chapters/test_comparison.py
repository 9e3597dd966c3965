"""A test of the test: `pytest --nbval` has to notice what matters, and nothing else.

One notebook is executed and stored, then every stored output is altered as its row says, and one
nbval run over the altered file shows which cells it calls different.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import notebooks
import pytest

from mtl_lib.claims import MIME

ROOT = Path(__file__).parents[2]
PICTURE = "plt.plot([0, 1])\nplt.show()"
SHOW = "show(Claim('{}', 'A exceeds B.', {{'A': [4, 5, 6]}}, {{'B': [{}] * 3}}))"


def replace(old, new):
    """Alter the stored outputs where they say `old`, wherever that stands."""

    def alter(cell):
        text = json.dumps(cell.outputs)
        assert old in text, text
        cell.outputs = nbformat.from_dict(json.loads(text.replace(old, new)))

    return alter


def untouched(cell):
    pass


def forget_outputs(cell):
    cell.outputs = []


def forget_execution(cell):
    cell.outputs, cell.execution_count = [], None


def add_output(cell):
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="more")]


def store_again(cell):
    cell.outputs = [*cell.outputs, *cell.outputs]


def flip(cell):
    """Swap the stored sides: a ledger that is consistent in itself and says the opposite."""
    for output in cell.outputs:
        for claim in output.data[MIME]["claims"]:
            (a,), (b,) = claim["greater"], claim["smaller"]
            claim["greater"][a], claim["smaller"][b] = claim["smaller"][b], claim["greater"][a]
            claim["verdict"] = "fails"


def undecide(cell):
    """Store measurements that spread so much that nothing follows."""
    for output in cell.outputs:
        for claim in output.data[MIME]["claims"]:
            claim["greater"]["A"] = [-9.0, 0.0, 9.0]
            claim["verdict"] = "inconclusive"


# name: (code, tags, what happens to the stored output, whether nbval has to pass)
CASES = {
    "equal outputs pass": ("print('loss 0.50')", [], untouched, True),
    "a changed number fails": ("print('loss 0.50')", [], replace("0.50", "0.51"), False),
    "a changed word fails": ("print('loss 0.50')", [], replace("loss", "gain"), False),
    "a changed result fails": ("1 / 4", [], replace("0.25", "0.26"), False),
    "a changed duration passes": ("print('took 1.5 s')", [], replace("1.5 s", "12 ms"), True),
    "a changed speed passes": ("print('at 80 it/s')", [], replace("80", "9.5"), True),
    "a changed memory passes": ("print('peak 80 MB')", [], replace("80", "95"), True),
    "a changed address passes": ("object()", [], replace("at 0x", "at 0xa"), True),
    "a measured number within 5 % passes": (
        "print('loss 0.500')",
        ["measured"],
        replace("0.500", "0.475"),
        True,
    ),
    "a doubled measured number fails": (
        "print('loss 0.500')",
        ["measured"],
        replace("0.500", "1.000"),
        False,
    ),
    "a changed word among measured numbers fails": (
        "print('loss 0.500')",
        ["measured"],
        replace("loss", "gain"),
        False,
    ),
    "a lost measured number fails": (
        "print('loss 0.500 0.100')",
        ["measured"],
        replace(" 0.100", ""),
        False,
    ),
    "a timing may change by any factor": ("print('ms 3')", ["timing"], replace("3", "900"), True),
    "a word beside a timing may not": ("print('ms 3')", ["timing"], replace("ms", "us"), False),
    "the same claims pass": (SHOW.format("a", 0), [], untouched, True),
    "a flipped verdict fails": (SHOW.format("b", 0), [], flip, False),
    "a verdict that was inconclusive passes": (SHOW.format("c", 0), [], undecide, True),
    "a typed verdict fails": (SHOW.format("d", 0), [], replace("holds", "fails"), False),
    "another sentence of a claim fails": (
        SHOW.format("e", 0),
        [],
        replace("A exceeds B.", "B exceeds A."),
        False,
    ),
    "a renamed claim fails": (SHOW.format("f", 0), [], replace('"f"', '"g"'), False),
    "other measurements with the same verdict pass": (
        SHOW.format("h", 0),
        [],
        replace("[4.0, 5.0, 6.0]", "[7.0, 8.0, 9.0]"),
        True,
    ),
    "deleted output fails": ("print('loss')", [], forget_outputs, False),
    "a cell that was never run fails": ("print('loss')", [], forget_execution, False),
    "output that the cell does not make fails": ("x = 1", [], add_output, False),
    "another picture passes": (PICTURE, [], replace("iVBOR", "iVBOS"), True),
    "a picture too many fails": (PICTURE, [], store_again, False),
    "a deleted picture fails": (PICTURE, [], forget_outputs, False),
    "warnings of this machine pass": (
        "_ = sys.stderr.write('old CPU')",
        [],
        forget_outputs,
        True,
    ),
}


@pytest.fixture(scope="module")
def passed(tmp_path_factory):
    """``{case: whether nbval passed its cell}``."""
    path = tmp_path_factory.mktemp("comparison") / "notebook.ipynb"
    imports = "import sys\nimport matplotlib.pyplot as plt\nfrom mtl_lib.claims import Claim, show"
    cells = [nbformat.v4.new_code_cell(imports)]
    for code, tags, _, _ in CASES.values():
        cells.append(nbformat.v4.new_code_cell(code, metadata={"tags": tags}))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environment["PYTHONPATH"])
        assert not notebooks.store(path).error

    notebook = notebooks.load(path)
    for cell, (_, _, alter, _) in zip(notebook.cells[1:], CASES.values(), strict=True):
        alter(cell)
    path.write_text(notebooks.render(notebook), encoding="utf-8")
    report = path.with_name("report.xml")
    command = ["pytest", "-q", "-p", "notebook_comparison", "--nbval", "--junitxml", report, path]
    run = subprocess.run(
        [sys.executable, "-m", *command, "--rootdir", path.parent, "-c", os.devnull],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1, run.stdout + run.stderr  # 1: the run ended, and tests failed
    results = [not len(case) for case in ElementTree.parse(report).iter("testcase")]
    assert len(results) == len(CASES) + 1, run.stdout
    return dict(zip(CASES, results[1:], strict=True))


@pytest.mark.parametrize("case", CASES)
def test_comparison_of_a_stored_notebook(passed, case):
    assert passed[case] == CASES[case][3]
