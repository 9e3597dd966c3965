"""A class hands in, is graded, marked by hand, and gets its pages back."""

import csv
import hashlib
import re
import shutil
import stat

import nbformat
import pytest
import teach
from classroom import TINY_ANSWERS, Classroom
from course import Course, CourseError
from marks import read_sheet

# Those that need a kernel to be told apart, or that are never run at all; for the rest see
# test_repair.py and test_collect.py, and benchmarks/grading.py for all of them with a real set.
STUDENTS = [
    *("everything-right", "untouched", "plausibly-wrong", "hard-coded", "edited-tests", "twice"),
    *("an-endless-loop", "a-loop-that-cannot-be-stopped", "the-end-of-python", "endless-output"),
    *("much-output", "stored-output", "too-much-memory", "an-import-that-fails"),
    *("another-set", "cut-off", "a-printout", "copied-cells"),
]


class Graded:
    """The tiny set, handed in and graded."""

    def __init__(self, folder, source):
        self.course = Course(folder / "class", source)
        skeleton = nbformat.read(self.course.release("ps1"), 4)
        original = nbformat.read(source / "ps1" / "ps1.ipynb", 4)
        self.room = Classroom(original, skeleton, TINY_ANSWERS, megabytes=5)
        self.inbox = folder / "inbox"
        self.hands = self.room.hand_in(self.inbox, STUDENTS)
        self.before = contents(self.inbox)
        self.report = self.grade(self.inbox).read_text("utf-8")
        self.results = self.course.results("ps1")

    def grade(self, inbox):
        return teach.grade(self.course, "ps1", inbox, cell_seconds=4)

    def marks(self):
        with (self.results / "grades.csv").open(encoding="utf-8") as file:
            return {row["student"]: row for row in csv.DictReader(file)}

    def fill_in(self, student, **values):
        """Write into the lines of a student of the sheet, as a teacher does."""
        path = self.results / "by_hand.csv"
        rows = read_sheet(path)
        for row in rows:
            if row["student"] == student:
                row.update(values)
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in files
    }


@pytest.fixture(scope="module")
def graded(tiny, tmp_path_factory):
    return Graded(tmp_path_factory.mktemp("class"), tiny)


@pytest.mark.parametrize("student", STUDENTS)
def test_everybody_gets_what_they_deserve(graded, student):
    row, hand = graded.marks()[student], graded.hands[student]
    if hand.points is None:
        assert (row["state"], row["autograded"], row["total"]) == ("no mark", "", "")
    else:
        assert float(row["autograded"]) == hand.points


def test_the_report_lists_everybody_who_has_no_mark_or_a_remark(graded):
    for student, hand in graded.hands.items():
        lines = [line for line in graded.report.splitlines() if f"**{student}**" in line]
        if hand.remark is not None:
            assert len(lines) == (1 if hand.remark or hand.points is None else 0), student
            assert hand.remark in "".join(lines)
    assert "**ps1.ipynb**: neither its name nor its folder says whose it is" in graded.report


def test_what_was_handed_in_is_untouched_and_kept(graded):
    assert contents(graded.inbox) == graded.before
    received = graded.course.folder / "received" / "ps1"
    kept = {hashlib.sha256(p.read_bytes()).hexdigest() for p in received.rglob("*") if p.is_file()}
    given = {digest for path, (digest, _) in graded.before.items() if "/" in path}
    assert kept == given
    assert not any(p.stat().st_mode & stat.S_IWUSR for p in received.rglob("*") if p.is_file())


def test_outputs_that_are_too_large_are_not_stored(graded):
    work = graded.course.folder
    for step in ("submitted", "autograded"):
        sizes = [path.stat().st_size for path in (work / step).rglob("*.ipynb")]
        assert sizes
        assert max(sizes) < 500_000


def test_pages_of_feedback_show_the_hint_and_not_the_hidden_test(graded):
    page = (graded.results / "feedback" / "plausibly-wrong.html").read_text("utf-8")
    assert "divide by how many there are" in page
    assert "mean([1, 3, 5, 7])" not in page
    assert "len(values)" not in page
    assert "Not marked yet" not in page  # untouched answers are 0 without a person's doing
    right = (graded.results / "feedback" / "everything-right.html").read_text("utf-8")
    assert "Not marked yet" in right
    assert "<math" in right
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", right)
    names = {path.stem for path in (graded.results / "feedback").iterdir()}
    assert names == {who for who, hand in graded.hands.items() if hand.points is not None}


def test_what_a_student_writes_runs_nowhere_but_in_the_grading(graded, tmp_path):
    """Neither a text nor an output brings a script into the pages."""
    text = "<script>alert(1)</script> <img src=x onerror=alert(1)> $\\text{<script>}$"
    code = "from IPython.display import HTML\nHTML('<script>alert(2)</script>')"
    notebook = graded.room.solved({"ps1-3-text": text, "ps1-4-code": code})
    (tmp_path / "twice").mkdir()
    nbformat.write(notebook, tmp_path / "twice" / "ps1.ipynb")
    graded.grade(tmp_path)
    for page in ("by_hand.html", "feedback/twice.html"):
        html = (graded.results / page).read_text("utf-8")
        assert "alert(1)" in html
        assert not re.search(r"<script|<img[^>]*onerror", html)


def test_the_page_for_marking_has_every_answer_below_its_rubric(graded):
    page = (graded.results / "by_hand.html").read_text("utf-8")
    assert page.index("(2) derivative") < page.index("everything-right")
    assert page.count('<section class="answer">') == 2 * sum(
        hand.points is not None for hand in graded.hands.values()
    )
    assert "<script" not in page
    assert "<math" in page


def test_grading_again_gives_the_same_marks(graded, tmp_path):
    before = graded.marks()
    for student in ("everything-right", "plausibly-wrong", "cut-off"):
        shutil.copytree(graded.inbox / student, tmp_path / "inbox" / student)
    graded.grade(tmp_path / "inbox")
    assert graded.marks() == before


def test_points_by_hand_reach_the_record_and_the_page_and_survive_grading_again(graded, tmp_path):
    graded.fill_in("everything-right", points="2,5", comment="Gut – fast")
    teach.feedback(graded.course)
    row = graded.marks()["everything-right"]
    assert (row["state"], row["by_hand"], row["total"]) == ("complete", "5", "11")
    page = (graded.results / "feedback" / "everything-right.html").read_text("utf-8")
    assert "Gut – fast" in page
    shutil.copytree(graded.inbox / "everything-right", tmp_path / "inbox" / "everything-right")
    graded.grade(tmp_path / "inbox")
    assert graded.marks()["everything-right"] == row
    graded.fill_in("everything-right", points="", comment="")
    teach.feedback(graded.course)
    assert graded.marks()["everything-right"]["state"] == "by hand to do"


@pytest.mark.parametrize("points", ["5", "-1", "many", "nan"])
def test_points_that_cannot_be_are_an_error_with_their_line_and_nothing_is_stored(graded, points):
    before = graded.marks()
    graded.fill_in("twice", points=points)
    try:
        with pytest.raises(CourseError, match=r"nothing was stored.*\n.*line \d+, twice, ps1-3"):
            teach.feedback(graded.course)
        assert graded.marks() == before
    finally:
        graded.fill_in("twice", points="")


def test_a_new_answer_is_marked_anew_and_the_old_points_are_shown(graded, tmp_path):
    graded.fill_in("much-output", points="1", comment="short")
    notebook = graded.room.solved({"ps1-3-text": "A new proof."})
    (tmp_path / "much-output").mkdir()
    nbformat.write(notebook, tmp_path / "much-output" / "ps1.ipynb")
    graded.grade(tmp_path)
    rows = {
        row["question"]: row
        for row in read_sheet(graded.results / "by_hand.csv")
        if row["student"] == "much-output"
    }
    assert (rows["ps1-3-text"]["points"], rows["ps1-4-code"]["points"]) == ("", "1")
    assert "1 short" in rows["ps1-3-text"]["earlier"]


def test_marks_stay_when_something_worse_comes_later(graded, tmp_path):
    before = graded.marks()["everything-right"]
    (tmp_path / "everything-right").mkdir()
    (tmp_path / "everything-right" / "ps1.ipynb").write_bytes(b"")
    report = graded.grade(tmp_path).read_text("utf-8")
    assert graded.marks()["everything-right"] == before
    assert "a later submission was not graded: ps1.ipynb: the file is empty" in report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grade"], "SET is missing"),
        (["grade", "--set", "ps1"], "SUBMISSIONS is missing"),
        (["grade", "--set", "ps9", "--submissions", "."], "take one of ps1"),
        (["grade", "--set", "ps1", "--submissions", "nowhere"], "no folder or zip file nowhere"),
        (["feedback"], "run make grade first"),
    ],
)
def test_mistakes_of_a_teacher_are_named(arguments, message, tmp_path, capsys):
    assert teach.main([*arguments, "--class", str(tmp_path / "class")]) == 2
    assert message in capsys.readouterr().err


def test_a_set_that_has_other_cells_than_before_is_an_error_and_nothing_is_lost(graded, tmp_path):
    before = contents(graded.course.folder)
    changed = graded.room.source.copy()
    changed.cells = changed.cells[:-1]
    (tmp_path / "ps1").mkdir()
    nbformat.write(changed, tmp_path / "ps1" / "ps1.ipynb")
    with pytest.raises(CourseError, match="other cells than when this class was graded"):
        teach.grade(Course(graded.course.folder, tmp_path), "ps1", graded.inbox)
    assert contents(graded.course.folder) == before


def test_an_empty_folder_is_an_error(tmp_path, tiny):
    (tmp_path / "inbox").mkdir()
    with pytest.raises(CourseError, match="no submission"):
        teach.grade(Course(tmp_path / "class", tiny), "ps1", tmp_path / "inbox")
