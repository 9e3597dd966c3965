"""The slider of the chapter on weighted sums: its values are the library's, and hands reach it.

The chapter's own element is built as a page by itself. Playwright drives an installed Chromium.
Where there is none, the tests of the page are skipped and say so.
"""

import io
import re
from pathlib import Path

import notebooks
import pytest
import torch
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from mtl_lib import problems

ROOT = Path(__file__).parents[2]
CHAPTER = notebooks.CHAPTERS / "03_loss_math" / "01_weighted_sum.ipynb"
ELEMENT = re.compile(r"^:::\{interactive\} weighted-sum\n.*?^:::$", re.M | re.S)
FRONTS = {"ZDT1": "bent inwards", "ZDT2": "bent outwards"}
LAMBDAS = [i / 19 for i in range(20)]  # none is 1/2, where one front has two answers
WIDE, PHONE = 1280, 390
site = pytest.mark.site


def element():
    """The directive as it stands in the chapter."""
    found = [
        match[0]
        for cell in notebooks.load(CHAPTER).cells
        for match in ELEMENT.finditer(cell.source)
        if cell.cell_type == "markdown"
    ]
    assert len(found) == 1
    return found[0]


def build(folder, builder, text):
    """Folder of a page that a builder made of a text, and the warnings."""
    source = folder / "source"
    source.mkdir()
    (source / "index.md").write_text(f"# Page\n\n{text}\n", encoding="utf-8")
    (source / "other.md").write_text("---\norphan: true\n---\n# Other\n", encoding="utf-8")
    warnings = io.StringIO()
    settings = {
        "extensions": ["myst_parser", "interactive"],
        "myst_enable_extensions": ["colon_fence"],
        "html_theme": "basic",
        "html_static_path": [str(ROOT / "book" / "_static")],
        "html_css_files": ["book.css"],
    }
    folders = (source, None, folder / builder, folder / "doctrees")
    with docutils_namespace():
        Sphinx(*folders, builder, settings, status=None, warning=warnings).build()
    return folder / builder, warnings.getvalue()


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory):
    folder, warnings = build(tmp_path_factory.mktemp("weighted-sum"), "html", element())
    assert warnings == ""
    return folder


@pytest.fixture
def open_page(offline_page, page_folder):
    """Open the page."""

    def opened(width=WIDE, **options):
        return offline_page((page_folder / "index.html").as_uri(), width, 900, **options)

    return opened


@pytest.fixture
def least():
    """The point of a library's front with the least weighted sum."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # the sum is flat at its minimum: 32 bits blur the place
    # So many, for the front that is bent inwards is steep where its first loss is small.
    fronts = {name: getattr(problems, name)().front(200_001) for name in FRONTS}
    torch.set_default_dtype(usual)

    def least(front, lambda_):
        sums = fronts[front] @ torch.tensor([lambda_, 1 - lambda_], dtype=torch.float64)
        return fronts[front][sums.argmin()].tolist()

    return least


def at(page, front, lambda_):
    return page.evaluate("([front, l]) => window.weightedSum.at(front, l)", [front, lambda_])


def move_to(page, value):
    """Set the slider as a hand would, in steps of 0.01."""
    page.get_by_role("slider").fill(str(round(100 * value)))


def said(page):
    return page.get_by_role("status").inner_text()


# ---- Values ----


@site
@pytest.mark.parametrize("front", FRONTS)
def test_the_least_sum_is_where_the_library_has_it(open_page, least, front):
    page = open_page()
    for lambda_ in LAMBDAS:
        found = at(page, front, lambda_)
        assert found["points"] == [pytest.approx(least(front, lambda_), abs=1e-3)], lambda_
        first, second = found["points"][0]
        assert found["sum"] == pytest.approx(lambda_ * first + (1 - lambda_) * second)


@site
def test_the_front_bent_outwards_has_two_answers_at_one_half(open_page):
    page = open_page()
    assert at(page, "ZDT2", 0.5) == {"points": [[0, 1], [1, 0]], "sum": 0.5}


@site
@pytest.mark.parametrize("front", FRONTS)
def test_marks_and_line_are_drawn_where_the_library_has_them(open_page, least, front):
    page = open_page()
    page.get_by_label(FRONTS[front]).check()
    # From the axes' own labels, back to values: an end of the front sits at 0, another at 1.
    place = """(svg) => {
        const ticks = [...svg.querySelectorAll("text")].filter((t) => !isNaN(t.textContent));
        const at = (value, key) => {
            const same = ticks.filter((t) => t.textContent === value);
            const found = same.map((t) => +t.getAttribute(key));
            return key === "x" ? Math.max(...found) : Math.min(...found) - 4;
        };
        const [x0, x1, y0, y1] = [at("0", "x"), at("1", "x"), at("0", "y"), at("1", "y")];
        const value = ([x, y]) => [(x - x0) / (x1 - x0), (y - y0) / (y1 - y0)];
        const line = svg.querySelector(".line")?.getAttribute("d").slice(1).split("L") ?? [];
        return {
            marks: [...svg.querySelectorAll(".least")].map((mark) =>
                value([mark.getAttribute("cx"), mark.getAttribute("cy")])),
            line: line.map((point) => value(point.split(","))),
        };
    }"""
    for lambda_ in (0.2, 0.45, 0.6, 0.9):
        move_to(page, lambda_)
        first, second = least(front, lambda_)
        losses, along = (page.locator("svg").nth(i).evaluate(place) for i in (0, 1))
        total = lambda_ * first + (1 - lambda_) * second
        assert losses["marks"] == [pytest.approx([first, second], abs=1e-3)]
        assert along["marks"] == [pytest.approx([first, total], abs=1e-3)]
        assert [lambda_ * a + (1 - lambda_) * b for a, b in losses["line"]] == [
            pytest.approx(total, abs=1e-3)
        ] * 2


def test_the_table_without_a_script_says_the_same(least):
    rows = [re.findall(r"\d\.\d\d", line) for line in element().splitlines()]
    rows = [[*map(float, row)] for row in rows if row]
    assert [row[0] for row in rows] == [0.2, 0.35, 0.5, 0.65, 0.8]  # the chapter's own shares
    for one, two, first, second, *outwards in rows:
        assert one + two == pytest.approx(1)
        # The table has two digits.
        assert [first, second] == pytest.approx(least("ZDT1", one), abs=0.00501)
        wanted = [0, 1, 1, 0] if one == 0.5 else least("ZDT2", one)
        assert outwards == pytest.approx(wanted, abs=0.00501)


# ---- Hands and eyes ----


@site
def test_keys_move_the_slider_and_the_point_jumps_on_the_front_bent_outwards(open_page):
    page = open_page()
    choice = page.get_by_role("radio", name=FRONTS["ZDT1"])
    choice.focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("radio", name=FRONTS["ZDT2"]).is_checked()
    page.keyboard.press("Tab")
    slider = page.get_by_role("slider", name="Weight λ₁ of the first loss")
    assert slider.evaluate("(slider) => slider === document.activeElement")
    page.keyboard.press("Home")
    texts = []
    for _ in range(101):
        assert said(page).startswith(slider.get_attribute("aria-valuetext") + ":")
        texts.append(said(page))
        page.keyboard.press("ArrowRight")
    right, left = "(1.00, 0.00)", "(0.00, 1.00)"
    places = [text.replace("\xa0", " ").split("(L₁, L₂) = ")[1] for text in texts]
    assert places == [*[f"{right}."] * 50, f"{left} and {right}.", *[f"{left}."] * 50]
    dots = page.locator(".been").evaluate_all("(all) => all.map((dot) => dot.outerHTML)")
    assert len(set(dots)) == 2


@site
def test_the_path_has_every_point_passed_until_it_is_cleared(open_page):
    page = open_page()
    move_to(page, 0.4)
    page.get_by_role("button", name="Clear the path").click()
    assert page.locator(".been").count() == 1
    move_to(page, 0.6)
    assert page.locator(".been").count() == 21  # steps of 0.01, both ends counted
    page.get_by_label(FRONTS["ZDT2"]).check()
    assert page.locator(".been").count() == 1


@site
def test_a_finger_moves_the_slider(open_page):
    page = open_page(width=PHONE, has_touch=True)
    box = page.get_by_role("slider").bounding_box()
    page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert float(re.search(r"λ₁ = ([\d.]+)", said(page))[1]) == pytest.approx(0.8, abs=0.05)


@site
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_it_fits_and_a_finger_finds_it(open_page, width):
    page = open_page(width=width)
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    hands = page.locator(".interactive :is(fieldset label, input[type=range], button)")
    assert hands.count() == 4
    low = hands.evaluate_all(
        "(all) => all.filter((e) => e.getBoundingClientRect().height < 32).length"
    )
    assert low == 0, "too small for a finger"


# ---- The directive ----


@site
def test_without_scripts_the_table_is_there(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator(".interactive tbody tr").count() == 5
    assert page.locator(".interactive input").count() == 0


def test_only_the_page_with_the_drawing_loads_its_script(page_folder):
    loads = {
        name: "weighted-sum.js" in (page_folder / f"{name}.html").read_text(encoding="utf-8")
        for name in ("index", "other")
    }
    assert loads == {"index": True, "other": False}


@pytest.mark.parametrize("builder", ["text", "epub", "latex"])
def test_other_builders_show_the_table_and_load_no_script(tmp_path, builder):
    folder, _warnings = build(tmp_path, builder, element())
    (file,) = [
        path
        for path in folder.iterdir()
        if path.stem in ("index", "projectnamenotset") and path.suffix in (".txt", ".xhtml", ".tex")
    ]
    text = file.read_text(encoding="utf-8")
    assert "0.86, 0.07" in text
    assert "weighted-sum.js" not in text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("weighted-sum", "nothing"), "no nothing.js and no nothing.css"),
        (lambda text: re.sub(":label:.*\n", "", text), "wants a :label:"),
        (lambda text: re.sub(r"^\|.*\n", "", text, flags=re.M), "a body that stands for"),
    ],
)
def test_a_drawing_that_lacks_something_is_an_error(tmp_path, damage, message):
    _folder, warnings = build(tmp_path, "html", damage(element()))
    assert message in warnings
