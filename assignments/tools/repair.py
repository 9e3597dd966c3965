"""Makes of what was handed in a notebook that can be graded.

The student version of the set is the skeleton. The student's answers are put into its cells by
their ids, and their other cells are kept where they stood; so tests are the original ones, whatever
happened to them, and every answer has its place.
"""

import copy
import json
from dataclasses import dataclass, field

import nbformat

ENCODINGS = ("utf-8-sig", "utf-16", "cp1252", "latin-1")
MOST_ATTACHED = 20_000_000


DELETED = "deleted, and put back: "
CHANGED = "changed, and the original used: "
GONE = "deleted, and counted as not answered: "


class RejectedError(Exception):
    """A file cannot be graded; the message says why, for the report."""


@dataclass
class Repaired:
    """A notebook with every cell of the set, and what had to be done for it."""

    notebook: nbformat.NotebookNode
    notes: list[str] = field(default_factory=list)


def repair(data: bytes, skeleton: nbformat.NotebookNode, name: str) -> Repaired:
    """Return the notebook to grade.

    Args:
        data: the file that was handed in.
        skeleton: the student version of the set.
        name: the set's name.

    Raises:
        RejectedError: if the file is no notebook, or a notebook of something else.
    """
    notes: list[str] = []
    theirs = cells(parse(data, notes))
    own = {grade_id(cell): cell for cell in skeleton.cells if grade_id(cell)}
    check_that_it_is(theirs, own, name)
    answers, extra = sort_cells(theirs, own, skeleton)
    result = copy.deepcopy(skeleton)
    result.cells = []
    for index, cell in enumerate(skeleton.cells):
        key = grade_id(cell) or index
        merged, before = answer(cell, answers.get(key, []), notes) if grade_id(cell) else (cell, [])
        result.cells += [*before, merged, *extra.get(key, [])]
    result.cells = [*extra.get(None, []), *result.cells]
    return Repaired(result, together(notes))


def parse(data: bytes, notes: list[str]) -> dict:
    """Return the notebook's JSON, whatever its characters are encoded in."""
    if not data.strip():
        raise RejectedError("the file is empty")
    for encoding in ENCODINGS:
        try:
            text = data.decode(encoding)
        except UnicodeError:
            continue
        try:
            content = json.loads(text)
        except ValueError as error:
            if encoding.startswith("utf") and encoding != "utf-16":
                raise RejectedError(f"it is not a notebook: {broken(error)}") from None
            continue
        except RecursionError:
            raise RejectedError("it is not a notebook: brackets in too many layers") from None
        if not isinstance(content, dict) or not isinstance(
            content.get("cells", content.get("worksheets")), list
        ):
            raise RejectedError("it is not a notebook: there are no cells in it")
        if encoding != "utf-8-sig":
            notes.append(f"its text is not UTF-8 and was read as {encoding}")
        return content
    raise RejectedError("it is not a notebook: its bytes are no text")


def broken(error: ValueError) -> str:
    """Say where a text stops being JSON."""
    return f"line {getattr(error, 'lineno', '?')} is no JSON; the file may be cut off or a printout"


def cells(content: dict) -> list[dict]:
    """Return cells of kind, source and id, of any version of the format, as well as can be done."""
    raw = content.get("cells")
    if raw is None:
        sheets = [sheet for sheet in content["worksheets"] if isinstance(sheet, dict)]
        raw = [cell for sheet in sheets for cell in sheet.get("cells", [])]
    found = []
    for cell in raw:
        if isinstance(cell, dict):
            source = cell.get("source", cell.get("input", ""))
            source = "".join(map(str, source)) if isinstance(source, list) else str(source)
            kind = "code" if cell.get("cell_type") == "code" else "markdown"
            metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
            found.append(
                {
                    "kind": kind,
                    "source": source,
                    "id": cell.get("id"),
                    "grade_id": grade_id({"metadata": metadata}),
                    "attachments": cell.get("attachments") if kind == "markdown" else None,
                }
            )
    return found


def grade_id(cell: dict) -> str | None:
    """Return nbgrader's id of a cell."""
    settings = cell["metadata"].get("nbgrader")
    found = settings.get("grade_id") if isinstance(settings, dict) else None
    return found if isinstance(found, str) else None


def check_that_it_is(theirs: list[dict], own: dict, name: str) -> None:
    """Raise where no cell of the set is in the notebook."""
    ids = [cell["grade_id"] for cell in theirs if cell["grade_id"]]
    if any(i in own for i in ids):
        return
    if ids:
        other = ids[0].split("-")[0]
        raise RejectedError(f"it is another problem set: its cells are of {other}, not of {name}")
    raise RejectedError(
        f"no cell of {name} is in it: the answers were copied into a new notebook, "
        "or it is something else"
    )


def sort_cells(theirs, own, skeleton):
    """Return the answers by id, and every other cell after the cell of the set that it follows."""
    places = {grade_id(cell) or cell.get("id"): i for i, cell in enumerate(skeleton.cells)}
    known = {cell.source.strip() for cell in skeleton.cells}
    answers: dict[str, list[dict]] = {}
    extra: dict = {}
    last = None
    for cell in theirs:
        if cell["grade_id"] in own:
            last = cell["grade_id"]
            answers.setdefault(last, []).append(cell)
        elif cell["source"].strip() in known or not cell["source"].strip():
            if cell["id"] in places:
                last = places[cell["id"]]
        else:
            extra.setdefault(last, []).append(plain(cell))
    return answers, extra


def answer(cell, copies, notes):
    """Return a cell of the set with the student's answer in it, and what they had before it."""
    key = grade_id(cell)
    written = [c for c in copies if c["source"].strip() != cell.source.strip()]
    written = list({c["source"].strip(): c for c in written}.values())  # copies count once
    if not cell.metadata.nbgrader.solution:
        if not copies:
            notes.append(f"{DELETED}{key}")
        elif written:
            notes.append(f"{CHANGED}{key}")
        return cell, []
    if not copies:
        notes.append(f"{GONE}{key}")
    if not written:
        return cell, []
    if len(written) > 1:
        notes.append(f"{key} is there {len(written)} times; all are kept, the last one counts")
    if any(c["kind"] != cell.cell_type for c in written):
        notes.append(f"{key} had become another kind of cell, which was undone")
    merged = copy.deepcopy(cell)
    if cell.cell_type == "code":
        *before, last = written
        merged.source = last["source"]
        return merged, [plain(c) for c in before]
    merged.source = "\n\n---\n\n".join(c["source"] for c in written)
    attached = {k: v for c in written for k, v in (c["attachments"] or {}).items()}
    if attached and len(json.dumps(attached)) > MOST_ATTACHED:
        notes.append(f"pictures in {key} are too large and were left out")
    elif attached:
        merged.attachments = nbformat.from_dict(attached)
    return merged, []


def together(notes: list[str]) -> list[str]:
    """Return one note for all cells to which the same happened."""
    found: dict[str, list[str]] = {}
    for note in notes:
        kind = next((k for k in (DELETED, CHANGED, GONE) if note.startswith(k)), note)
        found.setdefault(kind, []).append(note.removeprefix(kind))
    return [kind + ", ".join(cells) for kind, cells in found.items()]


def plain(cell: dict) -> nbformat.NotebookNode:
    """Return a student's cell without outputs and without what programs left in it."""
    if cell["kind"] == "code":
        return nbformat.v4.new_code_cell(cell["source"])
    made = nbformat.v4.new_markdown_cell(cell["source"])
    if cell["attachments"]:
        made.attachments = nbformat.from_dict(cell["attachments"])
    return made
