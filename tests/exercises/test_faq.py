"""Checks of part 6: right answers pass, and each likely mistake has its hint."""

import pytest

NEW = "transfer-new-style-"
ROWS = [(f"{NEW}flat", 1), (f"{NEW}negative", 1)]

RIGHT = [
    ("faq-row", ROWS),
    ("faq-row", ROWS[::-1]),
    ("faq-chance", lambda n: 0.05 * n),
    ("faq-chance", lambda n: n // 20),
]

WRONG = [
    ("faq-row", [*ROWS, ("transfer-styles-without-flat", 1)], "*new* style"),
    ("faq-row", [*ROWS, (f"{NEW}flat-fine-tuned", 1)], "Both sides"),
    ("faq-row", [*ROWS, (f"{NEW}flat-many", 1)], "Both sides"),
    ("faq-row", ROWS[:1], "missing"),
    ("faq-row", [], "missing"),
    ("faq-row", [ROWS[0], (f"{NEW}negative", -1)], "sentences"),
    ("faq-chance", lambda n: 0.95 * n, "hold the truth"),
    ("faq-chance", lambda n: 0.025 * n, "either side"),
    ("faq-chance", lambda n: 5 * n, "per cent"),
    ("faq-chance", lambda n: 0.05, "one claim"),
    ("faq-chance", lambda n: 0.5 * n, "what share"),
]


@pytest.mark.parametrize(("label", "answer"), RIGHT)
def test_right_answers_pass(said, label, answer):
    assert said(label, answer) == f"{label}: right."


@pytest.mark.parametrize(("label", "answer", "word"), WRONG)
def test_a_mistake_gets_its_hint(said, label, answer, word):
    found = said(label, answer)
    assert found.startswith(f"{label}: not yet.")
    assert word in found


@pytest.mark.parametrize("label", dict(RIGHT))
@pytest.mark.parametrize("answer", [None, "x", 3])
def test_an_answer_of_another_type_gets_a_hint(said, label, answer):
    assert said(label, answer).startswith(f"{label}: not yet.")
