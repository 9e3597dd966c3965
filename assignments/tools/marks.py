"""Marks: read from the grade book, completed by hand, and written for teachers and students."""

import csv
import hashlib
import io
import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
from course import Course, CourseError, reason
from nbgrader.api import MissingEntry
from nbgrader.utils import is_grade, is_solution
from pages import by_hand_page

COLUMNS = ["question", "student", "max", "points", "comment", "answer", "earlier"]


@dataclass
class Status:
    """What became of a student's submission to a set."""

    graded: bool = False
    file: str = ""
    reason: str = ""
    notes: list[str] = field(default_factory=list)


class Register:
    """The status of every student who handed in a set, kept in a file."""

    def __init__(self, course: Course, name: str):
        self.path = course.results(name) / "status.json"
        stored = json.loads(self.path.read_text("utf-8")) if self.path.exists() else {}
        found = stored.get("students", {})
        self.students = {student: Status(**values) for student, values in found.items()}
        self.nobody: dict[str, str] = stored.get("nobody", {})

    def set(self, student: str, status: Status) -> None:
        """Store a status at once, so that an interrupted grading loses nothing."""
        self.students[student] = status
        self.store()

    def store(self) -> None:
        """Write the file."""
        students = {name: asdict(s) for name, s in sorted(self.students.items())}
        values = {"students": students, "nobody": self.nobody}
        write(self.path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")

    def graded(self) -> list[str]:
        """Return the students with marks, in order."""
        return sorted(student for student, status in self.students.items() if status.graded)


def write(path: Path, text: str) -> None:
    """Write a file in one go: whoever reads it sees the old or the new one."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text, encoding="utf-8", newline="")
    draft.replace(path)


def finish(course: Course, name: str) -> dict[str, str]:
    """Bring points by hand, feedback, ``grades.csv`` and the page by hand up to date.

    Returns:
        The students whose feedback page could not be made, with the reason.
    """
    register = Register(course, name)
    store_points(course, name, register)
    write_sheet(course, name, register)
    failed = write_feedback(course, name, register)
    write_grades(course, name, register)
    return failed


# --- by hand ---


def answers(course: Course, name: str, student: str) -> dict[str, list]:
    """Return the cells that are marked by hand, each with the cells that a student put after it."""
    found: dict[str, list] = {}
    own, last = originals(course, name), None
    for cell in nbformat.read(course.autograded(student, name), 4).cells:
        if is_grade(cell) and is_solution(cell):
            last = cell.metadata.nbgrader.grade_id
            found[last] = [cell]
        elif cell.metadata.get("nbgrader") or cell.get("id") in own:
            last = None
        elif last:
            found[last].append(cell)
    return found


def originals(course: Course, name: str) -> set[str]:
    """Return the ids of the set's own cells."""
    release = course.folder / "release" / name / f"{name}.ipynb"
    return {cell.get("id") for cell in nbformat.read(release, 4).cells}


def digest(cells: list) -> str:
    """Return a short name of an answer that changes when the answer does."""
    text = json.dumps([[c.source, c.get("attachments")] for c in cells], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def read_sheet(path: Path) -> list[dict[str, str]]:
    """Return the lines of ``by_hand.csv``, as any spreadsheet program stores it."""
    if not path.exists():
        return []
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows = list(csv.DictReader(io.StringIO(text), delimiter=separator))
    missing = [column for column in COLUMNS[:6] if rows and column not in rows[0]]
    if missing:
        raise CourseError(
            f"{path} has no column {', '.join(missing)}: "
            f"put the first line back, {','.join(COLUMNS)}"
        )
    return rows


def points_of(row: dict[str, str], where: str) -> float | None:
    """Return the points in a line, None where there are none yet."""
    text = (row["points"] or "").strip().replace(",", ".")
    if not text:
        return None
    try:
        points, most = float(text), float(row["max"].replace(",", "."))
    except (ValueError, AttributeError):
        points, most = float("nan"), row["max"]
    if not points >= 0 or points > most:
        raise CourseError(f"{where}: points are {text!r}, wanted a number from 0 to {most}")
    return points


def store_points(course: Course, name: str, register: Register) -> None:
    """Put the points of the sheet into the grade book: all of them, or none where one is wrong."""
    path = course.results(name) / "by_hand.csv"
    rows = read_sheet(path)
    wrong, right = [], []
    for number, row in enumerate(rows, start=2):
        try:
            points = points_of(row, f"line {number}, {row['student']}, {row['question']}")
        except CourseError as error:
            wrong.append(str(error))
        else:
            if row["student"] in register.graded():
                right.append((row, points))
    if wrong:
        raise CourseError(f"nothing was stored; mend {path}:\n" + "\n".join(wrong))
    current = {s: answers(course, name, s) for s in {row["student"] for row, _ in right}}
    with course.gradebook() as gradebook:
        for row, points in right:
            cells = current[row["student"]].get(row["question"])
            if cells and digest(cells) == row["answer"]:
                where = row["question"], name, name, row["student"]
                grade = gradebook.find_grade(*where)
                grade.manual_score = points
                grade.needs_manual_grade = points is None and grade.auto_score is None
                gradebook.find_comment(*where).manual_comment = row["comment"] or None
        gradebook.db.commit()


def write_sheet(course: Course, name: str, register: Register) -> None:
    """Write ``by_hand.csv``, with all that was filled in, and the page to read beside it."""
    path = course.results(name) / "by_hand.csv"
    old = {(row["question"], row["student"]): row for row in read_sheet(path)}
    handed_in = {student: answers(course, name, student) for student in register.graded()}
    source = nbformat.read(course.folder / "source" / name / f"{name}.ipynb", 4)
    stubs = {
        cell.metadata.nbgrader.grade_id: cell.source.strip()
        for cell in nbformat.read(course.folder / "release" / name / f"{name}.ipynb", 4).cells
        if is_grade(cell) and is_solution(cell)
    }
    most = {
        cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.points
        for cell in source.cells
        if is_grade(cell) and is_solution(cell)
    }
    rows = []
    for question in most:
        for student, cells in handed_in.items():
            row = {"question": question, "student": student, "max": f"{most[question]:g}"}
            row |= {"answer": digest(cells[question]), "points": "", "comment": "", "earlier": ""}
            before = old.pop((question, student), None)
            if before and before["answer"] == row["answer"]:
                row |= {key: before.get(key) or "" for key in ("points", "comment", "earlier")}
            elif before and (before["points"] or before["comment"]):
                row["earlier"] = (
                    f"another answer had {before['points']} {before['comment']}".strip()
                )
            sources = [cell.source.strip() for cell in cells[question]]
            if sources == [stubs[question]] and not row["points"]:
                row |= {"points": "0", "comment": row["comment"] or "no answer"}
            rows.append(row)
    rows += old.values()  # of students who have no marks now: what was written about them stays
    stream = io.StringIO()
    table = csv.DictWriter(stream, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write(path, "\ufeff" + stream.getvalue())  # the mark tells spreadsheets that it is UTF-8
    store_points(course, name, register)
    write(path.with_suffix(".html"), by_hand_page(name, source, handed_in, rows))


# --- for students and for the record ---


def write_feedback(course: Course, name: str, register: Register) -> dict[str, str]:
    """Write a page for each student with marks, and return for whom that failed, and why."""
    folder = course.results(name) / "feedback"
    folder.mkdir(exist_ok=True)
    failed = {}
    nbgrader = course.nbgrader()
    for student in register.graded():
        done = nbgrader.generate_feedback(name, student, force=True)
        made = course.folder / "feedback" / student / name / f"{name}.html"
        if done["success"] and made.exists():
            page = without_scripts(made.read_text("utf-8"))
            write(folder / f"{student}.html", page)
        else:
            failed[student] = reason(done)
    shutil.rmtree(course.folder / "feedback", ignore_errors=True)
    return failed


def without_scripts(page: str) -> str:
    """Return a page that runs nothing: nbgrader's own template loads a script from elsewhere."""
    return re.sub(r"<script\b.*?</script>", "", page, flags=re.S | re.I)


def scores(course: Course, name: str, student: str) -> dict[str, dict]:
    """Return ``{question: {"points", "max", "by_hand", "open"}}`` of a student with marks."""
    with course.gradebook() as gradebook:
        try:
            notebook = gradebook.find_submission_notebook(name, name, student)
        except MissingEntry:
            return {}
        return {
            grade.name: {
                "points": grade.score or 0.0,
                "max": grade.max_score,
                "by_hand": is_by_hand(grade),
                "open": bool(grade.needs_manual_grade),
            }
            for grade in notebook.grades
        }


def is_by_hand(grade) -> bool:
    """Whether a grade is given by a person: its cell holds an answer, not a test."""
    return "-test" not in grade.cell.name


def write_grades(course: Course, name: str, register: Register) -> None:
    """Write ``grades.csv``: a line for each student who handed in, points for each question."""
    source = nbformat.read(course.folder / "source" / name / f"{name}.ipynb", 4)
    questions = [c.metadata.nbgrader.grade_id for c in source.cells if is_grade(c)]
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["student", "set", "state", "total", "max", "autograded", "by_hand", *questions])
    for student, status in sorted(register.students.items()):
        if not status.graded:
            table.writerow([student, name, "no mark", *[""] * (4 + len(questions))])
            continue
        found = scores(course, name, student)
        auto = sum(s["points"] for s in found.values() if not s["by_hand"])
        hand = sum(s["points"] for s in found.values() if s["by_hand"])
        most = sum(s["max"] for s in found.values())
        state = "by hand to do" if any(s["open"] for s in found.values()) else "complete"
        each = ["" if found[q]["open"] else f"{found[q]['points']:g}" for q in questions]
        summary = [f"{value:g}" for value in (auto + hand, most, auto, hand)]
        table.writerow([student, name, state, *summary, *each])
    write(course.results(name) / "grades.csv", stream.getvalue())
