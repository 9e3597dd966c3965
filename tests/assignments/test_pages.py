"""Texts of students and sets become pages that show formulas and run nothing."""

import nbformat
import pytest
from course import SOURCE, sets
from pages import markdown


@pytest.mark.parametrize(
    "formula",
    [
        r"\frac12 + \tfrac 1 2",
        r"x_1, \dots, x_n",
        r"a \iff b",
        r"\begin{align*} a &= b \nonumber \\ c &= d \end{align*}",
        r"\lVert \hat x \rVert^2 \le \operatorname{tr}(S)",
    ],
)
def test_usual_formulas_are_typeset(formula):
    page = markdown(f"Because $${formula}$$ holds.")
    assert "<math" in page
    assert "<code>" not in page


def test_a_formula_that_nobody_can_read_is_shown_as_it_was_typed():
    assert r"<code>$\nosuchcommand{x}$</code>" in markdown(r"So $\nosuchcommand{x}$.")


def test_dollars_in_code_and_prices_are_no_formulas():
    page = markdown("It costs $5 and $6, and `$x$` is code.")
    assert "<math" not in page


def test_no_word_of_a_student_is_taken_for_a_mark_of_the_page():
    page = markdown("KEPT0X and KEPT7X and $x$ and ![](KEPT0X)")
    assert "KEPT0X and KEPT7X and <math" in page


@pytest.mark.parametrize("name", sets())
def test_every_formula_of_a_set_is_typeset(name):
    for cell in nbformat.read(SOURCE / name / f"{name}.ipynb", 4).cells:
        if cell.cell_type == "markdown":
            assert "<code>$" not in markdown(cell.source), cell.source


def test_lists_go_on_counting_after_a_formula():
    assert '<ol start="2">' in markdown("1. one\n\n$$x$$\n\n2. two")


def test_a_picture_that_was_pasted_is_shown_and_no_other_file_is():
    attached = {"proof.png": {"image/png": "aGVsbG8="}}
    page = markdown("![](attachment:proof.png) ![](file:///etc/passwd)", attached)
    assert 'src="data:image/png;base64,aGVsbG8="' in page
    assert "file://" not in page
