"""What a student gets back: the notebook as it was graded, without the hidden tests."""

import re

from nbgrader.preprocessors import GetGrades, NbGraderPreprocessor
from pages import markdown

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


class Texts(NbGraderPreprocessor):
    """Makes texts harmless and formulas MathML: the page runs no script and needs no connection."""

    def preprocess_cell(self, cell, resources, cell_index):
        """Replace a text by its HTML, without the empty lines that would make it Markdown again."""
        if cell.cell_type == "markdown":
            page = markdown(cell.source, cell.pop("attachments", {}))
            cell.source = re.sub(
                r"(<pre>.*?</pre>)|\n\s*\n", lambda m: m[1] or "\n", page, flags=re.S
            )
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
