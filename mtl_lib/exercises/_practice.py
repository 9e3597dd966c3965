"""One check for each practice exercise, found by its label."""

import importlib
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor

Examine = Callable[[Any], str | None]


@dataclass(frozen=True)
class Practice:
    """What answers an exercise, and what to say to a wrong answer."""

    label: str
    wants: str
    examine: Examine


WIDTH = 78  # of the lines that are printed: they fit on a page
PRACTICE: dict[str, Practice] = {}
PARTS = ("_background", "_concepts", "_loss_math", "_code", "_challenges", "_faq")


def load() -> dict[str, Practice]:
    """Import the checks of all parts, and return them by label."""
    for part in PARTS:
        importlib.import_module(f"mtl_lib.exercises.{part}")
    return PRACTICE


def practice(label: str, wants: str) -> Callable[[Examine], Examine]:
    """Make a function the check of the exercise with a label.

    The function takes the answer and returns a hint, or None where the answer is right.
    ``wants`` says in a few words what an answer is, for instance "a function q → decibels".
    """

    def register(examine: Examine) -> Examine:
        if label in PRACTICE:
            raise ValueError(f"the exercise {label!r} has two checks: rename one of them")
        PRACTICE[label] = Practice(label, wants, examine)
        return examine

    return register


def check(label: str, answer: object) -> None:
    """Print whether an answer to a practice exercise is right, and a hint where it is not.

    Args:
        label: the exercise's name, as it stands in the cell below the exercise.
        answer: what the exercise asks for; the dots ``...`` stand for no answer yet.

    Raises:
        ValueError: if no exercise has this label.

    Example:
        >>> check("conflict-upgrad", ...)  # doctest: +ELLIPSIS
        conflict-upgrad: no answer yet. Wanted: ...
    """
    known = load()
    if label not in known:
        raise ValueError(
            f"label is {label!r}, and no practice exercise has that name: "
            f"take the one of the exercise's own cell, one of {', '.join(sorted(known))}"
        )
    print(textwrap.fill(f"{label}: {verdict(known[label], answer)}", WIDTH))


def verdict(exercise: Practice, answer: object) -> str:
    """Return what is to be said to an answer."""
    if isinstance(answer, EllipsisType):
        return f"no answer yet. Wanted: {exercise.wants}."
    try:
        hint = exercise.examine(answer)
    except Exception as error:
        hint = f"checking it raised {type(error).__name__}: {error}. Wanted: {exercise.wants}."
    return "right." if hint is None else f"not yet. {hint}"


def close(answer: object, wanted: object, tolerance: float = 1e-3) -> bool:
    """Whether numbers or tensors, of any shape but the same, agree within a relative tolerance."""
    a, b = (torch.as_tensor(value, dtype=torch.float64) for value in (answer, wanted))
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=tolerance, atol=1e-9))


def hint_for(
    found: object,
    wanted: object,
    mistakes: Mapping[str, object],
    otherwise: str,
    tolerance: float = 1e-3,
) -> str | None:
    """Return None where numbers are the wanted ones, else the hint of the mistake behind them."""
    if close(found, wanted, tolerance):
        return None
    hints = (hint for hint, wrong in mistakes.items() if close(found, wrong, tolerance))
    return next(hints, otherwise)


def choice(answer: object, options: Iterable[str]) -> str | None:
    """Return a hint where an answer is none of the options, a set of words."""
    words = list(options)
    if isinstance(answer, str) and answer in words:
        return None
    return f"Got {answer!r}, wanted one of {', '.join(map(repr, words))}."


def numbers(answer: object, keys: Iterable[Any]) -> str | None:
    """Return a hint where an answer is not a dictionary of finite numbers with these keys."""
    names = list(keys)
    if not isinstance(answer, Mapping) or set(answer) != set(names):
        return f"Wanted a dictionary with the keys {', '.join(map(repr, names))}, got {answer!r}."
    for name in names:
        value = answer[name]
        if isinstance(value, Tensor) and value.numel() != 1:
            return f"The value of {name!r} has shape {tuple(value.shape)}, wanted one number."
        if not torch.isfinite(torch.as_tensor(float(value))):
            return f"The value of {name!r} is {value}, wanted a finite number."
    return None
