"""The live page: the network as a script, and the page in a browser, from a folder.

Playwright drives an installed Chromium. Where there is none, the tests of the page are skipped and
say so; those of the script run everywhere.
"""

import json
import re
import runpy
import shutil
import statistics
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mtl_lib import weights
from mtl_lib.data import figurines
from mtl_lib.networks import count_parameters
from mtl_lib.recipes import painter

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "book" / "playground"
WIDE, PHONE = 1280, 390
MEGABYTES = 2

site = pytest.mark.site


# ---- The script ----


def test_the_script_gives_back_the_parameters_that_went_in(tmp_path):
    model = weights.load(painter.network(), painter.NAME)
    found = painter.read(painter.export(tmp_path))
    stored = model.state_dict()
    assert list(found) == list(stored)
    for name, values in stored.items():  # half precision already: nothing is rounded
        assert torch.equal(found[name], values), name


def test_a_script_of_any_network_is_rounded_to_half_precision(tmp_path):
    torch.manual_seed(0)
    model = painter.network()
    found = painter.read(painter.export(tmp_path / "made", model))
    for name, values in model.state_dict().items():
        assert torch.equal(found[name], values.half().float()), name


def test_a_network_that_half_precision_cannot_hold_is_refused(tmp_path):
    model = painter.network()
    model.trunk.first.bias.data[3] = 1e6
    with pytest.raises(ValueError, match=r"trunk\.first\.bias .* not finite"):
        painter.export(tmp_path, model)
    assert not (tmp_path / painter.SCRIPT).exists()


@pytest.mark.parametrize("damage", [lambda text: text[:-20], lambda text: "var a = 1;\n"])
def test_a_script_that_was_cut_or_is_another_is_refused(tmp_path, damage):
    file = painter.export(tmp_path)
    file.write_text(damage(file.read_text()))
    with pytest.raises(ValueError, match="no script of painter"):
        painter.read(file)


def test_the_script_says_what_the_page_shows(tmp_path):
    text = painter.export(tmp_path).read_text()
    said = json.loads(text.removeprefix("window.painter = ").removesuffix(";\n"))
    assert said["factors"] == list(figurines.FACTORS)
    assert said["headwear"] == list(figurines.CLASSES)
    assert said["parameters"] == count_parameters(painter.network())
    assert 10e6 < said["operations"] < 30e6


def built(folder, error=None):
    """Run the extension as Sphinx does when it has finished."""
    app = SimpleNamespace(builder=SimpleNamespace(name="html"), outdir=folder)
    runpy.run_path(str(ROOT / "book" / "_ext" / "playground.py"))["add_page"](app, error)
    return folder / "playground"


def test_the_build_adds_the_page_and_its_weights(tmp_path):
    folder = built(tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        *(path.name for path in PAGE.iterdir()),
        painter.SCRIPT,
    }
    assert sum(path.stat().st_size for path in folder.iterdir()) < MEGABYTES * 1e6


def test_a_failed_build_gets_no_page(tmp_path):
    built(tmp_path, RuntimeError("a page is broken"))
    assert list(tmp_path.iterdir()) == []


def test_every_factor_has_a_slider():
    text = (PAGE / "page.js").read_text(encoding="utf-8")
    table = text[text.index("const SLIDERS") : text.index("const GROUPS")]
    assert sorted(re.findall(r"^    (\w+): \[", table, re.M)) == sorted(figurines.FACTORS)


def test_every_link_leads_to_a_page_of_the_book():
    links = re.findall(r'href="\.\./([^"]+)\.html"', (PAGE / "index.html").read_text("utf-8"))
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:root:|.*- file:) (\S+)$", contents, re.M)
    assert set(links) - set(listed) == set()
    assert "book/index" in links


# ---- The page ----


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page in a folder, as the build makes it, with the icon that it takes from the book."""
    out = tmp_path_factory.mktemp("site")
    folder = built(out)
    shutil.copytree(ROOT / "book" / "_static", out / "_static", ignore=lambda *_: ["mathjax"])
    return (folder / "index.html").as_uri()


@pytest.fixture
def open_page(browser, address):
    """Open the page; in the end, nothing has gone wrong and no other host was asked."""
    contexts, wrong = [], []

    def sift(route):
        if route.request.url.startswith(("file:", "data:", "blob:")):
            return route.continue_()
        wrong.append(route.request.url)
        return route.abort()

    def opened(person="", width=WIDE, **options):
        options = {"reduced_motion": "reduce", **options}
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.route("**/*", sift)
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address + person, wait_until="load")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


PERSON = "#500-500-500-500-500-500-500-500-500-500-0"
PICTURE = "(view) => document.getElementById(view).toDataURL()"
FACTORS = "() => window.playground.person().factors"


def factor(page, name):
    return page.evaluate(FACTORS)[figurines.FACTORS.index(name)]


def tensors(page, arrays, argument):
    """What a function of the page gives, a list of Float32Array, as tensors."""
    encoded = page.evaluate(
        """([arrays, argument]) => eval(arrays)(argument).map((array) => {
            let text = "";
            for (const byte of new Uint8Array(array.buffer)) text += String.fromCharCode(byte);
            return btoa(text);
        })""",
        [arrays, argument],
    )
    return [torch.frombuffer(bytearray(b64decode(text)), dtype=torch.float32) for text in encoded]


@site
def test_the_browser_draws_what_pytorch_draws(open_page):
    page = open_page()
    model = weights.load(painter.network(), painter.NAME)
    factors = figurines.sample_factors(20, seed=3)["face"]
    classes = figurines.sample_classes(20, seed=3)
    drawn = tensors(
        page,
        """(people) => people.flatMap(([factors, headwear]) => {
            const { face, body } = window.playground.draw(factors, headwear);
            return [face, body];
        })""",
        [*zip(factors.tolist(), classes.tolist(), strict=True)],
    )
    wanted = model(painter.inputs(factors, classes))
    for view, images in (("face", drawn[::2]), ("body", drawn[1::2])):
        found = torch.stack(images).view_as(wanted[view])
        assert (found - wanted[view]).abs().max() < 1e-3


@site
def test_the_enlarged_picture_keeps_the_colours_of_the_small_one(open_page):
    small, large = tensors(
        open_page(),
        """(person) => {
            const { face } = window.playground.run(person, [0, 0, 1, 0, 0]);
            return [face.image, Float32Array.from(window.playground.enlarged(face, 6).data)];
        }""",
        figurines.sample_factors(1, seed=4)["face"][0].tolist(),
    )
    red_green_blue = large.view(384, 384, 4).permute(2, 0, 1)[:3] / 255
    means = torch.nn.functional.avg_pool2d(red_green_blue, 6)
    assert (means - small.view(3, 64, 64)).abs().mean() < 0.01


@site
def test_the_median_frame_takes_less_than_a_sixtieth_of_a_second(open_page):
    page = open_page()
    # Time of the page's own thread: other programs on this machine do not lengthen it.
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent():
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "ThreadTime")

    frames = []
    for person in figurines.sample_factors(200, seed=0)["face"].tolist():
        start = spent()
        page.evaluate("(person) => window.playground.show(person, 4)", person)
        frames.append(spent() - start)
    assert statistics.median(frames) < 1 / 60


@site
def test_an_arrow_key_moves_a_slider_and_changes_the_picture(open_page):
    page = open_page(PERSON)
    before = page.evaluate(PICTURE, "face")
    page.get_by_label("Hair length").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert factor(page, "hair_length") > 0.5
    page.wait_for_function(
        "(old) => document.getElementById('face').toDataURL() !== old", arg=before
    )
    page.wait_for_function("() => location.hash.startsWith('#500-500-520-')")


@site
def test_headwear_is_chosen_by_keyboard(open_page):
    page = open_page(PERSON)
    page.locator("input[type=radio]:checked").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => window.playground.person().headwear") == 1
    page.wait_for_function("() => location.hash.endsWith('-1')")


@site
def test_keys_bring_another_person_and_play_and_pause(open_page):
    page = open_page(PERSON, reduced_motion="no-preference")
    before = page.evaluate(FACTORS)
    page.keyboard.press("r")
    page.wait_for_function(
        "(old) => window.playground.person().factors.every((v, i) => v !== old[i])", arg=before
    )
    button = page.locator("#play")
    page.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "true"
    page.wait_for_timeout(100)
    page.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "false"
    still = page.evaluate(FACTORS)
    page.wait_for_timeout(200)
    assert page.evaluate(FACTORS) == still


@site
@pytest.mark.parametrize(("view", "name"), [("face", "smile"), ("body", "arm_pose")])
def test_a_finger_on_the_picture_turns_the_light(open_page, view, name):
    page = open_page(PERSON, width=PHONE, has_touch=True, is_mobile=True)
    box = page.locator(f"#{view}").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def send(kind, *points):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    send("touchStart", {"x": x, "y": y})
    for step in range(1, 6):
        send("touchMove", {"x": x + 8 * step, "y": y - 8 * step})
    send("touchEnd")
    assert factor(page, "light") > 0.6
    assert factor(page, name) > 0.6
    assert factor(page, "skin") == 0.5


@site
def test_the_address_brings_the_person_back_and_a_bad_one_is_no_error(open_page):
    page = open_page("#100-200-300-400-500-600-700-800-900-1000-3")
    assert page.evaluate(FACTORS) == [i / 10 for i in range(1, 11)]
    assert page.get_by_role("radio", name="bow").is_checked()
    for bad in ("#nothing", "#1-2-3", "#100-200-300-400-500-600-700-800-900-2000-3"):
        assert len(open_page(bad).evaluate(FACTORS)) == len(figurines.FACTORS)


@site
def test_a_kept_person_stays_when_the_page_is_opened_again(open_page):
    page = open_page(PERSON)
    first = page.locator("#kept button").first
    page.locator("#keep").click()
    page.reload()
    page.locator("#random").click()
    page.wait_for_function("() => window.playground.person().factors[0] !== 0.5")
    first.click()
    page.wait_for_function("() => window.playground.person().factors.every((v) => v === 0.5)")


@site
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_the_page_fits_and_every_control_has_a_name(open_page, width, theme):
    page = open_page(width=width, color_scheme=theme)
    assert page.evaluate("() => document.documentElement.dataset.theme") == theme
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    controls = page.locator("button, input, canvas[role=img]")
    assert controls.count() > 20
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, [role=img]")].filter((e) =>
            !(e.ariaLabel || e.labels?.[0]?.textContent || e.textContent).trim())
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []


@site
def test_the_choice_made_in_the_book_counts_more_than_the_system(open_page):
    page = open_page(color_scheme="light")
    page.evaluate("() => localStorage.setItem('mode', 'dark')")
    page.reload()
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"


@site
def test_without_scripts_the_page_says_so_and_can_be_read(open_page):
    page = open_page(java_script_enabled=False)
    assert (
        page.locator("body noscript").inner_text().startswith("The pictures are drawn by a script")
    )
    assert page.get_by_role("heading", name="What you see").is_visible()
