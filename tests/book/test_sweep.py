"""Sweeps over a chapter's parameters, on a tiny notebook."""

import csv
import subprocess

import nbformat
import pytest
import sweep
from nbformat.v4 import new_code_cell, new_notebook

PARAMETERS = "seeds = [0, 1, 2]\nbudget = 1.0\nstyle = 'flat'"
LEDGER = (
    "from mtl_lib.claims import Claim, show\n"
    "assert budget > 0, 'no budget'\n"
    "show(Claim('seed-exceeds-nine', 'S.', {'s': [s * budget for s in seeds]}, {'9': [9] * 3}))"
)
KNOWN = {"seeds": [0, 1, 2], "budget": 1.0, "style": "flat", "limit": None}


@pytest.fixture
def chapter(tmp_path):
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    path = tmp_path / "chapter.ipynb"
    nbformat.write(new_notebook(cells=[parameters, new_code_cell(LEDGER)]), path)
    return path


def command(*arguments):
    return sweep.main([str(argument) for argument in arguments])


def test_all_combinations_become_jobs_in_a_fixed_order():
    jobs = sweep.grid(["budget=[0.5, 2]", "style=['flat', 'sketch']"], KNOWN)
    pairs = [(0.5, "flat"), (0.5, "sketch"), (2, "flat"), (2, "sketch")]
    assert jobs == [{"budget": budget, "style": style} for budget, style in pairs]
    assert sweep.grid([], KNOWN) == [{}]
    assert sweep.grid(["seeds=[[3, 4, 5]]", "limit=[1]"], KNOWN) == [
        {"seeds": [3, 4, 5], "limit": 1}
    ]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["budgets=[1]"], "'budgets'.*choose among seeds, budget, style, limit"),
        (["budget=[1]", "budget=[2]"], "'budget', wanted .* at most once"),
        (["seeds=[0, 1, 2]"], r"seeds is 0 in one job, wanted a value such as \[0, 1, 2\]"),
        (["budget=['1']"], "budget is '1' in one job"),
        (["budget=1.0"], "wanted a list of values"),
        (["budget=[]"], "wanted a list of values"),
        (["budget=[x]"], "wanted a list of values"),
        (["budget"], "wanted a list of values"),
    ],
)
def test_axes_that_the_chapter_cannot_have_are_refused_with_what_it_has(axes, message):
    with pytest.raises(ValueError, match=message):
        sweep.grid(axes, KNOWN)


def test_jobs_started_by_the_shell_lead_to_one_table_and_are_not_done_twice(
    chapter, tmp_path, capsys
):
    folder, axes = tmp_path / "results", ["seeds=[[10, 11, 12], [0, 1, 2]]", "budget=[2.0]"]
    assert command(chapter, folder, *axes, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    # The first as a scheduler's shell would do it, the second by its number.
    subprocess.run(["xargs", "-L", "1", "env"], input=lines[0], text=True, check=True)
    assert command(chapter, folder, *axes, "--job", 1) == 0
    files = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert len(files) == 2

    assert command(chapter, folder, *axes, "--job", 0) == 0
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == files
    capsys.readouterr()
    assert command(chapter, folder, *axes, "--list") == 0
    assert capsys.readouterr().out == ""

    assert command(chapter, folder, "--collect") == 0
    counts = capsys.readouterr().out.removeprefix("seed-exceeds-nine: ").strip().split(", ")
    assert sorted(counts) == ["fails 1", "holds 1"]
    with (folder / "claims.csv").open() as stream:
        rows = {row["seeds"]: row for row in csv.DictReader(stream)}
    assert rows["[10, 11, 12]"]["verdict"] == "holds"
    assert float(rows["[10, 11, 12]"]["difference"]) == 13
    assert rows["[0, 1, 2]"]["verdict"] == "fails"
    assert rows["[0, 1, 2]"]["budget"] == "2.0"


def test_a_job_that_fails_says_where_and_stays_to_be_done(chapter, tmp_path, capsys):
    folder = tmp_path / "results"
    assert command(chapter, folder, "budget=[-1.0]", "--job", 0) == 1
    assert "code cell 3: AssertionError: no budget" in capsys.readouterr().err
    assert [file.suffixes for file in folder.iterdir()] == [[".failed", ".ipynb"]]
    assert command(chapter, folder, "budget=[-1.0]", "--list") == 0
    assert "--job 0" in capsys.readouterr().out
    assert command(chapter, folder, "--collect") == 1
    assert "no job of chapter.ipynb is done" in capsys.readouterr().err


def test_results_of_a_chapter_that_has_changed_since_do_not_count(chapter, tmp_path):
    job = {"budget": 2.0}
    before = sweep.file_of(chapter, tmp_path, job)
    assert before == sweep.file_of(chapter, tmp_path, dict(job))
    assert before != sweep.file_of(chapter, tmp_path, {"budget": 3.0})
    chapter.write_text(chapter.read_text().replace("[9]", "[8]"))
    assert before != sweep.file_of(chapter, tmp_path, job)


def test_a_number_beyond_the_jobs_is_refused(chapter, tmp_path, capsys):
    assert command(chapter, tmp_path, "budget=[1.0, 2.0]", "--job", 2) == 1
    assert "--job is 2, wanted 0 to 1" in capsys.readouterr().err
