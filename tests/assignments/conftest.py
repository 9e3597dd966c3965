"""A tiny set to try the tools for problem sets on."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with one problem set, ps1, that imports nothing heavy."""
    import nbformat
    from classroom import tiny_set

    folder = tmp_path_factory.mktemp("source")
    (folder / "ps1").mkdir()
    nbformat.write(tiny_set(), folder / "ps1" / "ps1.ipynb")
    return folder
