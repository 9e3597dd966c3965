"""How the checks of exercises are asked."""

import pytest

from mtl_lib.exercises import check


@pytest.fixture
def said(capsys):
    """What `check` prints about an answer, as one line."""

    def ask(label, answer):
        check(label, answer)
        return " ".join(capsys.readouterr().out.split())

    return ask
