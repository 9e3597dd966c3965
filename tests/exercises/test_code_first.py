"""Checks of part 4, first half: right answers are right, likely mistakes have their hint."""

from functools import cache

import pytest
import torch
from torch import nn

from mtl_lib import weights
from mtl_lib.data import fashion
from mtl_lib.networks import Classifier, HardSharing

COUNT = {"head": 580, "percent": 3.4}
HEAVY = {"garment": 1.04, "silhouette": 1.21, "edges": 0.89}
KL = {"first": 2, "second": 1.81}
INNOCENT = {"nats": 1e-7, "differ": 0.04}
BALANCED = {"sum": 17.1, "MGDA": 0.0}
COLLAPSED = {"kid": 0.25, "precision": 0.9, "recall": 0.0, "GAN-test": 1.0}
SHARE = {"at 0.1": 0.61, "at 1": 0.7, "values": 2}


class Cut(nn.Module):
    """The article's way to make rows, of a size that does not fit the image."""

    def forward(self, x):
        return x.reshape(-1, 196)


def nearest_mean():
    """A layer that scores a garment by how near it is to the mean of each kind: no training."""
    data, layer = fashion.load("train"), nn.Linear(784, 10)
    kinds = data["labels"].unique()
    means = torch.stack([data["images"][data["labels"] == k].mean(0).flatten() for k in kinds])
    with torch.no_grad():
        layer.weight.copy_(2 * means)
        layer.bias.copy_(-means.square().sum(1))
    return layer


def trunk():
    scale = nn.Conv2d(1, 1, 1)
    nn.init.ones_(scale.weight)
    nn.init.zeros_(scale.bias)
    return nn.Sequential(scale, nn.Flatten())


def two_tasks():
    return HardSharing(trunk(), {"kind": nearest_mean(), "feet": nn.Linear(784, 2)})


def twice_the_same_task():
    return HardSharing(trunk(), {"kind": nearest_mean(), "again": nearest_mean()})


def nothing_shared():
    return HardSharing(nn.Flatten(), {"kind": nearest_mean(), "feet": nn.Linear(784, 2)})


def cut_to_pieces():
    return HardSharing(Cut(), {"kind": nn.Linear(196, 10), "feet": nn.Linear(196, 2)})


def untrained():
    torch.manual_seed(0)
    return HardSharing(trunk(), {"kind": nn.Linear(784, 10), "feet": nn.Linear(784, 2)})


@cache
def predicted(split="test"):
    judge = weights.load(Classifier(1, 10, size=28), "fashion_classifier").eval()
    data = fashion.load(split)
    return data["labels"], judge.scores(data["images"]).argmax(1)


def recognised(split="test"):
    """Share of the garments of each kind that the stored judge takes for it."""
    labels, taken = predicted(split)
    return {
        name: share_of(labels == kind, taken == kind) for kind, name in enumerate(fashion.CLASSES)
    }


def share_of(of, hit):
    return (of & hit).sum().item() / of.sum().item()


def believed():
    """Share of the garments taken for each kind that are of it: another question."""
    labels, taken = predicted()
    return {
        name: share_of(taken == kind, labels == kind) for kind, name in enumerate(fashion.CLASSES)
    }


def in_percent():
    return {name: 100 * share for name, share in recognised().items()}


def all_at_once():
    labels, taken = predicted()
    return dict.fromkeys(fashion.CLASSES, (labels == taken).double().mean().item())


RIGHT = {
    "first-program-count": [COUNT, {"head": 580, "percent": 3.443}],
    "first-program-lambda": [HEAVY],
    "first-program-two-tasks": [two_tasks],
    "vae-closed-form": [KL],
    "vae-mse-plus-kl": [INNOCENT],
    "vae-gradient-methods": [BALANCED],
    "gan-floor": [recognised],
    "gan-collapse": [COLLAPSED],
    "gan-share": [SHARE],
}

WRONG = [
    ("first-program-count", {**COUNT, "head": 576}, "added to each output"),
    ("first-program-count", {**COUNT, "head": 145}, "PixelShuffle"),
    ("first-program-count", {**COUNT, "head": 3 * 580}, "area of the kernel"),
    ("first-program-count", {**COUNT, "percent": 0.034}, "a hundred times"),
    ("first-program-count", {**COUNT, "percent": 1.15}, "one head"),
    ("first-program-count", {**COUNT, "percent": 3.3}, "whole network"),
    ("first-program-count", {**COUNT, "percent": 50}, "times 100"),
    ("first-program-count", 580, "'percent'"),
    ("first-program-lambda", {task: 0.06 * value for task, value in HEAVY.items()}, "Divide"),
    ("first-program-lambda", dict.fromkeys(HEAVY, 1.0), "reach the training"),
    ("first-program-lambda", {task: 1 / value for task, value in HEAVY.items()}, "below it"),
    ("first-program-lambda", {**HEAVY, "garment": 0.8}, "weight 10"),
    ("first-program-lambda", {**HEAVY, "edges": float("inf")}, "finite"),
    ("first-program-two-tasks", twice_the_same_task, "another one"),
    ("first-program-two-tasks", nothing_shared, "one trunk"),
    ("first-program-two-tasks", cut_to_pieces, "cut to pieces"),
    ("first-program-two-tasks", untrained, "better than by guessing"),
    ("first-program-two-tasks", lambda: nn.Flatten(), "got 1"),
    ("vae-closed-form", {**KL, "first": 4}, "factor in front"),
    ("vae-closed-form", {**KL, "first": 2.885}, "bits"),
    ("vae-closed-form", {**KL, "first": 1.5}, "squares of the mean"),
    ("vae-closed-form", {**KL, "second": -2.80}, "sign of the logarithm"),
    ("vae-closed-form", {**KL, "second": 0.505}, "base 10"),
    ("vae-closed-form", {**KL, "second": 0.70}, "take no root"),
    ("vae-closed-form", {**KL, "second": 3.0}, "only one is left"),
    ("vae-mse-plus-kl", {**INNOCENT, "nats": -1}, "never below 0"),
    ("vae-mse-plus-kl", {**INNOCENT, "nats": 2.6}, "mean over pixels"),
    ("vae-mse-plus-kl", {**INNOCENT, "differ": 3}, "standard deviation"),
    ("vae-mse-plus-kl", {"nats": 0}, "'differ'"),
    ("vae-gradient-methods", {"sum": 0.0, "MGDA": 17.1}, "gradient vanishes"),
    ("vae-gradient-methods", {"sum": 17.1, "MGDA": 17.1}, "reach the training"),
    ("vae-gradient-methods", {"sum": -900.0, "MGDA": 0.0}, "never below 0"),
    ("gan-floor", in_percent, "between 0 and 1"),
    ("gan-floor", all_at_once, "one kind at a time"),
    ("gan-floor", believed, "divided by those taken"),
    ("gan-floor", lambda: recognised("train"), "test split"),
    ("gan-floor", {"shirt": 0.61}, "'ankle boot'"),
    ("gan-collapse", {**COLLAPSED, "precision": 0.87}, "can precision have"),
    ("gan-collapse", {**COLLAPSED, "GAN-test": 0.98}, "can GAN-test have"),
    ("gan-collapse", {**COLLAPSED, "recall": 0.6}, "how wide"),
    ("gan-collapse", {**COLLAPSED, "kid": 0.0}, "KID"),
    ("gan-share", {**SHARE, "at 1": 70}, "between 0 and 1"),
    ("gan-share", {**SHARE, "values": 3}, "the weight 0"),
    ("gan-share", {**SHARE, "values": 1}, "opponent"),
]


def made(answer):
    """Networks and shares are made when they are needed."""
    return answer() if callable(answer) else answer


@pytest.mark.parametrize(
    ("label", "answer"), [(label, answer) for label in RIGHT for answer in RIGHT[label]]
)
def test_a_right_answer_is_right(said, label, answer):
    assert said(label, made(answer)) == f"{label}: right."


@pytest.mark.parametrize(("label", "answer", "word"), WRONG)
def test_a_wrong_answer_gets_the_hint_of_its_mistake(said, label, answer, word):
    hint = said(label, made(answer))
    assert hint.startswith(f"{label}: not yet. ")
    assert word in hint
    assert "raised" not in hint


@pytest.mark.parametrize("answer", [None, "x", 3])
@pytest.mark.parametrize("label", RIGHT)
def test_an_answer_of_the_wrong_kind_gets_a_hint(said, label, answer):
    assert said(label, made(answer)).startswith(f"{label}: not yet. ")
