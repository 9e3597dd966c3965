"""What `check` itself does, whatever the exercise."""

import pytest

from mtl_lib.exercises import check
from mtl_lib.exercises._practice import load, practice


def test_dots_are_no_answer_and_what_is_wanted_is_said(capsys):
    for label, exercise in load().items():
        check(label, ...)
        printed = capsys.readouterr().out
        assert max(map(len, printed.splitlines())) < 80
        assert " ".join(printed.split()) == f"{label}: no answer yet. Wanted: {exercise.wants}."


def test_an_unknown_label_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'nothing'.*conflict-upgrad"):
        check("nothing", 3)


def test_a_second_check_of_one_exercise_is_an_error():
    label = next(iter(load()))
    with pytest.raises(ValueError, match="two checks"):
        practice(label, "a number")(lambda answer: None)
