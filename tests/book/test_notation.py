"""Every letter that a chapter uses as a symbol stands in the notation page."""

import re
from pathlib import Path

import notebooks
import pytest

ROOT = Path(__file__).parents[2]
WORDS = r"\\(?:text|operatorname\*?|mathrm|begin|end|tag)\s*\{[^{}]*\}"
GREEK = set(
    re.findall(
        r"\w+",
        "alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi "
        "rho sigma tau phi varphi chi psi omega ell",
    )
)


def letters(markdown):
    """The letters, Latin and Greek, of all formulas, without indices' words."""
    markdown = re.sub(r"^(`{3,}).*?^\1", "", markdown, flags=re.S | re.M)  # code and exercises
    formulas = re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", markdown, flags=re.S)
    maths = re.sub(WORDS, " ", " ".join(map("".join, formulas)))
    commands = set(re.findall(r"\\([A-Za-z]+)", maths))
    return (commands & GREEK) | set(re.findall("[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", maths)))


@pytest.mark.parametrize("path", notebooks.chapters(), ids=lambda path: path.stem)
def test_every_letter_of_a_chapter_is_in_the_notation(path):
    known = letters((ROOT / "book" / "notation.md").read_text("utf-8")) | {"pi"}
    cells = [c.source for c in notebooks.load(path).cells if c.cell_type == "markdown"]
    assert letters("\n\n".join(cells)) - known == set()
