"""The last chapter's table is complete: a row, with its verdict and its link, for every claim."""

import json
import re

import notebooks
import pytest

from mtl_lib import claims

FAQ = notebooks.CHAPTERS / "06_faq" / "01_faq.ipynb"
BOOK = {
    name: found
    for name, found in claims.read_book(notebooks.CHAPTERS).items()
    if "06_faq" not in name
}


@pytest.fixture(scope="module")
def tables():
    """Every table of claims that the page shows, as HTML."""
    outputs = [o for c in json.loads(FAQ.read_text())["cells"] for o in c.get("outputs", [])]
    pages = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    return [page for page in pages if ".ipynb#claim-" in page]


def rows(table):
    """``[(notebook, claim, verdict)]``."""
    found = []
    for row in re.findall(r"<tr>(<th scope=\"row\".*?)</tr>", table, re.S):
        notebook, name = re.search(r'href="\.\./([^"#]+)#claim-([^"]+)"', row).groups()
        found.append((notebook, name, re.search(r"mtl-(holds|fails|inconclusive)\b", row)[1]))
    return found


def test_the_table_of_the_last_chapter_has_every_claim_of_the_book(tables):
    wanted = [(name, claim.id, claim.verdict) for name, found in BOOK.items() for claim in found]
    assert rows(max(tables, key=len)) == wanted, "run `make notebooks` for the last chapter"


def test_every_answer_that_rests_on_claims_shows_today_s_verdicts(tables):
    verdicts = {claim.id: claim.verdict for found in BOOK.values() for claim in found}
    assert len(tables) > 10
    for table in tables:
        assert rows(table)
        assert all(verdicts[name] == verdict for _, name, verdict in rows(table))
