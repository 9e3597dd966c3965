"""Checks of part 2: right answers pass, and each likely mistake has its hint."""

import copy
import math

import pytest
import torch
from torch import nn

from mtl_lib.networks import CrossStitch, Decoder, ImageHead

BOUND = {"parameters": 0.8885, "operations": 0.8050}
RATES = {rate: 0.5 + abs(rate - 0.01) for rate in (0.0025, 0.005, 0.01, 0.02, 0.04)}
TUNED = {"separate": RATES, "hard": {rate: 0.2 + e for rate, e in RATES.items()}}
TUNED |= {"less error": "separate"}
LONG = {"speed": "catches up", "room": "stays behind", "found": "stays behind"}
OWN = {"own": 96, "share": 0.00216}
FACES = {"before": 8.7, "after": 30.3, "joint": 13.3}


def signs(factors, worn):
    return lambda x: torch.cat([factors * x[:, :10], worn * x[:, 10:]], dim=1)


def flipped_in_place(x):
    x[:, :10] *= -1
    return x


def one_minus_factors(x):
    return torch.cat([1 - x[:, :10], x[:, 10:]], dim=1)


FLIP = {"flip": signs(-1, 1), "gain": 0.03}


def stitched(table, blocks=3):
    """A cross-stitch network whose first blocks have this α, and the others what is separate."""
    columns = {
        task: [nn.Linear(15, 64), nn.Sequential(*layers[:4]), nn.Sequential(*layers[4:])]
        for task, layers in ((task, list(Decoder(64, size=16))) for task in "abc")
    }
    model = CrossStitch(columns, {task: ImageHead(16, 1) for task in "abc"})
    with torch.no_grad():
        model.alpha.copy_(torch.eye(3).expand_as(model.alpha))
        model.alpha[:blocks] = table
    return model


EYE, ONES = torch.eye(3), torch.ones(3, 3)


def learner(*, copied=True, added=True, own_head=True, chosen=lambda model: model.parameters()):
    """A function like `norms_only`, for the exercise with a head of the new style's own."""

    def learn(base, new, n, seed):
        model = copy.deepcopy(base) if copied else base
        if added:
            model.add_style(new)
        if own_head:
            model.heads[new] = copy.deepcopy(model.heads["shaded"])
        return model, chosen(model), 0.03

    return learn


def norms(model):
    head = {id(p) for p in model.heads["negative"].parameters()}
    return [p for p in model.task_parameters("negative") if id(p) not in head]


def norms_and_head(model):
    return model.task_parameters("negative")


RIGHT = [
    ("relatedness-angle", 45),
    ("relatedness-angle", torch.tensor(45.0)),
    ("relatedness-crossover", {80: 0.11, 160: -0.13}),
    ("relatedness-crossover", {300: -0.23, 40: 0.23, 100: 0.0}),
    ("relatedness-crossover", {40: -0.03, 80: -0.05, 160: -0.04, 300: -0.03}),
    ("relatedness-sign", FLIP),
    ("relatedness-sign", {"flip": flipped_in_place, "gain": -0.2}),
    ("sharing-bound", BOUND),
    ("sharing-bound", {"parameters": 0.89, "operations": 0.8}),
    ("sharing-identity", stitched(EYE)),
    ("sharing-rate", TUNED),
    ("sharing-long", LONG),
    ("transfer-count", OWN),
    ("transfer-count", {"own": 96, "share": 96 / 44428}),
    ("transfer-forget", FACES),
    ("transfer-bias", learner(chosen=norms_and_head)),
    ("transfer-bias", learner(chosen=lambda model: iter(norms_and_head(model)))),
]

WRONG = [
    ("relatedness-angle", math.pi / 4, "radians"),
    ("relatedness-angle", 0.707, "cosine"),
    ("relatedness-angle", 90, "φ = 1"),
    ("relatedness-angle", 0.5, "units"),
    ("relatedness-angle", 30, "diagonal"),
    ("relatedness-crossover", {40: 0.2, 300: -0.2}, "between 40 and 300"),
    ("relatedness-crossover", {80: 11, 160: -13}, "below 1"),
    ("relatedness-crossover", {80: 0.1, 100: 0.05}, "larger number"),
    ("relatedness-crossover", {160: -0.1, 200: -0.2}, "smaller number"),
    ("relatedness-crossover", {80: math.nan}, "finite"),
    ("relatedness-sign", FLIP | {"flip": signs(-1, -1)}, "Headwear"),
    ("relatedness-sign", FLIP | {"flip": one_minus_factors}, "between −1 and 1"),
    ("relatedness-sign", FLIP | {"flip": lambda x: 1 - x}, "both subtracted"),
    ("relatedness-sign", FLIP | {"flip": lambda x: x}, "Nothing changed"),
    ("relatedness-sign", FLIP | {"flip": lambda x: 2 * x}, "one factor"),
    ("relatedness-sign", FLIP | {"gain": 3}, "below 1"),
    ("relatedness-sign", FLIP | {"gain": math.nan}, "finite"),
    ("sharing-bound", {"parameters": 0.9, "operations": 0.9}, "cost nothing"),
    ("sharing-bound", {key: 1 - share for key, share in BOUND.items()}, "left"),
    ("sharing-bound", {key: 100 * share for key, share in BOUND.items()}, "between 0 and 1"),
    ("sharing-bound", {"parameters": 0.8988, "operations": 0.8895}, "Each of the ten"),
    ("sharing-bound", {"parameters": 0.805, "operations": 0.8885}, "change places"),
    ("sharing-bound", {"parameters": 0.5, "operations": 0.5}, "9 trunks"),
    ("sharing-bound", {"parameters": 0.89}, "'operations'"),
    ("sharing-identity", EYE, "hand in the network"),
    ("sharing-identity", stitched(ONES / 3), "of another"),
    ("sharing-identity", stitched(0.85 * EYE + 0.05), "of another"),
    ("sharing-identity", stitched(ONES / 3, blocks=2), "every block"),
    ("sharing-identity", stitched(0 * EYE), "diagonal"),
    ("sharing-identity", stitched(2 * EYE), "another size"),
    ("sharing-rate", TUNED | {"hard": {0.01: 0.7}}, "five learning rates"),
    ("sharing-rate", TUNED | {"hard": dict.fromkeys(RATES, -1)}, "positive"),
    ("sharing-rate", TUNED | {"hard": dict.fromkeys(RATES, 0.7)}, "reach the training"),
    ("sharing-rate", TUNED | {"less error": "neither"}, "one of"),
    ("sharing-rate", TUNED | {"less error": "hard"}, "best rate for each"),
    ("sharing-long", LONG | {"speed": "stays behind"}, "less effective"),
    ("sharing-long", LONG | {"room": "catches up"}, "wider"),
    ("sharing-long", LONG | {"found": "catches up"}, "rows"),
    ("sharing-long", LONG | {"found": "no"}, "one of"),
    ("transfer-count", OWN | {"own": 48}, "*and* a shift"),
    ("transfer-count", OWN | {"own": 192}, "two styles"),
    ("transfer-count", OWN | {"own": 64}, "both have a norm"),
    ("transfer-count", OWN | {"own": 32}, "one layer"),
    ("transfer-count", OWN | {"own": 1000}, "For each channel"),
    ("transfer-count", OWN | {"share": 0.216}, "per cent"),
    ("transfer-count", OWN | {"share": 0.5}, "Divide"),
    ("transfer-forget", FACES | {"after": 3000}, "0 and 1000"),
    ("transfer-forget", {key: error / 1000 for key, error in FACES.items()}, "Multiply"),
    ("transfer-forget", FACES | {"after": 8.7}, "new network"),
    ("transfer-forget", FACES | {"after": 7}, "which head"),
    ("transfer-forget", FACES | {"joint": 60}, "faces as well"),
    ("transfer-forget", {"before": 8.7, "after": 30.3}, "'joint'"),
    ("transfer-bias", learner(copied=False), "copy it first"),
    ("transfer-bias", learner(added=False, own_head=False), "add_style"),
    ("transfer-bias", learner(own_head=False), "share this head"),
    ("transfer-bias", learner(chosen=norms), "not among"),
    ("transfer-bias", learner(chosen=lambda m: m.heads["negative"].parameters()), "as well as"),
    ("transfer-bias", learner(), "Too many"),
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
