"""Sphinx extension: show pictures that are attached to a notebook's Markdown cells.

A chapter opens with ``![...](attachment:answer.png)``, a picture that travels inside the notebook
and that JupyterLab shows. MyST-NB 1.4 leaves such addresses as they are, and the page would have a
broken picture (https://github.com/executablebooks/MyST-NB/issues/492).
"""

import json
import os
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

__all__ = ["Attachments", "setup", "write_attached"]

_PREFIX = "attachment:"
_logger = logging.getLogger(__name__)


class Attachments(SphinxTransform):
    """Write each attached picture to a file beside the build and point the page to it."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Sphinx calls this once a page."""
        for image in list(self.document.findall(nodes.image)):
            if image["uri"].startswith(_PREFIX):
                notebook = Path(self.env.doc2path(self.env.docname))
                name = unquote(image["uri"].removeprefix(_PREFIX))
                try:
                    image["uri"] = write_attached(self.app, notebook, name)
                except LookupError as error:
                    _logger.warning("%s", error, location=image)


def write_attached(app: Sphinx, notebook: Path, name: str) -> str:
    """Write a picture that is attached to a cell to a file, and return its address for Sphinx.

    Raises:
        LookupError: no picture of that name, or two.
    """
    found = _attached(notebook).get(name, set())
    if len(found) != 1:
        raise LookupError(
            f"{_PREFIX}{name} matches {len(found)} attachments of {notebook.name}, wanted one: "
            "attach the picture to its cell, or rename all but one."
        )
    ((mime, content),) = found
    data = b64decode(content)
    # Where MyST-NB puts the pictures of outputs, named likewise: one file serves both places.
    folder = Path(app.outdir).parent / "jupyter_execute"
    folder.mkdir(parents=True, exist_ok=True)
    suffix = mime.rpartition("/")[2].partition("+")[0]
    file = folder / f"{sha256(data).hexdigest()}.{suffix}"
    file.write_bytes(data)
    return "/" + Path(os.path.relpath(file, app.srcdir)).as_posix()


def _attached(notebook: Path) -> dict[str, set[tuple[str, str]]]:
    """``{name: {(MIME type, base64)}}`` of the pictures attached to any cell."""
    found: dict[str, set[tuple[str, str]]] = {}
    if notebook.suffix == ".ipynb":
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            for name, bundle in cell.get("attachments", {}).items():
                for mime, content in bundle.items():
                    text = content if isinstance(content, str) else "".join(content)
                    found.setdefault(name, set()).add((mime, text.replace("\n", "")))
    return found


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_transform(Attachments)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
