"""The built site: its menu, folded parts and links in a browser, and what must not be in it.

Playwright drives an installed Chromium. Without it, the tests that need it are skipped.
"""

import html
import re
from pathlib import Path

import audit
import nbformat
import pytest

pytestmark = pytest.mark.site

ROOT = Path(__file__).parents[2]
WIDE, PHONE = 1280, 390


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
    solution = page.locator("details.solution").first
    text = solution.locator("section").first
    assert not text.is_visible()
    solution.locator("summary").press("Enter")
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
    for path in audit.pages(site):
        text = (site / path).read_text(encoding="utf-8")
        assert "github.com/NAME" not in text
        assert "mybinder.org/v2/" not in text
        assert "colab.research.google.com" not in text


def test_no_line_of_a_graded_solution_or_hidden_test_is_in_the_site(site, secret_lines):
    files = [path for path in site.rglob("*") if path.suffix in {".html", ".ipynb", ".md", ".txt"}]
    assert [(path, found) for path in files if (found := secret_lines & lines_of(path))] == []


def lines_of(path):
    """Return the lines that a person reads in a file of the site."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in nbformat.reads(text, 4).cells)
    elif path.suffix == ".html":
        text = html.unescape(re.sub(r"<[^>]+>", "", text))
    return {line.strip() for line in text.splitlines()}
