"""Every entry of the bibliography is complete, cited, and has an address that works as a link."""

import re
from html import unescape
from pathlib import Path

import pytest
from pybtex.database import parse_file

ROOT = Path(__file__).parents[2]
ENTRIES = parse_file(ROOT / "book" / "references.bib").entries
DOI = r"10\.\d{4,9}/[^\s{}]+"
ADDRESS = r"https://[a-z0-9.-]+\.[a-z]{2,}/[^\s{}]*"
ARXIV = r"\d{4}\.\d{4,5}"
VENUES = ("booktitle", "journal", "howpublished", "publisher")


@pytest.fixture(params=ENTRIES)
def entry(request):
    return ENTRIES[request.param]


def pages():
    """The text of every page that may cite."""
    files = [
        p
        for kind in ("*.md", "*.ipynb")
        for top in ("book", "chapters")
        for p in (ROOT / top).rglob(kind)
    ]
    return {path: path.read_text("utf-8") for path in files}


def cited(text):
    return {
        key.strip() for keys in re.findall(r"\{cite\}`([^`]+)`", text) for key in keys.split(",")
    }


def test_an_entry_says_who_what_where_and_when(entry):
    assert entry.persons["author"]
    assert re.fullmatch(r"(19|20)\d\d", entry.fields["year"])
    assert entry.fields["title"]
    assert any(entry.fields.get(venue) for venue in VENUES)


def test_an_entry_has_an_address_in_the_form_that_a_reader_can_open(entry):
    doi, url = entry.fields.get("doi"), entry.fields.get("url")
    assert doi or url
    assert doi is None or re.fullmatch(DOI, doi)
    assert url is None or re.fullmatch(ADDRESS, url)
    if "arxiv.org" in (url or ""):
        assert re.fullmatch(rf"https://arxiv\.org/abs/{ARXIV}", url)
    preprint = re.fullmatch(rf"arXiv:({ARXIV})", entry.fields.get("howpublished", ""))
    assert preprint is None or url == f"https://arxiv.org/abs/{preprint[1]}"


def test_an_entry_has_nothing_that_only_latex_can_read(entry):
    texts = [*entry.fields.values(), *map(str, entry.persons["author"])]
    assert [text for text in texts if "\\" in text or text.count("{") != text.count("}")] == []
    assert [text for text in map(str, entry.persons["author"]) if "{" in text] == []


def test_a_venue_has_one_name(entry):
    venue = next(entry.fields[v] for v in VENUES if entry.fields.get(v))
    assert not re.match(r"Proceedings of the (\d|I|E|A)|arXiv preprint", venue)
    assert entry.fields.get("howpublished") or not re.search(r"\d", venue), "a volume is a field"


@pytest.mark.parametrize("field", ["title", "doi", "url"])
def test_no_entry_is_there_twice(field):
    values = [
        re.sub(r"\W", "", e.fields[field].lower()) for e in ENTRIES.values() if field in e.fields
    ]
    assert [value for value in values if values.count(value) > 1] == []


def test_every_entry_is_cited_and_what_is_cited_is_an_entry():
    found = {key for text in pages().values() for key in cited(text)}
    assert found == {*ENTRIES}


# ---- As it is built ----


def text(markup):
    return " ".join(unescape(re.sub("<[^>]+>", "", markup)).split())


@pytest.fixture(scope="module")
def listed(site):
    """``{id: markup}`` of the entries, in their order on the page."""
    page = (site / "book" / "bibliography.html").read_text("utf-8")
    found = re.findall(r'<div class="citation" id="([^"]+)"(.*?)</div>', page, re.S)
    assert len(found) == len(ENTRIES)
    return dict(found)


@pytest.mark.site
def test_an_entry_on_the_page_has_a_label_of_its_own_in_their_order(listed):
    labels = [
        text(re.search(r'<span class="label">(.*?)</p>', m, re.S)[1]).split("]")[0]
        for m in listed.values()
    ]
    assert len({*labels}) == len(labels)
    firsts = [re.match(r"\[([\w -]+)", label)[1][:1].lower() for label in labels]
    assert firsts == sorted(firsts)
    assert all(re.search(r", (19|20)\d\d[a-z]?$", label) for label in labels)


@pytest.mark.site
def test_an_entry_on_the_page_links_to_its_address_and_to_where_it_is_cited(site, listed):
    known = {e.fields.get("url") or f"https://doi.org/{e.fields['doi']}" for e in ENTRIES.values()}
    for markup in listed.values():
        external = re.findall(r'class="reference external" href="([^"]+)"', markup)
        assert len({*external} & known) == 1
        assert not re.search(r"[{}\\]", text(markup))
        inside = re.findall(r'class="reference internal" href="([^"]+)#([^"]+)"', markup)
        assert inside
        for address, anchor in inside:
            target = (site / "book" / address).read_text("utf-8")
            assert target.count(f'id="{anchor}"') == 1


@pytest.mark.site
def test_every_citation_in_a_chapter_leads_to_an_entry(site, listed):
    seen = 0
    for path in (site / "chapters").rglob("*.html"):
        found = re.findall(
            r'href="\.\./\.\./book/bibliography\.html#([^"]+)"', path.read_text("utf-8")
        )
        assert {*found} <= {*listed}, path
        seen += len(found)
    assert seen >= len(ENTRIES)
