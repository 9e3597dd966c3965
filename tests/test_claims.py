import math

import nbformat
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from mtl_lib import claims
from mtl_lib.claims import MIME, Claim

NUMBERS = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=8)
MIRRORED = {"holds": "fails", "fails": "holds", "inconclusive": "inconclusive"}
ORDER = ["holds", "inconclusive", "fails"]


def claim(greater, smaller, name="a-claim", **options):
    return Claim(name, "A exceeds B.", {"A": greater}, {"B": smaller}, **options)


def decided(name, verdict):
    """A claim with the verdict asked for."""
    side = {"holds": [4, 5, 6], "fails": [-6, -5, -4], "inconclusive": [-1, 0, 1]}[verdict]
    return claim(side, [0, 0, 0], name)


def write(path, *shown):
    """A notebook file with one cell a ledger, as Jupyter would store it."""
    cells = []
    for ledger in shown:
        output = nbformat.v4.new_output(
            "display_data", data=claims._Ledger(ledger)._repr_mimebundle_()
        )
        cells.append(nbformat.v4.new_code_cell("show(...)", outputs=[output]))
    cells.append(nbformat.v4.new_markdown_cell("Not a cell with outputs."))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@given(PAIRS)
def test_interval_is_that_of_scipys_paired_t_test(pairs):
    greater, smaller = zip(*pairs, strict=True)
    # The floor is rounding: SciPy computes the same sums in another order.
    assume(np.std(np.subtract(greater, smaller)) > 1e-6)
    oracle = stats.ttest_rel(greater, smaller).confidence_interval(0.95)
    found = claim(greater, smaller).interval
    assert found == pytest.approx((oracle.low, oracle.high), rel=1e-9, abs=1e-9)


def test_interval_covers_the_true_difference_in_95_of_100_experiments():
    generator = np.random.default_rng(0)
    truth, experiments = 0.7, 4000
    covered = 0
    for _ in range(experiments):
        person = generator.normal(0, 5, size=4)  # shared by the pair, so pairing has to remove it
        low, high = claim(person + generator.normal(truth, 1, size=4), person).interval
        covered += low <= truth <= high
    # Four standard errors of a binomial proportion: 4 * sqrt(0.95 * 0.05 / 4000) = 0.0138.
    assert covered / experiments == pytest.approx(0.95, abs=0.0138)


@given(PAIRS, NUMBERS)
def test_swapping_the_sides_mirrors_the_verdict(pairs, margin):
    greater, smaller = zip(*pairs, strict=True)
    forth = claim(greater, smaller, margin=margin).verdict
    back = claim(smaller, greater, margin=-margin).verdict
    assert back == MIRRORED[forth]


@given(PAIRS, NUMBERS, st.sampled_from([2.0**-20, 0.5, 1024.0]))
def test_verdict_does_not_depend_on_the_unit(pairs, margin, scale):
    greater, smaller = np.array(pairs).T
    scaled = claim(greater * scale, smaller * scale, margin=margin * scale)
    assert scaled.verdict == claim(greater, smaller, margin=margin).verdict


@given(PAIRS, NUMBERS, NUMBERS)
def test_a_larger_margin_never_improves_the_verdict(pairs, one, other):
    greater, smaller = zip(*pairs, strict=True)
    below, above = sorted([one, other])
    strict = claim(greater, smaller, margin=above).verdict
    lenient = claim(greater, smaller, margin=below).verdict
    assert ORDER.index(strict) >= ORDER.index(lenient)


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(seeds):
    assert claim([5.0, 5.1][:seeds], [0.0, 0.0][:seeds]).verdict == "inconclusive"


def test_one_seed_has_an_unbounded_interval():
    assert claim([1.0], [0.0]).interval == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("greater", "verdict"),
    [(0.3, "inconclusive"), (0.300001, "holds"), (0.299999, "fails")],
)
def test_equal_measurements_decide_unless_they_lie_exactly_on_the_margin(greater, verdict):
    # In floating point 0.3 - 0.2 is below 0.1: rounding must not look like a failed claim.
    assert claim([greater] * 3, [0.2] * 3, margin=0.1).verdict == verdict


def test_equal_measurements_have_an_interval_of_width_zero():
    assert claim([7, 7, 7], [2, 2, 2]).interval == (5.0, 5.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "Not Kebab"}, "id is 'Not Kebab'.*hyphens"),
        ({"id": "ends-"}, "id is 'ends-'"),
        ({"sentence": "  "}, "sentence of claim 'a-claim' is empty"),
        ({"greater": {"A": [1.0], "C": [2.0]}}, "greater of claim 'a-claim'.*one name"),
        ({"greater": [1.0, 2.0, 3.0]}, "greater of claim 'a-claim'.*one name"),
        ({"smaller": {"B": []}}, "smaller of claim 'a-claim'.*at least one"),
        ({"smaller": {"B": [1.0, math.nan, 2.0]}}, "smaller.*nan.*finite"),
        ({"smaller": {"B": [1.0, 2.0]}}, "3 measurements in greater and 2 in smaller"),
        ({"margin": math.inf}, "margin of claim 'a-claim' is inf"),
    ],
)
def test_a_malformed_claim_is_refused_with_the_reason(change, message):
    good = {
        "id": "a-claim",
        "sentence": "A exceeds B.",
        "greater": {"A": [1.0, 2.0, 3.0]},
        "smaller": {"B": [0.0, 0.0, 0.0]},
    }
    with pytest.raises(ValueError, match=message):
        Claim(**{**good, **change})


def test_stored_claims_read_back_as_they_were(tmp_path):
    first = claim([1.5, 2.5, 1 / 3], [0, 0.1, 0.2], margin=0.1, unit="px", source="Section 2")
    second, third = decided("b", "fails"), claim([1.0], [0.0], name="c")
    assert claims.read(write(tmp_path / "n.ipynb", [first, second], [third])) == [
        first,
        second,
        third,
    ]


def test_a_typed_verdict_is_refused(tmp_path):
    path = write(tmp_path / "n.ipynb", [decided("a", "fails")])
    path.write_text(path.read_text().replace('"verdict": "fails"', '"verdict": "holds"'))
    with pytest.raises(ValueError, match=r"'a' is stored as 'holds'.*give 'fails'"):
        claims.read(path)


def test_the_book_is_read_by_chapter_without_checkpoints(tmp_path):
    a, b = decided("a", "holds"), decided("b", "fails")
    write(tmp_path / "02_y" / "01.ipynb", [b])
    write(tmp_path / "01_x" / "01.ipynb", [a])
    write(tmp_path / "01_x" / ".ipynb_checkpoints" / "01-checkpoint.ipynb", [a])
    book = claims.read_book(tmp_path)
    assert list(book.items()) == [("01_x/01.ipynb", [a]), ("02_y/01.ipynb", [b])]


def test_an_id_may_appear_only_once_in_the_book(tmp_path):
    write(tmp_path / "1.ipynb", [decided("same", "holds")])
    write(tmp_path / "2.ipynb", [decided("same", "holds")])
    with pytest.raises(ValueError, match=r"\['same'\] appear more than once"):
        claims.read_book(tmp_path)


def test_an_id_may_appear_only_once_in_a_ledger():
    with pytest.raises(ValueError, match=r"\['same'\] appear more than once"):
        claims.show(decided("same", "holds"), decided("same", "fails"))


def test_an_empty_ledger_is_refused():
    with pytest.raises(ValueError, match="no claim"):
        claims.show()


@pytest.mark.parametrize("stored", ORDER)
@pytest.mark.parametrize("fresh", ORDER)
def test_only_a_reversed_verdict_is_a_flip(stored, fresh):
    found = claims.flips([decided("a", stored)], [decided("a", fresh)])
    assert found == (["a"] if {stored, fresh} == {"holds", "fails"} else [])


def test_runs_that_make_other_claims_cannot_be_compared():
    with pytest.raises(ValueError, match=r"lacks the claims \['a'\] and adds \['b'\]"):
        claims.flips([decided("a", "holds")], [decided("b", "holds")])


def test_the_page_says_the_verdict_in_words_with_escaped_text_and_no_colour():
    shown = Claim("a", "1 < 2 & so on", {"<b>": [2, 2, 2]}, {"one": [1, 1, 1]}, source="Sec. <1>")
    html = claims._Ledger([shown])._repr_mimebundle_()["text/html"]
    for written in ("holds", "1 &lt; 2 &amp; so on", "&lt;b&gt;: 2", "Sec. &lt;1&gt;"):
        assert written in html
    for unwanted in ("<b>", "color", "#"):
        assert unwanted not in html


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (-1.5, "−1.5"),
        (123456.0, "123,456"),
        (123456.7, "123,500"),
        (9999.9, "10,000"),
        (-0.0, "0"),
        (1.23456e-7, "1.235e−07"),
    ],
)
def test_numbers_on_the_page_have_four_significant_digits(value, text):
    assert claims._number(value) == text


def test_show_displays_data_words_and_table_in_one_output(capsys):
    IPython = pytest.importorskip("IPython")
    shell = IPython.core.interactiveshell.InteractiveShell.instance()
    with IPython.utils.capture.capture_output() as captured:
        shell.run_cell(
            "from mtl_lib.claims import *\n"
            "show(Claim('a', 'A exceeds B.', {'A': [1, 2, 3]}, {'B': [0, 0, 0]}))"
        )
    (output,) = captured.outputs
    assert set(output.data) == {MIME, "text/html", "text/plain"}
    assert output.data["text/plain"].startswith("inconclusive  a: difference 2 [")


def test_the_table_of_the_book_has_a_row_with_a_link_for_every_claim(tmp_path, capsys):
    write(tmp_path / "1/a.ipynb", [decided("first", "holds"), decided("second", "fails")])
    write(tmp_path / "2/b.ipynb", [decided("third", "inconclusive")])
    book = claims.read_book(tmp_path)
    page = claims._Book(book, tmp_path)._repr_html_()
    assert page.count("<tr>") == 1 + 3
    assert f'href="{tmp_path.as_posix()}/1/a.ipynb#claim-second">a</a>' in page
    claims.show_book(book, tmp_path)
    assert "inconclusive  third" in capsys.readouterr().out


def test_a_table_of_no_claim_is_refused(tmp_path):
    with pytest.raises(ValueError, match="run the chapters first"):
        claims.show_book({"a.ipynb": []}, tmp_path)
