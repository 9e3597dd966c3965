"""The built site, in a browser: every page, from a folder and from a server, light and dark.

Playwright drives an installed Chromium. Where there is none, these tests are skipped and say so.
"""

import functools
import html
import http.server
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import check
import nbformat
import pytest

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]
WIDE, PHONE = 1280, 390


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Folder of a fresh build with warnings as errors, as `make book` builds it."""
    out = tmp_path_factory.mktemp("site")
    options = ("--quiet", "-W", "-n", "--keep-going", "--all", "--path-output", out)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", ROOT, *options]
    environment = {name: value for name, value in os.environ.items() if name != "REPOSITORY"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def served(site):
    """Address of a server of the site on this machine."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Silent, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def pages(site):
    """Every page with something on it: the first one only leads to the home page."""
    return sorted(
        path.relative_to(site).as_posix()
        for path in site.rglob("*.html")
        if "_static" not in path.parts and 'http-equiv="Refresh"' not in path.read_text("utf-8")
    )


FOUND = """() => ({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    maths: document.querySelectorAll("mjx-merror").length,
    unset: document.querySelectorAll(".math:not(:has(mjx-container))").length,
    broken: [...document.images].filter((i) => !i.naturalWidth).map((i) => i.src),
    mute: [...document.querySelectorAll("article img")].filter((i) => !i.alt).map((i) => i.src),
    theme: document.documentElement.dataset.theme,
})"""


def visit(context, address, root):
    """What a page shows, asks for and complains about."""
    page, outside, errors = context.new_page(), [], []

    def sift(route):
        url = route.request.url
        if url.startswith((root, "data:", "blob:")):
            route.continue_()
        else:
            outside.append(url)
            route.abort()

    page.route("**/*", sift)
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    # Images below the fold may be lazy.
    page.evaluate("() => { for (const i of document.images) i.loading = 'eager' }")
    page.evaluate("() => Promise.all([...document.images].map((i) => i.decode().catch(() => 0)))")
    found = page.evaluate(FOUND)
    page.close()
    return {**found, "outside": outside, "errors": errors}


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("how", ["folder", "server"])
def test_every_page_is_whole_and_asks_no_other_host(site, served, browser, how, width, theme):
    root = site.as_uri() if how == "folder" else served
    if how == "server":  # the other combinations of width and theme
        theme = {"light": "dark", "dark": "light"}[theme]
    expected = {"overflow": 0, "maths": 0, "unset": 0, "broken": [], "mute": [], "theme": theme}
    expected |= {"outside": [], "errors": []}
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    found = {page: visit(context, f"{root}/{page}", root) for page in pages(site)}
    context.close()
    assert len(found) > 10
    assert {page: f for page, f in found.items() if f != expected} == {}


def test_the_menu_of_a_phone_opens(site, browser):
    page = browser.new_page(viewport={"width": PHONE, "height": 900})
    page.goto((site / "book" / "how_to_use.html").as_uri())
    link = page.locator(".bd-sidebar-primary a", has_text="Notation").first
    assert not link.is_visible()
    page.locator("label[for='__primary'], button.primary-toggle").first.click()
    link.click(timeout=5000)
    page.wait_for_url("**/notation.html", timeout=5000)
    page.close()


def test_a_folded_solution_opens(site, browser):
    page = browser.new_page(viewport={"width": WIDE, "height": 900})
    page.goto((site / "chapters" / "04_code" / "01_first_program.html").as_uri())
    solution = page.locator(".solution.dropdown").first
    text = solution.locator("section").first
    assert not text.is_visible()
    solution.locator("button.toggle-button, .admonition-title").first.click()
    text.wait_for(state="visible", timeout=5000)
    page.close()


def test_the_ledger_of_a_part_leads_to_the_claim(site, browser):
    page = browser.new_page(viewport={"width": WIDE, "height": 900})
    page.goto((site / "chapters" / "02_concepts" / "index.html").as_uri())
    link = page.locator("table.ledger td a").first
    target = link.get_attribute("href")
    link.click()
    page.wait_for_url(f"**/{Path(target.split('#')[0]).name}*", timeout=5000)
    assert page.locator("#" + target.split("#")[1]).count() == 1
    page.close()


def test_no_page_names_an_address_that_is_not_set(site):
    for path in pages(site):
        text = (site / path).read_text(encoding="utf-8")
        assert "github.com/NAME" not in text
        assert "mybinder.org/v2/" not in text
        assert "colab.research.google.com" not in text


def test_no_line_of_a_graded_solution_or_hidden_test_is_in_the_site(site):
    secret = {
        line
        for path in (ROOT / "assignments" / "source").glob("*/*.ipynb")
        for line in check.secrets(nbformat.read(path, 4).cells)
        if len(line) > 30
    }
    assert secret
    files = [path for path in site.rglob("*") if path.suffix in {".html", ".ipynb", ".md", ".txt"}]
    assert [(path, found) for path in files if (found := secret & lines_of(path))] == []


def lines_of(path):
    """Return the lines that a person reads in a file of the site."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in nbformat.reads(text, 4).cells)
    elif path.suffix == ".html":
        text = html.unescape(re.sub(r"<[^>]+>", "", text))
    return {line.strip() for line in text.splitlines()}
