"""What a student gets back: the notebook as it was graded, without the hidden tests."""

import re

from nbgrader.preprocessors import GetGrades, NbGraderPreprocessor
from pages import with_formulas

HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[ \t]*\n?", re.M | re.S)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class HideTests(NbGraderPreprocessor):
    """Leaves of a test what a student may see: the visible part, and the last line of an error."""

    def preprocess_cell(self, cell, resources, cell_index):
        """Shorten a test."""
        if not cell.metadata.get("nbgrader", {}).get("locked") or cell.cell_type != "code":
            return cell, resources
        cell.source = HIDDEN.sub("# … and tests that you do not see.\n", cell.source)
        for output in cell.outputs:
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {COLOURS.sub('', output.evalue)}"]
        return cell, resources


class Formulas(NbGraderPreprocessor):
    """Typesets formulas, so that the page shows them without a script and without a connection."""

    def preprocess_cell(self, cell, resources, cell_index):
        """Replace the formulas of a text."""
        if cell.cell_type == "markdown":
            cell.source = with_formulas(cell.source, lambda made: " ".join(made.split()))
        return cell, resources


class Marks(GetGrades):
    """nbgrader's points and comments, and a remark where an answer has not been marked."""

    def _get_comment(self, cell, resources):
        super()._get_comment(cell, resources)
        if cell.metadata.nbgrader.get("grade"):
            name = cell.metadata.nbgrader.grade_id
            grade = self.gradebook.find_grade(
                name, self.notebook_id, self.assignment_id, self.student_id
            )
            if grade.needs_manual_grade:
                cell.metadata.nbgrader["comment"] = "Not marked yet; counted as 0 until then."
