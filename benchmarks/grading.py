"""A class of 32 hands in a problem set, well and badly: the three commands, their time and memory.

    python benchmarks/grading.py [SET] [MEGABYTES]

Says for every student which points were due and which were given, and ends with status 1 where they
differ. The class is thrown away afterwards.
"""

import csv
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "assignments" / "tools"), str(ROOT / "tests" / "assignments")]
from classroom import Classroom  # noqa: E402
from course import SOURCE, Course  # noqa: E402


def measured(name: str, *arguments: str) -> None:
    """Run a command of make, and print its time and the most memory of all its processes."""
    most = 0
    start = time.perf_counter()
    with subprocess.Popen(["make", "--no-print-directory", *arguments], cwd=ROOT) as process:

        def watch():
            nonlocal most
            while process.poll() is None:
                most = max(most, memory(process.pid))
                time.sleep(0.2)

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        watcher.join()
    print(f"--- {name}: {time.perf_counter() - start:.0f} s, {most / 2**30:.2f} GB at most\n")
    if status:
        sys.exit(f"make {' '.join(arguments)} ended with status {status}")


def memory(pid: int) -> int:
    """Return the bytes that a process and its descendants hold."""
    try:
        parent = psutil.Process(pid)
        return sum(p.memory_info().rss for p in [parent, *parent.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0


def main(name: str = "ps1", megabytes: str = "200") -> None:
    """Hand in, grade, and compare."""
    with tempfile.TemporaryDirectory() as place:
        folder, inbox = Path(place) / "class", Path(place) / "inbox"
        answers = yaml.safe_load(
            (ROOT / "tests" / "assignments" / f"{name}.yml").read_text("utf-8")
        )
        skeleton = nbformat.read(Course(folder).release(name), 4)
        source = nbformat.read(SOURCE / name / f"{name}.ipynb", 4)
        hands = Classroom(source, skeleton, answers, int(megabytes)).hand_in(inbox)

        measured("make assignments", "assignments")
        measured("make grade", "grade", f"SET={name}", f"SUBMISSIONS={inbox}", f"CLASS={folder}")
        measured("make feedback", "feedback", f"CLASS={folder}")

        with (folder / name / "grades.csv").open(encoding="utf-8") as file:
            given = {row["student"]: row["autograded"] for row in csv.DictReader(file)}
        wrong = 0
        print(f"{'student':<30} {'due':>5} {'given':>5}")
        for student, hand in hands.items():
            due = "" if hand.points is None else f"{hand.points:g}"
            wrong += due != given.get(student)
            print(f"{student:<30} {due or '-':>5} {given.get(student) or '-':>5}")
        print(f"{len(hands)} students, {wrong} with other points than were due")
        sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
