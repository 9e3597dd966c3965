"""Sphinx extension: the live page, ``playground/index.html``, beside the pages of the book.

The page's own files are copied as they are. Its weights are written by the same function that the
chapter on edge devices calls, so that neither can differ from the stored network.
"""

import shutil
from pathlib import Path

from interactive import SCREEN
from sphinx.application import Sphinx

from mtl_lib.recipes import painter

__all__ = ["add_page", "setup"]

SOURCE = Path(__file__).parents[1] / "playground"
FOLDER = "playground"


def add_page(app: Sphinx, exception: Exception | None) -> None:
    """Copy the page and export the network, where a site was built without error."""
    if exception is None and app.builder.name in SCREEN:
        folder = Path(app.outdir) / FOLDER
        shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
        painter.export(folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("build-finished", add_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
