"""The three commands of a teacher: make student versions, grade, and write feedback.

python assignments/tools/teach.py release
python assignments/tools/teach.py grade --set ps1 --submissions FOLDER_OR_ZIP
python assignments/tools/teach.py feedback
"""

import argparse
import hashlib
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat
from autograde import autograde
from check import problems
from collect import Submission, TooLargeError, collect
from course import CLASS, RELEASE, Course, CourseError, sets
from marks import Register, Status, finish, scores, write
from repair import RejectedError, repair
from tqdm.auto import tqdm

CELL_SECONDS, SECONDS = 60, 600  # students are told 30 for a cell; a busy machine is no fault
NOTEBOOKS = {".ipynb", ".json", ".txt", ""}  # browsers rename what they store


def release(target: Path = RELEASE) -> list[Path]:
    """Validate every set and write the zips for students.

    Raises:
        CourseError: if a set is not right: a solution fails its test, something would leak, …
    """
    target.mkdir(parents=True, exist_ok=True)
    made = []
    with tempfile.TemporaryDirectory() as place:
        course = Course(Path(place))
        for name in tqdm(sets(), desc="checking and packing", disable=None):
            student_version = course.release(name)
            source = course.source / name / f"{name}.ipynb"
            wrong = problems(source, student_version) + failing(course, name)
            if wrong:
                raise CourseError(f"{name} is not ready:\n" + "\n".join(f"- {w}" for w in wrong))
            made.append(pack(student_version, target / f"{name}.zip"))
    return made


def failing(course: Course, name: str) -> list[str]:
    """Return the tests that the solutions of a set do not pass, when graded as a student's."""
    source = nbformat.read(course.folder / "source" / name / f"{name}.ipynb", 4)
    submit(course, name, "solutions", source)
    outcome = autograde(course.folder, name, "solutions", CELL_SECONDS, SECONDS)
    if not outcome.graded:
        return [f"the solutions cannot be graded: {outcome.reason}"]
    errors = {
        cell.metadata.nbgrader.grade_id: f"{output.ename}: {output.evalue}"
        for cell in nbformat.read(course.autograded("solutions", name), 4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "error" and cell.metadata.get("nbgrader")
    }
    return [f"the solution fails in {cell}: {error}" for cell, error in errors.items()]


def submit(course: Course, name: str, student: str, notebook) -> None:
    """Put a notebook where nbgrader looks for what a student handed in."""
    target = course.folder / "submitted" / student / name / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, nbformat.writes(notebook) + "\n")


def pack(notebook: Path, target: Path) -> Path:
    """Write a zip that is the same, byte for byte, whenever the notebook is."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(notebook.name, date_time=(2026, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, notebook.read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def grade(course: Course, name: str, source: Path, cell_seconds: int = CELL_SECONDS):
    """Grade what is in a folder or zip, and write all results; return the report's path."""
    skeleton = nbformat.read(course.release(name), 4)
    submissions, nobody = collect(source, name)
    if not submissions:
        raise CourseError(
            f"there is no submission in {source}: wanted one folder or one file for each student"
        )
    register = Register(course, name)
    register.nobody |= nobody
    register.store()
    for submission in tqdm(submissions, desc="grading", disable=None):
        status = grade_one(course, name, submission, skeleton, cell_seconds)
        before = register.students.get(submission.student)
        if not status.graded and before and before.graded and status.file == "":
            # Nothing new that can be graded: the marks of what came before stay.
            before.notes.append(f"a later submission was not graded: {status.reason}")
            status = before
        register.set(submission.student, status)
    return report(course, name, finish(course, name))


def grade_one(course, name, submission: Submission, skeleton, cell_seconds) -> Status:
    """Keep, choose, repair and grade one student's submission."""
    status = choose(course, name, submission, skeleton)
    if not status.file:
        return status
    outcome = autograde(course.folder, name, submission.student, cell_seconds, SECONDS)
    status.graded, status.reason = outcome.graded, outcome.reason
    status.notes += outcome.notes
    return status


def choose(course: Course, name: str, submission: Submission, skeleton) -> Status:
    """Store every file as it came, and the newest notebook that can be graded for nbgrader."""
    status = Status()
    reasons, spare = [], []
    for file in reversed(submission.files):
        try:
            data = file.read()
        except Exception as error:  # too large, encrypted, or damaged
            kind = "" if isinstance(error, TooLargeError) else f"{file.path.name} cannot be read: "
            reasons.append(f"{kind}{error}")
            continue
        keep(course, name, submission.student, file.path.name, data)
        if file.path.suffix.lower() not in NOTEBOOKS:
            spare.append(file.path.name)
            continue
        if status.file:
            status.notes.append(f"{file.path} is older and was not graded")
            continue
        try:
            repaired = repair(data, skeleton, name)
        except RejectedError as error:
            reasons.append(f"{file.path.name}: {error}")
            continue
        status.file = str(file.path)
        status.notes += repaired.notes
        submit(course, name, submission.student, repaired.notebook)
    if status.file:
        status.notes += reasons
    else:
        found = f"no notebook, only {', '.join(spare)}" if spare else "no notebook"
        status.reason = "; ".join(reasons) or found
    return status


def keep(course: Course, name: str, student: str, file: str, data: bytes) -> None:
    """Store what was handed in under its content's name: nothing is ever written over."""
    folder = course.folder / "received" / name / student
    folder.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^\w.-]+", "_", file)[-80:]
    path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}-{safe}"
    if not path.exists():
        draft = path.with_name("." + path.name)
        draft.write_bytes(data)
        draft.chmod(0o444)
        draft.replace(path)


def report(course: Course, name: str, failed: dict[str, str]) -> Path:
    """Write who has no mark and why, and what else a teacher should know."""
    register = Register(course, name)
    lines = [f"# {name}", ""]

    def section(title, items):
        if items:
            lines.extend([f"## {title}", "", *(f"- **{who}**: {why}" for who, why in items), ""])

    graded = register.graded()
    waiting = [
        student
        for student in graded
        if any(score["open"] for score in scores(course, name, student).values())
    ]
    lines += [f"{len(register.students)} students, {len(graded)} with marks.", ""]
    if waiting:
        lines += [
            f"{len(waiting)} still have answers to be marked by hand: see `by_hand.html`.",
            "",
        ]
    students = sorted(register.students.items())
    section("No mark", [(s, status.reason) for s, status in students if not status.graded])
    section("Nobody's files", register.nobody.items())
    section("No feedback page", failed.items())
    section(
        "Marked, with remarks",
        [(s, "; ".join(t.notes)) for s, t in students if t.graded and t.notes],
    )
    path = course.results(name) / "report.md"
    write(path, "\n".join(lines))
    return path


def feedback(course: Course) -> list[Path]:
    """Bring every set that was graded up to date with the points given by hand."""
    done = sorted(path.parent.name for path in course.folder.glob("*/status.json"))
    if not done:
        raise CourseError(f"nothing has been graded in {course.folder}: run make grade first")
    return [report(course, name, finish(course, name)) for name in done]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; what the person can mend ends with a message and exit status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=["release", "grade", "feedback"])
    parser.add_argument("--set", default="", help="the problem set, for instance ps1")
    parser.add_argument("--submissions", default="", help="a folder or zip with what was handed in")
    parser.add_argument(
        "--class", dest="folder", type=Path, default=CLASS, help="where a class is kept"
    )
    parser.add_argument(
        "--cell-seconds", type=int, default=CELL_SECONDS, help="longest time of a cell"
    )
    given = parser.parse_args(arguments)
    try:
        if given.command == "release":
            for path in release():
                print(path)
        elif given.command == "feedback":
            for path in feedback(Course(given.folder.expanduser())):
                print(path.read_text("utf-8"), f"Feedback: {path.parent / 'feedback'}", sep="\n")
        else:
            for option in ("set", "submissions"):
                if not getattr(given, option):
                    raise CourseError(
                        f"{option.upper()} is missing: make grade SET=ps1 SUBMISSIONS=folder-or-zip"
                    )
            course = Course(given.folder.expanduser())
            source = Path(given.submissions).expanduser()
            path = grade(course, given.set, source, given.cell_seconds)
            print(path.read_text("utf-8"), f"Everything: {path.parent}", sep="\n")
    except (CourseError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
