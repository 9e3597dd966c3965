"""Checks of part 1: right answers pass, and each likely mistake has its hint."""

import math

import pytest
import torch

COUNT = {"head": 7812, "largest": ["trunk.1.0", "trunk.1.4"]}
OVERLAPS = {"face": 0.82, "body": 0.69}
ERRORS = {
    1: {"portrait": 11.1, "depth": 1.2, "parts": 3.3},
    3: {"portrait": 6.2, "depth": 1.9, "parts": 5.0},
    10: {"portrait": 4.8, "depth": 3.0, "parts": 8.6},
    "separate": {"portrait": 4.9, "depth": 0.7, "parts": 2.4},
}
WEIGHTS = {"errors": ERRORS, "as good": [], "pays": ["parts", "depth"]}
GOOD_AT_3 = ERRORS | {3: ERRORS["separate"]}
NEGATIVE = ERRORS | {3: ERRORS[3] | {"depth": -1.9}}


def mix(portrait, depth):
    return lambda p, d: portrait * p + depth * d


def decibels(share):
    return lambda q: -10 * math.log10(share * q)


def coverage_density(real, fake, k=3, divisor=3):
    near = torch.cdist(real, real).sort(dim=1).values[:, k]
    inside = torch.cdist(real, fake) <= near[:, None]
    return inside.any(1).double().mean(), inside.double().sum(0).mean() / divisor


RIGHT = [
    ("why-count", COUNT),
    ("why-count", {"head": 7812.0, "largest": ("trunk.1.4.weight", "trunk.1.0.weight")}),
    ("why-bounds", OVERLAPS),
    ("why-weights", WEIGHTS),
    ("why-weights", {"errors": GOOD_AT_3, "as good": [3.0], "pays": ["depth", "parts"]}),
    ("why-four-channels", mix(0.75, 0.25)),
    ("measuring-psnr", decibels(0.25)),
    ("measuring-psnr", lambda q: 6.02 - 10 * math.log10(q)),
    ("measuring-floor", lambda a, b: 2 * b - a),
    ("measuring-spoiled-copies", {"noise": 0.06, "blurred": 0.0}),
    ("measuring-spoiled-copies", {"noise": torch.tensor(0.07), "blurred": 0.01}),
    ("measuring-recall", coverage_density),
]

WRONG = [
    ("why-count", COUNT | {"head": 24 * 9 * 9 + 9}, "four pixels"),
    ("why-count", COUNT | {"head": 24 * 36 * 9}, "bias"),
    ("why-count", COUNT | {"head": 24 * 36 + 36}, "3×3"),
    ("why-count", COUNT | {"head": 36}, "how many channels"),
    ("why-count", COUNT | {"largest": ["trunk.1.0", "heads.parts.0"]}, "Sort"),
    ("why-count", COUNT | {"largest": ["trunk.1.0"]}, "Sort"),
    ("why-bounds", {"face": 1.0, "body": 1.0}, "same person"),
    ("why-bounds", {"face": 0.69, "body": 0.82}, "change places"),
    ("why-bounds", {"face": 82, "body": 69}, "between 0 and 1"),
    ("why-bounds", {"face": 0.5, "body": 0.4}, "validation people"),
    ("why-bounds", {"face": 0.82}, "'body'"),
    ("why-weights", WEIGHTS | {"errors": {1: ERRORS[1]}}, "λ = 1, 3 and 10"),
    ("why-weights", WEIGHTS | {"errors": ERRORS | {"separate": [1, 2, 3]}}, "'portrait'"),
    ("why-weights", WEIGHTS | {"errors": NEGATIVE}, "never negative"),
    ("why-weights", WEIGHTS | {"errors": ERRORS | {10: ERRORS[1]}}, "reach the training"),
    ("why-weights", WEIGHTS | {"as good": [10]}, "*every* task"),
    ("why-weights", WEIGHTS | {"errors": GOOD_AT_3}, "*every* task"),
    ("why-weights", WEIGHTS | {"pays": ["portrait"]}, "own numbers"),
    ("why-four-channels", mix(1, 1), "sum of two means"),
    ("why-four-channels", mix(0.5, 0.5), "alike"),
    ("why-four-channels", mix(0.25, 0.75), "three of the channels"),
    ("why-four-channels", mix(3, 1), "sum over the channels"),
    ("why-four-channels", lambda p, d: p * d, "how many of the four"),
    ("measuring-psnr", decibels(1), "black copy"),
    ("measuring-psnr", decibels(0.5), "its square"),
    ("measuring-psnr", lambda q: 10 * math.log10(q / 4), "sign"),
    ("measuring-psnr", decibels(4), "wrong side"),
    ("measuring-psnr", lambda q: -10 * math.log(q / 4), "base 10"),
    ("measuring-psnr", lambda q: q / 4, "share of q"),
    ("measuring-floor", lambda a, b: 2 * a - b, "go on"),
    ("measuring-floor", lambda a, b: (a + b) / 2, "middle"),
    ("measuring-floor", lambda a, b: b - a, "step"),
    ("measuring-floor", lambda a, b: a - b, "goes away"),
    ("measuring-floor", lambda a, b: max(0, 2 * b - a), "scatter"),
    ("measuring-floor", lambda a, b: b, "equally long"),
    ("measuring-spoiled-copies", {"noise": 0.03, "blurred": 0}, "needs more"),
    ("measuring-spoiled-copies", {"noise": 0.1, "blurred": 0}, "needs less"),
    ("measuring-spoiled-copies", {"noise": 0.06, "blurred": 1}, "Blur the copied"),
    ("measuring-spoiled-copies", {"noise": math.inf, "blurred": 0}, "finite"),
    ("measuring-recall", lambda x, y: coverage_density(x, y)[::-1], "first"),
    ("measuring-recall", lambda x, y: coverage_density(y, x), "around the real"),
    ("measuring-recall", lambda x, y: coverage_density(x, y, k=2), "itself"),
    ("measuring-recall", lambda x, y: coverage_density(x, y, divisor=1), "Divide"),
    ("measuring-recall", lambda x, y: (0.5, 0.5), "Then count"),
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
