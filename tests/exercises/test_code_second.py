"""Checks of part 4, second half: right answers pass, and each likely mistake has its hint."""

import math

import pytest
import torch

from mtl_lib.networks import min_snr


def turned(x, v, t, s):
    angle = (t - s) * math.pi / 2
    return torch.cos(angle) * x - torch.sin(angle) * v


def wrong_weight(t):
    snr = 1 / torch.tan(t * torch.pi / 2) ** 2
    return (snr + 1).clamp(max=5) / (snr + 1)


def share_of_noise(t):
    return torch.sin(t * torch.pi / 2) ** 2


STEPS = {2: 0.02, 4: 0.008, 8: 0.0024, 15: 0.0006}
DEPTH = {0.0: 1.6, 0.5: 1.9, 1.0: 8.2}


def on_lines(of_row, spread=torch.rand):
    """Times on one of five lines, chosen by the number of the row."""

    def times(n):
        t = spread(n)
        zero, one = torch.zeros(n), torch.ones(n)
        x, y = (torch.stack(parts) for parts in ((t, t, zero, t, one), (t, zero, t, one, t)))
        rows, columns = of_row(torch.arange(n)), torch.arange(n)
        return torch.stack([x[rows, columns], y[rows, columns]], dim=1)

    return times


RIGHT = {
    "diffusion-turn": [turned, lambda x, v, t, s: torch.lerp(turned(x, v, t, s), x, 0.0)],
    "diffusion-wrong": [
        lambda t: wrong_weight(t) - min_snr(t),
        lambda t: (wrong_weight(t) - min_snr(t)).float(),
    ],
    "diffusion-steps": [STEPS, {count: torch.tensor(value) for count, value in STEPS.items()}],
    "onemodel-questions": [lambda m: 3**m - 2**m],
    "onemodel-sixth": [DEPTH, {0: 1.7, 0.5: 2.2, 1: 8.9}],
    "onemodel-lines": [on_lines(lambda i: i % 5), on_lines(lambda i: torch.randint(5, i.shape))],
}

WRONG = [
    ("diffusion-turn", lambda x, v, t, s: turned(x, v, s, t), "wrong way"),
    ("diffusion-turn", lambda x, v, t, s: turned(x, -v, t, s), "sign"),
    ("diffusion-turn", lambda x, v, t, s: turned(x, v, t / 90, s / 90), "sums of angles"),
    ("diffusion-turn", lambda x, v, t, s: (t - s).cos() * x - (t - s).sin() * v, "radians"),
    ("diffusion-wrong", wrong_weight, "itself"),
    ("diffusion-wrong", lambda t: min_snr(t) - wrong_weight(t), "sign"),
    ("diffusion-wrong", share_of_noise, "Right at large t"),
    ("diffusion-wrong", lambda t: 0 * t, "Right at small t"),
    ("diffusion-wrong", lambda t: 0.0, "Right at small t"),
    ("diffusion-wrong", lambda t: 1 - share_of_noise(t), "three ranges"),
    ("diffusion-wrong", lambda t: t / 0, "three ranges"),
    ("diffusion-steps", dict.fromkeys(STEPS, 0.06), "same noise"),
    ("diffusion-steps", {2: 0.02, 4: 0.03, 8: 0.01, 15: 0.001}, "60 steps"),
    ("diffusion-steps", {n: 784 * value for n, value in STEPS.items()}, "mean of the squares"),
    ("diffusion-steps", {n: value**0.5 for n, value in STEPS.items()}, "mean of the squares"),
    ("diffusion-steps", [*STEPS.values()], "keys 2, 4, 8, 15"),
    ("onemodel-questions", lambda m: 3**m, "in which nothing"),
    ("onemodel-questions", lambda m: 3**m - 1, "more than one case"),
    ("onemodel-questions", lambda m: 2**m - 1, "given or ignored"),
    ("onemodel-questions", lambda m: 5 if m == 2 else 211, "For m = 3"),
    ("onemodel-questions", {2: 5, 5: 211}, "a function m"),
    ("onemodel-sixth", {0: 54.7, 0.5: 5.0, 1: 75.7}, "first of both times"),
    ("onemodel-sixth", {t: value / 1000 for t, value in DEPTH.items()}, "1000"),
    ("onemodel-sixth", {0: 279, 0.5: 189, 1: 123}, "channel 3"),
    ("onemodel-sixth", {0: 1.6, 0.5: 14.5, 1: 36.6}, "told to the network"),
    ("onemodel-sixth", {0: 3.4, 0.5: 5.2, 1: 8.2}, "between -1 and 1"),
    ("onemodel-sixth", {0: 1.6, 0.5: 1.6, 1: 1.6}, "mixed with noise"),
    ("onemodel-lines", torch.rand(2000, 2), "not callable"),
    ("onemodel-lines", lambda n: torch.rand(n, 2), "inside the square"),
    ("onemodel-lines", lambda n: torch.rand(2, n), "(2, 2000)"),
    ("onemodel-lines", lambda n: 2 * on_lines(lambda i: i % 5)(n), "between 0 and 1"),
    ("onemodel-lines", on_lines(torch.zeros_like), "one line"),
    ("onemodel-lines", on_lines(lambda i: i % 4), "0.0]"),
    (
        "onemodel-lines",
        on_lines(lambda i: i % 5, lambda n: torch.rand(n) ** 4),
        "hardly visited",
    ),
]


@pytest.mark.parametrize(
    ("label", "answer"), [(label, answer) for label in RIGHT for answer in RIGHT[label]]
)
def test_right_answers_pass(said, label, answer):
    assert said(label, answer) == f"{label}: right."


@pytest.mark.parametrize(("label", "answer", "word"), WRONG)
def test_a_mistake_gets_its_hint(said, label, answer, word):
    found = said(label, answer)
    assert found.startswith(f"{label}: not yet.")
    assert word in found


@pytest.mark.parametrize("label", RIGHT)
@pytest.mark.parametrize("answer", [None, "x", 3])
def test_an_answer_of_another_type_gets_a_hint(said, label, answer):
    assert said(label, answer).startswith(f"{label}: not yet.")
