"""Execute notebooks and store their outputs in a form that changes only when results change.

    python book/tools/notebooks.py [--check] [-j N] [notebook ...]

Without notebooks, all of ``chapters/``. Each one runs in a fresh kernel, in its own folder, on one
thread. What is stored afterwards is normalised: no versions, times, widgets or progress bars, so
that a diff shows results. The picture of the cell tagged ``answer`` is copied to the top of the
page, where Markdown shows it as ``![...](attachment:answer.png)``.
"""

import argparse
import copy
import hashlib
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

__all__ = [
    "CHAPTERS",
    "ENVIRONMENT",
    "Outcome",
    "answer_picture",
    "chapters",
    "in_processes",
    "load",
    "normalise",
    "normalise_outputs",
    "render",
    "store",
]

CHAPTERS = Path(__file__).parents[2] / "chapters"
# One thread: sums in a fixed order, and two notebooks at a time do not fight over two cores.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MTL_QUIET": "1"}
TIMEOUT = 1800  # seconds for one cell, far above the budget: only a hang gets there

ANSWER = "answer.png"
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_KEPT_NOTEBOOK_METADATA = {"mystnb"}
_KEPT_CELL_METADATA = {"absolute_tolerance", "mystnb", "nbgrader", "tags"}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PROGRESS = re.compile(r"\d+%\|.*|.*(it/s|s/it)\b.*")  # how tqdm writes a line


def chapters() -> list[Path]:
    """Every notebook of the book, in the order of its parts."""
    return sorted(p for p in CHAPTERS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def load(path: Path) -> NotebookNode:
    """Read a notebook; cells without an id get one that follows from place and content.

    nbformat would draw a random id, which makes every run look like an edit.
    """
    raw = json.loads(path.read_text(encoding="utf-8"))
    for place, cell in enumerate(raw["cells"]):
        text = f"{place}\n{''.join(cell['source'])}"
        cell.setdefault("id", hashlib.sha256(text.encode()).hexdigest()[:8])
    raw["nbformat_minor"] = max(5, raw["nbformat_minor"])  # ids exist from 4.5 on
    return nbformat.reads(json.dumps(raw), as_version=4)


def render(notebook: NotebookNode) -> str:
    """The notebook as the text of its file."""
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def normalise(notebook: NotebookNode) -> NotebookNode:
    """A copy without anything that changes when results do not; applied twice, the same.

    Execution counts stay what the kernel made them: numbering anew would hide cells that ran out
    of order.

    Raises:
        ValueError: a page shows ``attachment:answer.png`` and no cell tagged ``answer`` has a
            picture.
    """
    notebook = copy.deepcopy(notebook)
    kept = _only(notebook.metadata, _KEPT_NOTEBOOK_METADATA)
    notebook.metadata = nbformat.from_dict({**_METADATA, **kept})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(_only(cell.metadata, _KEPT_CELL_METADATA))
        if cell.cell_type == "code":
            cell.outputs = normalise_outputs(cell.outputs)
    _attach_answer(notebook)
    return notebook


def normalise_outputs(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """The outputs of one cell without progress bars, widgets and trailing blanks.

    Pieces of the same stream that follow each other become one.
    """
    kept: list[NotebookNode] = []
    for output in copy.deepcopy(list(outputs)):
        if output.output_type == "stream":
            previous = kept[-1] if kept else None
            if previous and previous.get("name") == output.name:
                previous.text += output.text
                continue
        elif "data" in output:
            output.data.pop(_WIDGET, None)
            output.metadata.pop(_WIDGET, None)
            for mime, content in output.data.items():
                if isinstance(content, str):
                    output.data[mime] = _without_trailing_blanks(content)
            if not output.data:
                continue
        kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            output.text = _printed(output.text, drop_progress=output.name == "stderr")
    return [o for o in kept if o.output_type != "stream" or o.text.strip()]


def answer_picture(notebook: NotebookNode) -> str | None:
    """The first PNG, in base64, that the cell tagged ``answer`` shows; None without one."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and "answer" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return str(output.data["image/png"])
    return None


def _attach_answer(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and f"attachment:{ANSWER}" in cell.source:
            picture = answer_picture(notebook)
            if picture is None:
                raise ValueError(
                    f"cell {cell.id!r} shows attachment:{ANSWER}, wanted a code cell tagged "
                    "'answer' that displays a PNG: tag the cell that draws the picture."
                )
            attachments = {**cell.get("attachments", {}), ANSWER: {"image/png": picture}}
            cell.attachments = nbformat.from_dict(attachments)


def _only(metadata: NotebookNode, names: set[str]) -> dict[str, object]:
    """The named entries that say something; an empty list of tags does not."""
    return {name: metadata[name] for name in names & metadata.keys() if metadata[name]}


def _printed(text: str, drop_progress: bool) -> str:
    """What a terminal would still show: a carriage return overwrites its line."""
    text = re.sub(r"^.*\r(?=[^\n])", "", text.replace("\r\n", "\n"), flags=re.MULTILINE)
    lines = text.splitlines()
    if drop_progress:
        lines = [line for line in lines if not _PROGRESS.search(line)]
    return _without_trailing_blanks("\n".join(lines)) + "\n"


def _without_trailing_blanks(text: str) -> str:
    return re.sub(r"[ \t\r]+$", "", text, flags=re.MULTILINE).rstrip("\n")


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook: seconds, peak memory of its kernel in MB, error if any."""

    path: Path
    seconds: float
    megabytes: float
    error: str = ""


def store(path: Path) -> Outcome:
    """Execute a notebook and rewrite its file; a notebook that fails is left as it was."""
    start, error = time.perf_counter(), ""
    try:
        text = render(normalise(_executed(path)))
    except Exception as problem:  # whatever goes wrong is reported with the notebook's name
        error = str(problem)
    else:
        # A crash between two writes must not leave half a notebook.
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    return Outcome(path, time.perf_counter() - start, peak_memory(), error)


def peak_memory() -> float:
    """Largest resident size among the finished child processes of this process, in MB."""
    size = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return size / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes here


def _executed(path: Path) -> NotebookNode:
    """The notebook with fresh outputs, or a ValueError that names cell and error."""
    notebook = load(path)
    environment = {**os.environ, **ENVIRONMENT}
    environment.pop("MPLBACKEND", None)  # Jupyter sets the inline one
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources=resources,
        store_widget_state=False,
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        raise ValueError(_where(notebook) + f"{error.ename}: {error.evalue}") from error
    except Exception as error:  # a cell that hangs or a kernel that dies
        raise ValueError(f"{_where(notebook)}{_ANSI.sub('', str(error))}") from error
    return notebook


def _where(notebook: NotebookNode) -> str:
    """The last cell that started, as ``cell 3, 'x = 1 / 0': `` (code cells, from 1)."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    started = [
        (number, cell)
        for number, cell in enumerate(code, start=1)
        if cell.execution_count is not None
    ]
    if not started:
        return "before the first cell: "
    number, cell = started[-1]
    return f"code cell {number}, {cell.source.splitlines()[-1]!r}: "


def in_processes(
    work: Callable[[Path], Outcome], paths: Sequence[Path], jobs: int
) -> list[Outcome]:
    """Do the work on each notebook, each in a process of its own, reporting as they finish.

    The process is what makes its kernel's peak memory measurable.
    """
    outcomes = []
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1)
    with pool:
        for future in as_completed([pool.submit(work, path) for path in paths]):
            outcome = future.result()
            outcomes.append(outcome)
            print(
                f"{'FAILED' if outcome.error else 'ok':<6} {outcome.seconds:6.1f} s "
                f"{outcome.megabytes:6.0f} MB  {_short(outcome.path)}",
                *([f"       {outcome.error}"] if outcome.error else []),
                sep="\n",
                flush=True,
            )
    return sorted(outcomes, key=lambda outcome: outcome.path)


def _short(path: Path) -> Path:
    root = CHAPTERS.parent
    return path.relative_to(root) if path.is_relative_to(root) else path


def not_normalised(paths: Sequence[Path]) -> list[Path]:
    """The notebooks whose file is not what `normalise` would write."""

    def is_normalised(path: Path) -> bool:
        try:
            return path.read_text(encoding="utf-8") == render(normalise(load(path)))
        except ValueError:  # the answer's picture is not there yet
            return False

    return [path for path in paths if not is_normalised(path)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of chapters/")
    parser.add_argument("-j", "--jobs", type=int, default=2, choices=(1, 2), help="at a time")
    parser.add_argument("--check", action="store_true", help="execute nothing, check the files")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.notebooks] or chapters()
    if options.check:
        untidy = not_normalised(paths)
        for path in untidy:
            print(f"{_short(path)} is not stored by this tool: run `make notebooks`.")
        return int(bool(untidy))
    return int(any(outcome.error for outcome in in_processes(store, paths, options.jobs)))


if __name__ == "__main__":
    sys.exit(main())
