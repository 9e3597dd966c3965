"""Checks of part 3 accept right answers, and have a fitting hint for each likely mistake."""

import math

import pytest
import torch

from mtl_lib.balancing import MGDA, Mean, PCGrad, UPGrad

SCALE = {"gradient descent": 1000, "Adam": 1.001}
UNIT = {"geometric mean": 1, "sum": 100, "uncertainty": 100}
LOG_TERM = {"s": 2.159, "total": 0.0173, "weight": 0.0577}
# The sum of these gradients is 0, so whatever helps two of them harms the third.
HARMED = torch.tensor([[0.0, 3.0], [2.0, 0.0], [-2.0, -3.0]])

RIGHT = {
    "sum-scale": [SCALE],
    "sum-stationary": [lambda share: min(1.0, ((1 - share) / (2 * share)) ** 2)],
    "sum-mu": [
        lambda losses, weights: (weights * losses).mean(),
        lambda losses, weights: sum(a * b for a, b in zip(losses, weights, strict=True)) / 3,
    ],
    "choosing-unit": [UNIT],
    "choosing-laplace": [
        lambda loss, s: torch.exp(-s) * loss + s,
        lambda loss, s: math.exp(-s) * loss + s + math.log(2),
    ],
    "choosing-log-term": [LOG_TERM, {**LOG_TERM, "total": 0.0176}],  # before the last step
    "conflict-upgrad": [UPGrad(), lambda pair: PCGrad()(pair) / 2],
    "conflict-nash": [lambda p: p.sum().sqrt(), lambda p: math.sqrt(sum(p))],
    "conflict-three": [HARMED, HARMED * 1e-4],
}

WRONG = [
    ("sum-scale", {**SCALE, "gradient descent": 0.001}, "ratio over"),
    ("sum-scale", {**SCALE, "gradient descent": 1}, "learning rate times"),
    ("sum-scale", {**SCALE, "Adam": 1000}, "divides by the size"),
    ("sum-scale", {**SCALE, "Adam": 0.01}, "divide the lengths"),
    ("sum-scale", {"Adam": 1}, "'gradient descent'"),
    ("sum-stationary", lambda share: ((1 - share) / (2 * share)) ** 2, "Right above 1/3"),
    ("sum-stationary", lambda share: min(1, (1 - share) / (2 * share)), "square root"),
    ("sum-stationary", lambda share: max(0, 1 - (1 - share) / (2 * share)), "second loss"),
    ("sum-stationary", lambda share: min(1, (share / (2 - 2 * share)) ** 2), "Which weight"),
    ("sum-stationary", lambda share: 1 - share, "to zero"),
    ("sum-mu", lambda losses, weights: (weights * losses).sum(), "Nearly"),
    ("sum-mu", lambda losses, weights: (weights * losses).max(), "small μ"),
    ("sum-mu", lambda losses, weights: losses.mean(), "stay in the limit"),
    ("sum-mu", lambda losses, weights: (weights * losses).sum() / weights.sum(), "sum to 1"),
    ("sum-mu", lambda losses, weights: (weights * losses).exp().sum().log(), "1 + λL/μ"),
    ("choosing-unit", {**UNIT, "sum": 1}, "Sum: "),
    ("choosing-unit", {**UNIT, "geometric mean": 100}, "Put in both losses"),
    ("choosing-unit", {**UNIT, "geometric mean": 100 ** (1 / 3)}, "common"),
    ("choosing-unit", {**UNIT, "geometric mean": 0.01}, "weight alone"),
    ("choosing-unit", {**UNIT, "uncertainty": 1}, "s is still 0"),
    ("choosing-unit", ["geometric mean"], "'uncertainty'"),
    ("choosing-laplace", lambda loss, s: 0.5 * torch.exp(-s) * loss + 0.5 * s, "Gaussian"),
    ("choosing-laplace", lambda loss, s: torch.exp(-s / 2) * loss + s / 2, "scale itself"),
    ("choosing-laplace", lambda loss, s: torch.exp(-s) * loss, "integrate to 1"),
    ("choosing-laplace", lambda loss, s: torch.exp(-s) * loss - s, "sign"),
    ("choosing-laplace", lambda loss, s: torch.exp(-s) * loss**2 + s, "Write down"),
    ("choosing-log-term", {**LOG_TERM, "s": math.log(0.3)}, "½ s"),
    ("choosing-log-term", {**LOG_TERM, "s": 0}, "subtract the derivative"),
    ("choosing-log-term", {**LOG_TERM, "s": float("nan")}, "finite"),
    ("choosing-log-term", {**LOG_TERM, "weight": 0.1154}, "the ½"),
    ("choosing-log-term", {**LOG_TERM, "weight": 0.5}, "Weight: by what"),
    ("choosing-log-term", {**LOG_TERM, "total": 0.0577}, "Total: "),
    ("conflict-upgrad", PCGrad(), "mean or sum"),
    ("conflict-upgrad", Mean(), "cone"),
    ("conflict-upgrad", MGDA(), "cone"),
    ("conflict-nash", lambda p: len(p) ** 0.5, "where every entry of p is 1"),
    ("conflict-nash", lambda p: p.sum(), "square of the length"),
    ("conflict-nash", lambda p: 1.0, "what Gw is"),
    ("conflict-three", torch.eye(3), "adds them up"),
    ("conflict-three", torch.tensor([[1.0, 0.0], [-0.1, 1.0], [0.0, 1.0]]), "no task lost"),
    ("conflict-three", torch.zeros(3, 2), "none zero"),
    ("conflict-three", torch.ones(2, 3), "three rows"),
    ("conflict-three", HARMED.tolist(), "tensor with three rows"),
]


@pytest.mark.parametrize(
    ("label", "answer"), [(label, answer) for label in RIGHT for answer in RIGHT[label]]
)
def test_a_right_answer_is_right(said, label, answer):
    assert said(label, answer) == f"{label}: right."


@pytest.mark.parametrize(("label", "answer", "word"), WRONG)
def test_a_wrong_answer_gets_the_hint_of_its_mistake(said, label, answer, word):
    hint = said(label, answer)
    assert hint.startswith(f"{label}: not yet. ")
    assert word in hint
    assert "raised" not in hint


@pytest.mark.parametrize("answer", [None, "x", 3])
@pytest.mark.parametrize("label", RIGHT)
def test_an_answer_of_the_wrong_kind_gets_a_hint(said, label, answer):
    assert said(label, answer).startswith(f"{label}: not yet. ")
