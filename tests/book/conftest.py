"""One built site and one browser for all tests of pages."""

import os
import subprocess
import sys
from pathlib import Path

import check
import chromium
import nbformat
import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def build_book():
    """Builds the whole book below a folder, with warnings as errors, as `make` builds it."""

    def build(out, *options, **variables):
        options = ("--quiet", "-W", "-n", "--keep-going", "--all", "--path-output", out, *options)
        command = [Path(sys.executable).with_name("jupyter-book"), "build", ROOT, *options]
        environment = {name: value for name, value in os.environ.items() if name != "REPOSITORY"}
        environment |= variables
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert run.returncode == 0, run.stdout + run.stderr
        return out / "_build"

    return build


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id, build_book):
    """Folder of a fresh build. Processes that test side by side share it: the first one builds."""
    folder = tmp_path_factory.getbasetemp()
    out = (folder if worker_id == "master" else folder.parent) / "site"
    with FileLock(out.with_suffix(".lock")):
        if not (out / "built").exists():
            build_book(out)
            (out / "built").touch()
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def secret_lines():
    """Lines of graded solutions and hidden tests that are long enough to be nobody else's."""
    found = {
        line
        for path in (ROOT / "assignments" / "source").glob("*/*.ipynb")
        for line in check.secrets(nbformat.read(path, 4).cells)
        if len(line) > 30
    }
    assert found
    return found


@pytest.fixture(scope="session")
def browser():
    """An installed Chromium; where there is none, the tests that need it are skipped."""
    if not chromium.installed():
        pytest.skip(f"no browser here: install one of {', '.join(chromium.BROWSERS)}")
    with chromium.launched() as running:
        yield running


@pytest.fixture
def offline_page(browser):
    """Opens pages from their folder; in the end, nothing has gone wrong and no host was asked."""
    contexts, wrong = [], []

    def sift(route):
        if route.request.url.startswith("file:"):
            return route.continue_()
        wrong.append(route.request.url)
        return route.abort()

    def opened(address, width, height, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.route("**/*", sift)
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address, wait_until="load")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
