"""One built site and one browser for all tests of pages."""

import os
import subprocess
import sys
from pathlib import Path

import paper
import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]

# Without these, Chromium asks for updates and lists, and waits for a network that may not be there.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """Folder of a fresh build with warnings as errors, as `make book` builds it.

    Processes that test side by side share it: the first one builds.
    """
    folder = tmp_path_factory.getbasetemp()
    out = (folder if worker_id == "master" else folder.parent) / "site"
    with FileLock(out.with_suffix(".lock")):
        if not (out / "built").exists():
            options = ("--quiet", "-W", "-n", "--keep-going", "--all", "--path-output", out)
            command = [Path(sys.executable).with_name("jupyter-book"), "build", ROOT, *options]
            environment = {
                name: value for name, value in os.environ.items() if name != "REPOSITORY"
            }
            run = subprocess.run(command, capture_output=True, text=True, env=environment)
            assert run.returncode == 0, run.stdout + run.stderr
            (out / "built").touch()
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    """An installed Chromium; where there is none, the tests that need it are skipped."""
    path = paper.installed()
    if path is None:
        pytest.skip(f"no browser here: install one of {', '.join(paper.BROWSERS)}")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield running
        running.close()


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
