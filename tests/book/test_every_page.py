"""Every page of the site, in a browser: from a folder and from a server, light and dark.

axe-core looks for what keeps people from reading a page, or from using it without a mouse.

Playwright drives an installed Chromium. Where there is none, these tests are skipped and say so.
"""

import functools
import http.server
import threading

import audit
import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.site

WIDE, PHONE = 1280, 390


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


FOUND = """() => ({
    twice: [...document.querySelectorAll("[id]")]
        .map((element) => element.id)
        .filter((id, place, ids) => ids.indexOf(id) < place),
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    cut: [...document.querySelectorAll("div.math mjx-container")]
        .filter((formula) => formula.scrollWidth > formula.clientWidth + 1)
        .map((formula) => formula.textContent),
    maths: document.querySelectorAll("mjx-merror").length,
    silent: document.querySelectorAll("mjx-container:not(:has(math))").length,
    unset: document.querySelectorAll(".math:not(:has(mjx-container))").length,
    broken: [...document.images].filter((i) => !i.naturalWidth).map((i) => i.src),
    // A picture on a card repeats what stands beside it.
    mute: [...document.querySelectorAll("article img:not(.chapter-card img)")]
        .filter((i) => !i.alt)
        .map((i) => i.src),
    titles: [...document.querySelectorAll("h1")].filter((h) => h.checkVisibility()).length,
    theme: document.documentElement.dataset.theme,
})"""


# Axe passes over what cannot be seen: open all that is folded, and answer the questions.
UNFOLD = """() => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const form of document.querySelectorAll(".quiz form")) {
        form.querySelector("input").checked = true;
        form.requestSubmit();
    }
}"""
# A page has up to ten thousand pieces of code in a dozen pairs of colours. One of each pair keeps
# its element and the others become text of their line: axe takes a quarter of the time.
THIN = """() => {
    const seen = new Set();
    const again = [...document.querySelectorAll(":is(.highlight, .sig) span:not(:has(*))")].filter(
        (piece) => {
            const { color, opacity, backgroundColor: own } = getComputedStyle(piece);
            const { backgroundColor: box } = getComputedStyle(piece.closest("pre, .sig") ?? piece);
            const colours = [color, opacity, own, box].join();
            return seen.has(colours) || !seen.add(colours);
        },
    );
    for (const piece of again) piece.replaceWith(piece.textContent);
}"""
# All rules that axe has on by default, and one of WCAG 2.2: what is pressed is 24 pixels wide.
# It need not fetch the style sheets: no rule of these reads them, and from a folder it may not.
RULES = {
    "resultTypes": ["violations"],
    "rules": {"target-size": {"enabled": True}},
    "preload": False,
}


def barriers(page):
    """Every element that breaks a rule of axe, with the rule."""
    page.evaluate(THIN)
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in Axe().run(page, options=RULES).response["violations"]
        for node in rule["nodes"]
    ]


def visit(context, address, root, unfold):
    """What a page shows, asks for and complains about; and what axe says, when all is unfolded."""
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
    if unfold:
        page.evaluate(UNFOLD)
    # Images below the fold may be lazy.
    page.evaluate("() => { for (const i of document.images) i.loading = 'eager' }")
    page.evaluate("() => Promise.all([...document.images].map((i) => i.decode().catch(() => 0)))")
    found = page.evaluate(FOUND)
    found["barriers"] = barriers(page) if unfold else []
    page.close()
    return {**found, "outside": outside, "errors": errors}


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("how", ["folder", "server"])
def test_every_page_is_whole_and_asks_no_other_host(site, served, browser, how, width, theme):
    """Axe looks at pages from a folder: so it meets both widths and the colours of both themes."""
    root = site.as_uri() if how == "folder" else served
    if how == "server":  # the other combinations of width and theme
        theme = {"light": "dark", "dark": "light"}[theme]
    expected = {
        "overflow": 0,
        "cut": [],
        "maths": 0,
        "unset": 0,
        "broken": [],
        "mute": [],
        "theme": theme,
    }
    expected |= {"outside": [], "errors": [], "titles": 1, "twice": [], "silent": 0, "barriers": []}
    size = {"width": width, "height": 900}
    # Nothing moves: a text that fades in has no contrast yet.
    context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")
    unfold = how == "folder"
    # Pages of source code are all alike: from a folder, twice, is enough.
    names = [name for name in audit.pages(site) if unfold or not name.startswith("_modules/")]
    found = {page: visit(context, f"{root}/{page}", root, unfold) for page in names}
    context.close()
    assert len(found) > 10
    wrong = {page: {k: v for k, v in f.items() if v != expected[k]} for page, f in found.items()}
    assert {page: what for page, what in wrong.items() if what} == {}
