"""Pictures attached to a notebook's Markdown cells appear on the built page."""

import io
from base64 import b64encode

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

PICTURE = b"not really a picture, but Sphinx only copies it"


@pytest.fixture
def build(tmp_path):
    """Build a page from Markdown with one attachment, `answer.png`; gives its HTML and warnings."""

    def run(markdown):
        cell = new_markdown_cell(f"# Title\n\n{markdown}")
        cell.attachments = {"answer.png": {"image/png": b64encode(PICTURE).decode()}}
        nbformat.write(new_notebook(cells=[cell]), tmp_path / "index.ipynb")
        settings = {
            "extensions": ["myst_nb", "attachments"],
            "nb_execution_mode": "off",
            "source_suffix": {},  # or extensions add to the default of all later builds
        }
        out, trees, warnings = tmp_path / "build" / "html", tmp_path / "build" / "t", io.StringIO()
        with docutils_namespace():
            Sphinx(tmp_path, None, out, trees, "html", settings, None, warnings).build()
        return (out / "index.html").read_text(encoding="utf-8"), out, warnings.getvalue()

    return run


def test_an_attached_picture_is_copied_and_keeps_its_alternative_text(build):
    page, folder, warnings = build("![A curve](attachment:answer.png)")
    (copied,) = (folder / "_images").iterdir()
    assert copied.read_bytes() == PICTURE
    assert f'<img alt="A curve" src="_images/{copied.name}"' in page
    assert warnings == ""


def test_a_missing_attachment_is_a_warning_that_names_it(build):
    _, _, warnings = build("![A curve](attachment:other.png)")
    assert "attachment:other.png matches 0 attachments" in warnings
