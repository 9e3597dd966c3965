"""Run a chapter with many parameters, as independent jobs that any scheduler can start.

    python book/tools/sweep.py NOTEBOOK FOLDER [NAME=VALUES ...] (--list | --job N | --collect)

A name is one of the chapter's parameters, and its values are a list: ``'budget=[0.5, 1.0]'``. All
combinations are jobs, numbered from 0. ``--list`` prints one shell command for each that is not
done; ``--job`` does one, and nothing if it is done; ``--collect`` writes the claims of all that are
done to ``FOLDER/claims.csv``. On one machine with eight cores::

    sweep="python book/tools/sweep.py chapters/03_loss_math/02_choosing_weights.ipynb results"
    $sweep 'seeds=[[0,1,2],[3,4,5]]' 'budget=[0.5,1.0]' --list | xargs -P 8 -L 1 env
    $sweep --collect

and on a cluster with SLURM, in place of the second line, a script with ``#SBATCH --array=0-3`` and
``$sweep 'seeds=[[0,1,2],[3,4,5]]' 'budget=[0.5,1.0]' --job $SLURM_ARRAY_TASK_ID``.

Each job leaves its executed notebook in the folder, whole or not at all; one that failed is kept
under a name of its own, to look at. A job of a chapter whose code has changed is another job.
"""

import argparse
import ast
import csv
import hashlib
import itertools
import json
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import claims
import notebooks

from mtl_lib.claims import read

__all__ = ["collect", "file_of", "grid", "main", "run"]

Job = dict[str, Any]  # parameter, value


def grid(axes: Sequence[str], known: Mapping[str, Any]) -> list[Job]:
    """All combinations of the values, the last name changing fastest.

    Args:
        axes: ``NAME=VALUES``, where the values are a list of Python literals.
        known: the chapter's parameters.

    Raises:
        ValueError: a name that the chapter does not have, or one twice; values that are no list of
            literals, or not of the parameter's type.
    """
    values: dict[str, list[Any]] = {}
    for axis in axes:
        name, _, text = axis.partition("=")
        if name not in known or name in values:
            raise ValueError(
                f"{axis!r} sets {name!r}, wanted each of the chapter's parameters at most once: "
                f"choose among {', '.join(known)}."
            )
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = []
        if not isinstance(values[name], list) or not values[name]:
            raise ValueError(
                f"{axis!r}: wanted a list of values, such as '{name}=[{known[name]}]'."
            )
        for value in values[name]:
            _check_type(name, value, known[name])
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


def _check_type(name: str, value: Any, usual: Any) -> None:
    """Refuse above all ``seeds=[0, 1, 2]``, which would be three jobs with a number for a list."""
    wanted = (int, float) if type(usual) in (int, float) else type(usual)
    if usual is not None and not isinstance(value, wanted):
        raise ValueError(
            f"{name} is {value!r} in one job, wanted a value such as {usual!r}: "
            f"write a list of such values, '{name}=[{usual!r}]'."
        )


def file_of(path: Path, folder: Path, job: Job) -> Path:
    """Where a job's notebook goes: the name follows from the chapter's code and the parameters."""
    sources = [cell.source for cell in notebooks.load(path).cells if cell.cell_type == "code"]
    content = json.dumps([sources, job], sort_keys=True).encode()
    return folder / f"{path.stem}-{hashlib.sha256(content).hexdigest()[:10]}.ipynb"


def run(path: Path, folder: Path, job: Job) -> Path:
    """Do a job, unless it is done; returns the notebook.

    Raises:
        RuntimeError: a cell failed.
    """
    done = file_of(path, folder, job)
    if done.exists():
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as own:
        fresh = Path(own) / done.name
        try:
            claims.execute(path, fresh, job)
        except RuntimeError:
            fresh.replace(done.with_suffix(".failed.ipynb"))
            raise
        fresh.replace(done)  # on the same file system: whole or not at all
    return done


def collect(path: Path, folder: Path) -> list[dict[str, Any]]:
    """One row for each claim of each job that is done with the chapter as it is now.

    Raises:
        ValueError: a notebook's ledger is damaged.
    """
    rows = []
    for file in sorted(folder.glob(f"{path.stem}-{'?' * 10}.ipynb")):
        job = dict(notebooks.load(file).metadata["papermill"]["parameters"])
        if file_of(path, folder, job) == file:
            for claim in read(file):
                low, high = claim.interval
                rows.append(
                    {"claim": claim.id, **job, "seeds measured": claim.seeds}
                    | {"difference": claim.difference, "low": low, "high": high}
                    | {"margin": claim.margin, "unit": claim.unit, "verdict": claim.verdict}
                )
    return rows


def _write(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, columns)
        table.writeheader()
        table.writerows(rows)


def _report(rows: Sequence[Mapping[str, Any]]) -> None:
    for claim in dict.fromkeys(row["claim"] for row in rows):
        found = Counter(row["verdict"] for row in rows if row["claim"] == claim)
        print(f"{claim}: {', '.join(f'{verdict} {n}' for verdict, n in found.most_common())}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("folder", type=Path, help="of the jobs' notebooks")
    parser.add_argument("axes", nargs="*", metavar="NAME=VALUES", help="'budget=[0.5, 1.0]'")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="print a command for each job")
    what.add_argument("--job", type=int, metavar="N", help="do job number N, from 0")
    what.add_argument("--collect", action="store_true", help="write FOLDER/claims.csv")
    options = parser.parse_args(arguments)
    path, folder = options.notebook.resolve(), options.folder.resolve()
    try:
        jobs = grid(options.axes, claims.parameters(notebooks.load(path)))
        if options.list:
            command = [sys.executable, __file__, str(path), str(folder), *options.axes, "--job"]
            for number, job in enumerate(jobs):
                if not file_of(path, folder, job).exists():
                    print(shlex.join([*command, str(number)]))
        elif options.collect:
            rows = collect(path, folder)
            if not rows:
                raise ValueError(f"no job of {path.name} is done in {folder}: run some before.")
            _write(rows, folder / "claims.csv")
            _report(rows)
        else:
            if not 0 <= options.job < len(jobs):
                raise ValueError(f"--job is {options.job}, wanted 0 to {len(jobs) - 1}.")
            print(run(path, folder, jobs[options.job]))
    except (OSError, RuntimeError, ValueError) as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
