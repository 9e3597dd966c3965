"""Run every chapter again with other seeds and compare the verdicts with the stored ones.

    python book/tools/claims.py [-j N] [--shift N] [notebook ...]

A verdict that went from *holds* to *fails*, or the reverse, is an error; one that became or was
inconclusive is not. The stored notebooks are not touched.
"""

import argparse
import ast
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import notebooks
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from mtl_lib.claims import Claim, flips, read

__all__ = ["execute", "main", "parameters", "rerun", "rows"]

Row = tuple[str, str, str, str, bool]  # chapter, claim, stored verdict, fresh verdict, passed


def parameters(notebook: NotebookNode) -> dict[str, Any]:
    """The names that the cell tagged ``parameters`` sets, with their values.

    Raises:
        ValueError: no such cell or several, or a value that is not a plain literal.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{len(cells)} cells are tagged 'parameters', wanted one.")
    values = {}
    for statement in ast.parse(cells[0].source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            try:
                values[name] = ast.literal_eval(statement.value)
            except ValueError as error:
                raise ValueError(f"parameter {name} is not a literal: write its value.") from error
    return values


def execute(path: Path, output: Path, changed: Mapping[str, Any]) -> None:
    """Execute a copy of a notebook, in the notebook's folder, with other parameters.

    Raises:
        RuntimeError: names the cell that failed; the output shows it too.
    """
    os.environ.update(notebooks.ENVIRONMENT)
    os.environ.pop("MPLBACKEND", None)
    try:
        papermill.execute_notebook(
            path,
            output,
            parameters=dict(changed),
            cwd=path.parent,
            kernel_name="python3",
            language="python",
            progress_bar=False,
        )
    except PapermillExecutionError as error:
        raise RuntimeError(
            f"code cell {error.exec_count}: {error.ename}: {error.evalue}"
        ) from error


def rerun(path: Path, folder: Path, shift: int) -> notebooks.Outcome:
    """Execute a copy of a notebook with shifted seeds; the copy goes to `_fresh_path`."""
    start, error = time.perf_counter(), ""
    try:
        # papermill only prints a note about a parameter that the notebook does not have.
        seeds = parameters(notebooks.load(path)).get("seeds")
        if not seeds:
            raise ValueError("the parameters cell sets no seeds, wanted a list such as [0, 1, 2].")
        execute(path, _fresh_path(path, folder), {"seeds": [seed + shift for seed in seeds]})
    except RuntimeError as problem:
        error = str(problem)
    except Exception as problem:  # whatever goes wrong is reported with the notebook's name
        error = f"{type(problem).__name__}: {problem}"
    seconds = time.perf_counter() - start
    return notebooks.Outcome(path, seconds, notebooks.peak_memory(), error)


def rows(outcome: notebooks.Outcome, folder: Path) -> list[Row]:
    """One row a claim; a notebook that failed, or makes other claims, gives one failed row."""
    chapter = f"{outcome.path.parent.name}/{outcome.path.stem}"
    if outcome.error:
        return [(chapter, "(the whole notebook)", "", outcome.error.splitlines()[0], False)]
    try:
        stored, fresh = read(outcome.path), read(_fresh_path(outcome.path, folder))
        flipped = flips(stored, fresh)
    except ValueError as error:
        return [(chapter, "(the whole notebook)", "", str(error), False)]
    verdicts = {claim.id: claim.verdict for claim in fresh}

    def row(claim: Claim) -> Row:
        return chapter, claim.id, claim.verdict, verdicts[claim.id], claim.id not in flipped

    return [row(claim) for claim in stored]


def _fresh_path(path: Path, folder: Path) -> Path:
    return folder / f"{path.parent.name}-{path.name}"


def _print_table(table: Sequence[Row]) -> None:
    head = ("chapter", "claim", "stored", "fresh")
    lines = [head, *(row[:4] for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    marks = ["", *("" if passed else "<- FAILED" for *_, passed in table)]
    for line, mark in zip(lines, marks, strict=True):
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        print("  ".join([*cells, mark]).rstrip())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of chapters/")
    parser.add_argument("-j", "--jobs", type=int, default=2, choices=(1, 2), help="at a time")
    parser.add_argument("--shift", type=int, default=100, help="added to every stored seed")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.notebooks] or notebooks.chapters()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = partial(rerun, folder=folder, shift=options.shift)
        outcomes = notebooks.in_processes(work, paths, options.jobs)
        table = [row for outcome in outcomes for row in rows(outcome, folder)]
    print()
    _print_table(table)
    failed = sum(not row[4] for row in table)
    print(f"{len(table) - failed} passed, {failed} failed")
    return int(failed > 0 or not table)  # a run that compared nothing has shown nothing


if __name__ == "__main__":
    sys.exit(main())
