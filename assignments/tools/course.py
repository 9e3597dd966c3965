"""Where the problem sets and a class are kept, and how nbgrader is set up for them."""

import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
from execute import LimitedExecute
from feedback import HideTests, Marks, Texts
from nbconvert.preprocessors import ClearMetadataPreprocessor, CSSHTMLHeaderPreprocessor
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LimitOutput,
    LockCells,
    NbGraderPreprocessor,
    SaveAutoGrades,
    SaveCells,
)
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "assignments" / "source"
RELEASE = ROOT / "_build" / "assignments"
CLASS = ROOT / "assignments" / "class"

PREPARE = Path(__file__).with_name("kernel.py")

STUB = '# YOUR CODE HERE\nraise NotImplementedError("write your answer here")'


# nbgrader runs alembic by its name, which an environment that is not active does not have.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


class CourseError(Exception):
    """Something that the person at the keyboard can put right; the message says how."""


def sets(source: Path = SOURCE) -> list[str]:
    """Return the names of the problem sets, in order."""
    return sorted(path.parent.name for path in source.glob("*/*.ipynb"))


class LockTheRest(NbGraderPreprocessor):
    """Locks what nbgrader does not: questions and figures, which a slip of a key would delete."""

    def preprocess_cell(self, cell, resources, cell_index):
        """Lock one cell that belongs to no question's answer or test."""
        if not cell.metadata.get("nbgrader"):
            cell.metadata.update(deletable=False, editable=False)
        return cell, resources


class Course:
    """One class: a folder with everything that was received, and the grade book.

    ``received/`` has every file that was handed in, as it came. ``submitted/``, ``autograded/`` and
    ``gradebook.db`` are nbgrader's. Each set has a folder with results.
    """

    def __init__(self, folder: Path, source: Path = SOURCE):
        self.folder = Path(folder).resolve()
        self.source = Path(source).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)

    def results(self, name: str) -> Path:
        """Return the folder with the results of a set, which exists afterwards."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def autograded(self, student: str, name: str) -> Path:
        """Return the notebook of a student as it was run."""
        return self.folder / "autograded" / student / name / f"{name}.ipynb"

    def config(self) -> Config:
        """Return nbgrader's configuration."""
        c = Config()
        c.CourseDirectory.root = str(self.folder)
        c.ClearSolutions.code_stub = {"python": STUB}
        c.GenerateAssignment.preprocessors = [
            LockCells,
            ClearSolutions,
            ClearOutput,
            CheckCellMetadata,
            ComputeChecksums,
            SaveCells,  # with the hidden tests, for grading
            ClearHiddenTests,
            ComputeChecksums,
            LockTheRest,
        ]
        c.LimitedExecute.extra_arguments = [f"--IPKernelApp.exec_files={PREPARE}"]
        c.Autograde.autograde_preprocessors = [
            LimitedExecute,
            ClearMetadataPreprocessor,
            LimitOutput,
            SaveAutoGrades,
            CheckCellMetadata,
        ]
        c.ClearMetadataPreprocessor.preserve_cell_metadata_mask = [("nbgrader",)]
        c.GenerateFeedback.preprocessors = [
            HideTests,
            Texts,
            Marks,
            CSSHTMLHeaderPreprocessor,
        ]
        c.HTMLExporter.sanitize_html = True
        return c

    def nbgrader(self, config: Config | None = None) -> NbGraderAPI:
        """Return nbgrader's interface to this class."""
        return NbGraderAPI(config=config or self.config())

    def gradebook(self) -> Gradebook:
        """Return the grade book, to be used in a ``with`` statement."""
        return Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}")

    def release(self, name: str) -> Path:
        """Make the student version of a set inside this class, and return the notebook."""
        if name not in sets(self.source):
            known = ", ".join(sets(self.source))
            raise CourseError(f"SET is {name!r}, and there is no such set: take one of {known}.")
        kept = self.folder / "source" / name / f"{name}.ipynb"
        graded = (self.folder / name / "status.json").exists()
        if graded and ids(kept) != ids(self.source / name / f"{name}.ipynb"):
            raise CourseError(
                f"{name} has other cells than when this class was graded with it: "
                "give the changed set a new name, or grade into another folder with CLASS=folder."
            )
        # nbgrader finds a set below the class, and so the class keeps what it was graded with.
        shutil.copytree(self.source / name, self.folder / "source" / name, dirs_exist_ok=True)
        done = self.nbgrader().generate_assignment(name, force=True)
        if not done["success"]:
            raise CourseError(f"no student version of {name} could be made:\n{reason(done)}")
        return self.folder / "release" / name / f"{name}.ipynb"


def ids(notebook: Path) -> list[str]:
    """Return nbgrader's ids in a notebook, in order."""
    cells = nbformat.read(notebook, 4).cells
    return [c.metadata.nbgrader.grade_id for c in cells if c.metadata.get("nbgrader")]


def reason(done: dict) -> str:
    """Return what went wrong from an answer of nbgrader, without its tracebacks."""
    log = done.get("log") or ""
    causes = re.findall(r"^ +(\w[\w.]*(?:Error|Exception|Entry)\b.*)", log, re.M)
    stated = [e for e in re.findall(r"\[(?:ERROR|CRITICAL)\] (.*)", log) if "raceback" not in e]
    return "\n".join(dict.fromkeys(causes or stated)) or done.get("error") or "no reason given"
