"""How a notebook is run for grading."""

import json
from pathlib import Path

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from traitlets import Dict, Integer, Unicode


class LimitedExecute(Execute):
    """nbgrader's execution, for code of which nothing can be presumed.

    Output beyond a limit is dropped as it comes. A file says which cell runs, and whether it ended
    Python or could not be stopped, for whoever tries again without that cell.
    """

    output_limit = Integer(100_000, help="most characters of output of a cell").tag(config=True)
    progress = Unicode(help="file for the cell that runs and its state").tag(config=True)
    skipped = Dict(help="ids of cells that are not run, and why").tag(config=True)

    def preprocess_cell(self, cell, resources, cell_index):
        """Run a cell, and leave a note while it runs and where it does not end."""
        name = cell.get("id", str(cell_index))
        if name in self.skipped:
            cell.outputs = [failure("NotRun", self.skipped[name])]
            return cell, resources
        self.kept = 0
        self.note(name, "running")
        settings = cell.metadata.get("nbgrader", {})
        given = settings.get("locked") and not settings.get("grade")
        self.timeout_func = lambda _: self.timeout * (10 if given else 1)  # no student's fault
        try:
            cell, resources = super().preprocess_cell(cell, resources, cell_index)
        except CellTimeoutError:
            self.note(name, "it did not end in time, and could not be interrupted")
            raise
        except DeadKernelError:
            self.note(name, "it ended Python")
            raise
        if settings.get("grade"):
            for output in cell.get("outputs", []):
                if output.output_type == "stream":  # nbgrader takes a warning for an error
                    output.name = "stdout"
        return cell, resources

    def note(self, name, state):
        """Write which cell it is and how it fares."""
        if self.progress:
            Path(self.progress).write_text(json.dumps([name, state]), encoding="utf-8")

    def output(self, outs, msg, display_id, cell_index):
        """Keep an output while there is room for it."""
        size = len(json.dumps(msg["content"], default=str))
        before, self.kept = self.kept, self.kept + size
        if msg["msg_type"] == "error" or self.kept <= self.output_limit:
            return super().output(outs, msg, display_id, cell_index)
        if before <= self.output_limit:
            outs.append(new_output("stream", text="\n[the rest of this cell's output was cut]\n"))
        return None


def failure(name, text):
    """Return the output of a cell that failed."""
    return new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])
