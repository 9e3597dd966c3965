"""The site is light: what its pages bring along, and what they do not.

Almost all of this can be read in the files; a browser is asked for what only it knows.
"""

import importlib
import re
import shutil
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import audit
import pytest
from PIL import Image
from sphinx.errors import ExtensionError

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]

THEME = "pydata-sphinx-theme.css"  # on every page but those of our own making


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def all(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


@cache
def read(path):
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tags(site):
    """``{page: tags}``."""
    return {site / name: Tags(read(site / name)) for name in audit.pages(site)}


def named(path, tags):
    """The files of the site that a page loads."""
    links = [link["href"] for link in tags.all("link") if link["rel"] in ("stylesheet", "icon")]
    loaded = [tag["src"] for kind in ("img", "script") for tag in tags.all(kind) if "src" in tag]
    return {(path.parent / unquote(urlsplit(address).path)).resolve() for address in links + loaded}


def closure(site, path, tags):
    """What a page loads, and all that these files could load: every part and font of MathJax."""
    files = {path.resolve(), *named(path, tags)}
    for style in [file for file in files if file.suffix == ".css"]:
        for address in re.findall(r"url\(['\"]?([^'\")?#]+)", read(style)):
            if not address.startswith("data:"):
                files.add((style.parent / address).resolve())
        files |= {style.parent / name for name in re.findall(r'@import "([^"]+)"', read(style))}
    if any(file.name == "maths.js" for file in files):  # which loads MathJax
        files |= {
            file for file in (site / "_static" / "mathjax").rglob("*.[jw]*") if file.is_file()
        }
    return files


def test_a_first_visit_sends_no_more_than_the_limit_even_if_it_took_every_font(site, tags):
    sent = {
        path: sum(len(audit.compressed(file)) for file in closure(site, path, found))
        for path, found in tags.items()
    }
    assert len(sent) > 10
    assert {path: size for path, size in sent.items() if size > audit.LIMIT} == {}


def test_no_file_is_there_for_a_debugger_or_for_a_script_that_is_gone(site):
    unused = ("*.map", "fontawesome.js", "*.ttf", "*.mo", "*macros.html")
    assert [path for pattern in unused for path in site.rglob(pattern)] == []
    assert "CC BY 4.0" in read(site / "_static" / "scripts" / "fontawesome.js.LICENSE.txt")


def test_what_a_page_loads_is_there(site, tags):
    missing = {
        (path, file) for path, found in tags.items() for file in closure(site, path, found)
        if not file.exists()
    }  # fmt: skip
    assert missing == set()


@pytest.fixture
def light(monkeypatch):
    """The extension, as Sphinx imports it."""
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    return importlib.import_module("light")


def test_what_is_light_stays_as_it_is(site, tmp_path, light):
    copied = shutil.copytree(site, tmp_path / "site")
    light.lighten(copied)
    files = [path for path in sorted(copied.rglob("*")) if path.is_file()]
    assert [path.relative_to(copied) for path in files] == [
        path.relative_to(site) for path in sorted(site.rglob("*")) if path.is_file()
    ]
    changed = [f for f in files if f.read_bytes() != (site / f.relative_to(copied)).read_bytes()]
    assert changed == []


@pytest.fixture
def drawn(tmp_path, light):
    """Makes a page with an icon light, and returns it."""

    def draw(icon):
        (tmp_path / "_static" / "styles").mkdir(parents=True)
        (tmp_path / "_static" / "documentation_options.js").touch()
        page = tmp_path / "page.html"
        page.write_text(f'<link href="_static/styles/{THEME}"/>{icon}', encoding="utf-8")
        light.lighten(tmp_path)
        return page.read_text(encoding="utf-8")

    return draw


# With a public address, pages have buttons with these; one goes by an old name.
@pytest.mark.parametrize("icon", ["fab fa-github", "fas fa-rocket fa-lg", "fas fa-pencil-alt"])
def test_icons_of_other_buttons_are_known_too(drawn, icon):
    page = drawn(f'<i class="{icon}"></i>')
    assert page.count("<path ") == 1
    assert "<i" not in page


def test_an_icon_that_the_theme_does_not_have_fails_the_build(drawn):
    with pytest.raises(ExtensionError, match="fa-no-such-thing"):
        drawn('<i class="fas fa-no-such-thing"></i>')


def test_scripts_let_the_page_come_first(tags):
    waiting = {"defer", "async"}
    assert [
        (path, script["src"])
        for path, found in tags.items()
        if THEME in read(path)
        for script in found.all("script")
        if "src" in script and not waiting & set(script)
    ] == []


def test_only_pages_with_formulas_load_mathjax(tags):
    for path, found in tags.items():
        formulas = 'class="math ' in read(path)
        scripts = [script.get("src", "") for script in found.all("script")]
        assert any("/maths.js" in script for script in scripts) == formulas
        assert not any("/mathjax/" in script for script in scripts)  # maths.js loads it
    assert 0 < sum('class="math ' in read(path) for path in tags) < len(tags)


def test_every_picture_says_its_size_in_its_own_proportions(tags):
    for path, found in tags.items():
        for image in found.all("img"):
            width, height = int(image["width"]), int(image["height"])
            file = path.parent / unquote(urlsplit(image["src"]).path)
            if file.suffix == ".svg":
                box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', read(file))
                whole = float(box[1]), float(box[2])
            else:
                with Image.open(file) as drawn:
                    whole = drawn.size
                assert width <= whole[0]  # or it would be a blur
            # Both are rounded to whole pixels.
            assert abs(width * whole[1] - height * whole[0]) <= max(whole), (path, image)


def test_the_first_picture_comes_at_once_and_the_others_when_they_are_reached(tags):
    several = 0
    for path, found in tags.items():
        images = [image for image in found.all("img") if "_images/" in image["src"]]
        if images:
            assert images[0].get("fetchpriority") == "high", path
            assert "loading" not in images[0]
            assert {image.get("loading") for image in images[1:]} <= {"lazy"}
            assert {image.get("decoding") for image in images[1:]} <= {"async"}
            several += len(images) > 1
    assert several


def test_every_page_describes_itself_in_words_of_its_own(tags):
    said = {
        path: [m["content"] for m in found.all("meta") if m.get("name") == "description"]
        for path, found in tags.items()
    }
    assert {path: texts for path, texts in said.items() if len(texts) != 1} == {}
    assert len({texts[0] for texts in said.values()}) == len(said)
    assert {path: texts for path, texts in said.items() if not 8 < len(texts[0]) < 250} == {}


ICONS = """() => ({
    undrawn: document.querySelectorAll("i[class*='fa-'], span[class*='fa-']").length,
    drawn: document.querySelectorAll("svg.svg-inline--fa").length,
    empty: [...document.querySelectorAll("svg.svg-inline--fa")].filter((icon) => {
        const { width, height } = icon.getBoundingClientRect();
        const drawn = icon.querySelector("path").getTotalLength();
        return !drawn || (icon.checkVisibility() && !(width && height));
    }).map((icon) => icon.outerHTML),
})"""


def test_every_icon_is_drawn(site, tags, browser):
    for path, found in tags.items():
        for kind in ("i", "span"):
            assert [a for a in found.all(kind) if "fa-" in (a.get("class") or "")] == [], path
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    for name in ("book/index.html", "chapters/04_code/02_vae.html", "book/terms_index.html"):
        page.goto((site / name).as_uri())
        icons = page.evaluate(ICONS)
        assert icons["drawn"] > 5
        assert (icons["undrawn"], icons["empty"]) == (0, [])
    page.close()


def test_the_icon_font_has_what_the_styles_ask_for(site, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site / "chapters" / "04_code" / "02_vae.html").as_uri())
    widths = page.evaluate("""async () => {
        await document.fonts.load('900 40px "Font Awesome 6 Free"', "\\uf05a");
        const context = document.createElement("canvas").getContext("2d");
        const width = (font, letter) => (context.font = font, context.measureText(letter).width);
        const style = getComputedStyle(document.documentElement);
        return ["info-circle", "bell", "share", "lightbulb", "exclamation-triangle"].map((name) => {
            const letter = style.getPropertyValue(`--pst-icon-${name}`).replace(/["']/g, "");
            return [letter.length, width('900 40px "Font Awesome 6 Free", monospace', letter),
                    width("900 40px monospace", letter)];
        });
    }""")
    assert all(letters == 1 and drawn != stand_in for letters, drawn, stand_in in widths), widths
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_jumps_and_no_colour_changes_while_a_page_arrives(site, browser, theme):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=theme)
    page = context.new_page()
    page.add_init_script("""
        window.shifts = 0;
        window.themes = [];
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.shifts += entry.value;
        }).observe({ type: "layout-shift", buffered: true });
        new MutationObserver(() => themes.push(document.documentElement.dataset.theme))
            .observe(document, { subtree: true, attributeFilter: ["data-theme"] });
    """)
    page.goto((site / "chapters" / "04_code" / "02_vae.html").as_uri())
    page.evaluate("() => window.MathJax.startup.promise")
    assert set(page.evaluate("() => window.themes")) == {theme}
    assert page.evaluate("() => window.shifts") < 0.05  # 0.1 is what is called good
    context.close()
