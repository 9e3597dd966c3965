"""The drawing of two gradients: its numbers are those of `mtl_lib.balancing`, and hands can use it.

The cell of the chapter is built as a page of its own. Playwright drives an installed Chromium.
Where there is none, the tests of the page are skipped and say so.
"""

import io
import re
from pathlib import Path

import nbformat
import pytest
import torch
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from mtl_lib import balancing

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "chapters" / "03_loss_math" / "03_gradient_conflict.ipynb"
METHODS = {
    "mean": balancing.Mean,
    "PCGrad": balancing.PCGrad,
    "MGDA": balancing.MGDA,
    "CAGrad": balancing.CAGrad,
    "IMTL-G": balancing.IMTLG,
    "Nash-MTL": balancing.NashMTL,
    "Aligned-MTL": balancing.AlignedMTL,
    "ConFIG": balancing.ConFIG,
    "UPGrad": balancing.UPGrad,
}
WIDE, PHONE = 1280, 390
PAIRS = 50
# Both sides compute in double precision, the page in closed form and the library in part by search.
# Nearly opposite gradients magnify rounding; a millionth leaves room for that and for no mistake.
TOLERANCE = 1e-6
SHOWN = 0.0051  # two decimals
NOTHING = 1e-9  # relative to the lengths: an inner product of zero, up to rounding

pytestmark = pytest.mark.site


def text_of_the_drawing():
    """The directive as the chapter has it."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.search(r"^:::\{interactive\} gradients\n.*?^:::$", text, re.M | re.S)[0]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with the drawing alone."""
    folder = tmp_path_factory.mktemp("gradients")
    source, out = folder / "source", folder / "html"
    source.mkdir()
    (source / "index.md").write_text(f"# Page\n\n{text_of_the_drawing()}\n", encoding="utf-8")
    settings = {
        "extensions": ["myst_parser", "interactive"],
        "myst_enable_extensions": ["colon_fence"],
        "html_theme": "basic",
        "html_static_path": [str(ROOT / "book" / "_static")],
        "html_css_files": ["book.css"],
    }
    warnings = io.StringIO()
    with docutils_namespace():
        folders = (source, None, out, folder / "doctrees")
        Sphinx(*folders, "html", settings, status=None, warning=warnings).build()
    assert warnings.getvalue() == ""
    return (out / "index.html").as_uri()


@pytest.fixture
def open_page(offline_page, address):
    """Open the page."""

    def opened(width=WIDE, **options):
        return offline_page(address, width, 1200, **options)

    return opened


def jacobian(pair):
    return torch.tensor(pair, dtype=torch.float64)


def library(pair):
    """``{method: [x, y]}`` as the chapter's methods give it, with their defaults."""
    return {name: make()(jacobian(pair)).tolist() for name, make in METHODS.items()}


def random_pairs():
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn(PAIRS, 2, 2, generator=generator, dtype=torch.float64)
    lengths = 10 ** (2 * torch.rand(PAIRS, 2, 1, generator=generator, dtype=torch.float64) - 1)
    return (pairs * lengths).tolist()


def on_page(page, pair):
    return page.evaluate("([g1, g2]) => window.gradients.directions(g1, g2)", pair)


def assert_alike(found, pair):
    expected = library(pair)
    assert list(found) == list(expected)
    for name, d in expected.items():
        assert found[name] == pytest.approx(d, abs=TOLERANCE, rel=TOLERANCE), (name, pair)


def rows(table):
    """``{method: [direction, inner products, harm]}`` as a table of the page says it."""
    found = {}
    for row in table.locator("tbody tr").all():
        name, *cells = (text.strip() for text in row.locator("th, td").all_inner_texts())
        numbers = [
            [float(n) for n in re.findall(r"-?\d+\.\d+", c.replace("−", "-"))] for c in cells
        ]
        found[name] = [numbers[0], [*numbers[1], *numbers[2]], cells[3]]
    return found


def assert_says(found, pair):
    """A table's numbers and verdicts are those of the library."""
    assert list(found) == list(METHODS)
    gradients = jacobian(pair)
    for name, d in library(pair).items():
        d = jacobian(d)
        gains = gradients @ d
        lengths = gradients.norm(dim=1)
        lost = gains < -NOTHING * lengths * lengths.max()
        harm = " and ".join(f"task {i + 1}" for i in range(2) if lost[i]) or "none"
        direction, products, said = found[name]
        assert direction == pytest.approx(d.tolist(), abs=SHOWN), (name, pair)
        assert products == pytest.approx(gains.tolist(), abs=SHOWN), (name, pair)
        assert said == harm, (name, pair)


def tips(page):
    """Where the tips are, as a screen reader hears it."""
    texts = [tip.get_attribute("aria-valuetext") for tip in page.get_by_role("slider").all()]
    return [[float(n) for n in re.findall(r"-?\d+\.\d+", t.replace("−", "-"))] for t in texts]


def middle(page, number):
    box = page.get_by_role("slider").nth(number).locator("circle").last.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


# ---- Numbers ----


def test_directions_of_random_pairs_are_those_of_the_library(open_page):
    page = open_page()
    pairs = random_pairs()
    conflicts = sum((g[0] @ g[1]).item() < 0 for g in map(jacobian, pairs))
    assert PAIRS / 4 < conflicts < 3 * PAIRS / 4  # both branches of every method
    for pair in pairs:
        assert_alike(on_page(page, pair), pair)


@pytest.mark.parametrize(
    "pair",
    [
        [[1.0, 2.0], [1.0, 2.0]],
        [[1.0, 2.0], [2.0, 4.0]],
        [[1.0, 0.0], [0.0, 3.0]],
        [[3.0, 1.0], [-3.0, -1.0]],
        [[0.0, 0.0], [1.0, -2.0]],
        [[1.0, -2.0], [0.0, 0.0]],
        [[0.0, 0.0], [0.0, 0.0]],
    ],
    ids=["equal", "parallel", "orthogonal", "opposite", "first zero", "second zero", "both zero"],
)
def test_directions_at_the_edges_are_those_of_the_library(open_page, pair):
    assert_alike(on_page(open_page(), pair), pair)


def test_presets_show_what_the_library_says(open_page):
    page = open_page()
    presets = page.evaluate("() => window.gradients.presets")
    assert len(presets) == 4
    for name, pair in presets.items():
        page.get_by_role("button", name=name, exact=True).click()
        assert tips(page) == pair
        assert_alike(on_page(page, pair), pair)
        assert_says(rows(page.get_by_role("table")), pair)


def test_presets_are_what_their_names_say(open_page):
    presets = open_page().evaluate("() => window.gradients.presets")
    pairs = {name: jacobian(pair) for name, pair in presets.items()}
    cosines = {n: torch.cosine_similarity(*g, dim=0).item() for n, g in pairs.items()}
    assert cosines["Agree"] > 0 > cosines["Conflict"]
    assert cosines["Opposite"] == pytest.approx(-1)
    lengths = pairs["Unequal lengths"].norm(dim=1)
    assert lengths.max() > 5 * lengths.min()


def test_what_the_chapter_lets_readers_notice():
    """Three methods halve the angle at any length; the mean turns to the longer gradient."""
    for pair in map(jacobian, random_pairs()):
        bisector = (pair / pair.norm(dim=1, keepdim=True)).sum(0)
        for make in (balancing.IMTLG, balancing.NashMTL, balancing.ConFIG):
            cosine = torch.cosine_similarity(make()(pair), bisector, dim=0)
            assert cosine.item() == pytest.approx(1, abs=TOLERANCE)
        shorter = pair * torch.tensor([[1.0], [1e-2 * pair[0].norm() / pair[1].norm()]])
        cosine = torch.cosine_similarity(balancing.Mean()(shorter), pair[0], dim=0)
        assert cosine.item() > 0.999


# ---- Without the script ----


def test_without_a_script_a_table_says_it_for_the_pair_of_the_picture(open_page):
    page = open_page(java_script_enabled=False)
    place = page.locator("[data-name=gradients]")
    said = [float(n) for n in re.findall(r"-?\d\.\d+", place.inner_text().replace("−", "-"))[:5]]
    pair = [said[:2], said[2:4]]
    code = "\n".join(c.source for c in nbformat.read(CHAPTER, as_version=4).cells)
    assert f"g = torch.tensor({pair})" in code
    assert said[4] == pytest.approx((jacobian(pair)[0] @ jacobian(pair)[1]).item())
    assert_says(rows(place.locator("table")), pair)


# ---- Hands ----


def test_the_mouse_drags_a_tip(open_page):
    page = open_page()
    before = tips(page)
    x, y = middle(page, 0)
    unit = page.locator(".gradients-plane").evaluate("(e) => e.clientWidth / 8")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 2 * unit, y - unit, steps=5)
    page.mouse.up()
    page.mouse.move(x, y)  # let go: it stays
    after = tips(page)
    assert after[0] == pytest.approx([before[0][0] - 2, before[0][1] + 1], abs=0.051)
    assert after[1] == before[1]
    assert_says(rows(page.get_by_role("table")), after)


def test_a_finger_drags_a_tip(open_page):
    page = open_page(PHONE, has_touch=True)
    page.locator(".gradients-plane").scroll_into_view_if_needed()
    before = tips(page)
    x, y = middle(page, 1)
    fingers = page.context.new_cdp_session(page)

    def touch(kind, *points):
        spots = [{"x": a, "y": b} for a, b in points]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    touch("touchStart", (x, y))
    for i in range(1, 11):
        touch("touchMove", (x + 4 * i, y + 6 * i))
    touch("touchEnd")
    unit = page.locator(".gradients-plane").evaluate("(e) => e.clientWidth / 8")
    after = tips(page)
    assert after[1] == pytest.approx(
        [before[1][0] + 40 / unit, before[1][1] - 60 / unit], abs=0.051
    )
    assert after[0] == before[0]


def test_a_press_on_the_plane_brings_the_nearer_tip(open_page):
    page = open_page()
    before = tips(page)
    unit = page.locator(".gradients-plane").evaluate("(e) => e.clientWidth / 8")
    page.locator(".gradients-plane").click(position={"x": unit, "y": unit})
    assert tips(page) == [before[0], pytest.approx([-3, 2], abs=0.051)]


def test_the_keyboard_moves_both_tips(open_page):
    page = open_page()
    before = tips(page)
    for number in range(2):
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.get_by_role("slider").nth(number).evaluate("e => e === document.activeElement"):
                break
        for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Shift+ArrowDown"):
            page.keyboard.press(key)
    after = tips(page)
    for old, new in zip(before, after, strict=True):
        assert new == pytest.approx([old[0] - 0.2, old[1] - 0.4])
    assert_says(rows(page.get_by_role("table")), after)


def test_a_tip_does_not_leave_the_plane(open_page):
    page = open_page()
    tip = page.get_by_role("slider").first
    for key in ("Shift+ArrowRight", "Shift+ArrowUp"):
        for _ in range(20):
            tip.press(key)
    assert tips(page)[0] == [3.5, 2.5]


def test_a_box_shows_and_hides_the_arrow_of_its_method(open_page):
    page = open_page()
    boxes = page.get_by_role("checkbox")
    assert boxes.count() == len(METHODS)
    for name in METHODS:
        box = page.get_by_role("checkbox", name=name, exact=True)
        arrow = page.locator(f"g[data-method='{name}']")
        box.check()
        assert arrow.count() == 1
        box.uncheck()
        assert arrow.count() == 0


def test_no_two_methods_look_alike(open_page):
    page = open_page()
    for box in page.get_by_role("checkbox").all():
        box.check()
    looks = page.locator("g[data-method]").evaluate_all(
        "(all) => all.map((e) => [e.getAttribute('color'), e.getAttribute('stroke-dasharray')])"
    )
    colors, dashes = zip(*looks, strict=True)
    assert len(set(colors)) == len(set(dashes)) == len(METHODS)


def test_the_wedge_harms_no_task_and_has_all_of_the_plane_that_does_not(open_page):
    page = open_page()
    inside = """([x, y]) => {
        const plane = document.querySelector(".gradients-plane");
        const point = plane.createSVGPoint();
        const unit = plane.clientWidth / 8;
        [point.x, point.y] = [(4 + x) * unit, (3 - y) * unit];
        return document.querySelector(".gradients-cone").isPointInFill(point);
    }"""
    spots = [[x / 2 + 0.03, y / 2 + 0.07] for x in range(-7, 8) for y in range(-5, 6)]
    for name in ("Agree", "Conflict", "Unequal lengths"):
        page.get_by_role("button", name=name, exact=True).click()
        gradients = jacobian(tips(page))
        expected = [bool((gradients @ jacobian(spot) >= 0).all()) for spot in spots]
        assert 0 < sum(expected) < len(spots)
        assert [page.evaluate(inside, spot) for spot in spots] == expected, name


# ---- Looks ----


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_it_fits_and_is_large_enough_for_a_finger(open_page, width):
    page = open_page(width)
    place = page.locator("[data-name=gradients]")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert place.evaluate("(e) => e.scrollWidth - e.clientWidth") == 0
    small = place.locator("button, label, .gradients-tip circle:first-child").evaluate_all(
        "(all) => all.filter((e) => e.getBoundingClientRect().height < 32).length"
    )
    assert small == 0


def luminance(color):
    """Relative luminance of a colour #rrggbb, after WCAG 2."""
    values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(k * v for k, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_arrows_stand_out_from_the_page(open_page, theme):
    page = open_page()
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
    style = "(e) => getComputedStyle(e).getPropertyValue('--pst-color-background').trim()"
    ground = luminance(page.locator("html").evaluate(style))
    colors = page.locator("[data-name=gradients] label line").evaluate_all(
        "(all) => all.map((e) => e.getAttribute('stroke'))"
    )
    assert len(colors) == len(METHODS)
    for color in colors:
        low, high = sorted((luminance(color), ground))
        assert (high + 0.05) / (low + 0.05) >= 3, color  # WCAG 2.2, 1.4.11: graphical objects
