"""Grades one submission in a process of its own, which is watched and limited.

As a script, it is that process: ``python autograde.py CLASS SET STUDENT SECONDS PROGRESS SKIPPED``.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MEMORY = 8 * 2**30  # address space: torch alone takes about half of it
FILE = 500 * 2**20
ATTEMPTS = 4


@dataclass
class Outcome:
    """Whether a submission has marks, why not, and cells that could not be run."""

    graded: bool
    reason: str = ""
    notes: list[str] = field(default_factory=list)


def autograde(folder: Path, name: str, student: str, cell_seconds: int, seconds: int) -> Outcome:
    """Grade one submission, whatever its code does, within a time.

    A cell that ends Python, or that does not let itself be stopped, is left out, and the rest is
    run again without it.
    """
    deadline = time.monotonic() + seconds
    skipped: dict[str, str] = {}
    for _ in range(ATTEMPTS):
        cell, problem, log = attempt(folder, name, student, cell_seconds, deadline, skipped)
        if problem is None:
            return Outcome(True, notes=[f"{cell}: {why}" for cell, why in skipped.items()])
        if cell is None or cell in skipped or time.monotonic() > deadline:
            return Outcome(False, f"{problem}\n{log}".strip())
        skipped[cell] = problem
    return Outcome(False, f"{ATTEMPTS} cells ended Python or did not stop: {', '.join(skipped)}")


def attempt(folder, name, student, cell_seconds, deadline, skipped):
    """Run once; return the cell to blame, what went wrong (None if nothing did), and details."""
    with tempfile.TemporaryDirectory() as place:
        progress, log = Path(place) / "progress.json", Path(place) / "log"
        arguments = [str(folder), name, student, str(cell_seconds), str(progress)]
        with log.open("w") as stream:
            child = subprocess.Popen(
                [sys.executable, __file__, *arguments, json.dumps(skipped)],
                env={**os.environ, "MTL_QUIET": "1", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            try:
                code = child.wait(timeout=max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return None, "it took too long in all", ""
            finally:
                end(child)
        if code == 0:
            return None, None, ""
        cell, state = json.loads(progress.read_text()) if progress.exists() else (None, "running")
        if state != "running":
            return cell, state, ""
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return None, "grading failed", "\n".join(lines[-4:])


def end(child: subprocess.Popen) -> None:
    """End a process and all that it started."""
    try:
        family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    child.wait()


def main(folder: str, name: str, student: str, seconds: str, progress: str, skipped: str) -> None:
    """Grade, in this process."""
    from course import Course, reason

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    course = Course(Path(folder))
    settings = course.config()
    settings.LimitedExecute.timeout = int(seconds)
    settings.LimitedExecute.error_on_timeout = {
        "ename": "CellTimeoutError",
        "evalue": f"the cell did not end within {seconds} seconds",
        "traceback": [f"CellTimeoutError: the cell did not end within {seconds} seconds"],
    }
    settings.LimitedExecute.progress = progress
    settings.LimitedExecute.skipped = json.loads(skipped)
    done = course.nbgrader(settings).autograde(name, student)
    if not done["success"]:
        sys.exit(reason(done))


if __name__ == "__main__":
    main(*sys.argv[1:])
