"""What the quizzes rest on: verdicts of the ledger, and facts that are computed here.

A question names the claims or the functions below that its right answer and its explanations follow
from. Functions whose numbers come out of training read what a chapter has stored.
"""

import json
import math
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from mtl_lib import claims, metrics
from mtl_lib.balancing import MGDA, Fixed, PCGrad, UPGrad
from mtl_lib.data import fashion, figurines
from mtl_lib.data.batches import temperature_shares
from mtl_lib.networks import (
    HardSharing,
    calibrated_error,
    count_parameters,
    kl_to_prior,
    signal_and_noise,
    squared_error,
)

CHAPTERS = Path(__file__).parents[2] / "chapters"
QUIZ = re.compile(r"^```\{quiz\}\n((?::\w+:.*\n)*)", re.M)


def options():
    """``page, number: {option: value}`` of every question of the book."""
    return {
        f"{page.parent.name} {number}": dict(re.findall(r"^:(\w+): (.+)$", text, re.M))
        for page in sorted(CHAPTERS.glob("*/quiz.md"))
        for number, text in enumerate(QUIZ.findall(page.read_text(encoding="utf-8")), start=1)
    }


QUESTIONS = options()
FACTS = {}


def fact(function):
    """A fact that questions may rest on, by its name."""
    FACTS[function.__name__] = function
    return function


def names(question, option):
    return [name for name in re.split(r",\s*", QUESTIONS[question].get(option, "")) if name]


@cache
def ledger():
    return {claim.id: claim for found in claims.read_book(CHAPTERS).values() for claim in found}


@cache
def printed(chapter):
    """Everything that a chapter has printed, as stored."""
    cells = json.loads((CHAPTERS / f"{chapter}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(line for output in outputs for line in output.get("text", []))


def numbers(chapter, row):
    """The numbers of the first printed row that begins with these words."""
    found = re.search(rf"^{row}((?: +-?[\d.]+%?)+)", printed(chapter), re.M)
    assert found, f"{chapter} prints no row {row!r}"
    return [float(number.rstrip("%")) for number in found[1].split()]


# ---- The questions ----


def test_there_are_questions():
    assert len(QUESTIONS) > 30


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_says_what_its_answer_rests_on(question):
    assert names(question, "claims") + names(question, "verify")


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_ledger_still_has_the_verdicts_that_an_answer_rests_on(question):
    named = dict(name.split("=") for name in names(question, "claims"))
    assert {name: ledger()[name].verdict for name in named if name in ledger()} == named


# ---- Part 1 ----


@fact
def strangers_overlap():
    people = figurines.dataset({"face": 200}, size=16, modalities=("depth", "parts"))["face"]
    assert metrics.depth_parts_iou(people["depth"], people["parts"]) > 0.99
    chance = metrics.shuffled(metrics.depth_parts_iou, people["depth"], people["parts"])
    assert 0.75 < chance < 0.9


@fact
def four_channels_weigh_three_to_one():
    drawn, true = torch.rand(2, 5, 4, 8, 8)
    loss = functional.mse_loss
    portrait, depth = loss(drawn[:, :3], true[:, :3]), loss(drawn[:, 3:], true[:, 3:])
    torch.testing.assert_close(loss(drawn, true), 0.75 * portrait + 0.25 * depth)


@fact
def copies_look_real_to_sets():
    images = fashion.load("train")["images"][:1200]
    _reference, training, new = images.split(400)
    real, *others = metrics.fashion_features(images).split(400)
    copied, fresh = (metrics.precision_recall(real, features) for features in others)
    assert abs(copied.precision - fresh.precision) < 0.05
    assert abs(copied.recall - fresh.recall) < 0.05
    assert metrics.memorized(training, training) == 1
    assert metrics.memorized(training, new) < 0.05


@fact
def delta_m_is_not_symmetric():
    first, second = {"one": 1.0, "two": 2.0}, {"one": 2.0, "two": 1.0}
    assert metrics.delta_m(first, second) == metrics.delta_m(second, first) == -0.25
    ratios = torch.tensor([first[task] / second[task] for task in first])
    assert ratios.log().mean().abs() < 1e-6


# ---- Part 2 ----


@fact
def heads_limit_the_saving():
    def network(*tasks):
        return HardSharing(nn.Linear(9, 9), {task: nn.Linear(9, 1) for task in tasks})

    separate = 3 * count_parameters(network("one"))
    assert separate == 300
    assert 1 - count_parameters(network("one", "two", "three")) / separate == 0.6


@fact
def layers_are_alike_before_training():
    chapter = "02_concepts/03_knowledge_transfer"
    first = {row: numbers(chapter, row)[0] for row in ("face and body", "untrained")}
    assert first["face and body"] == 0.87
    assert first["untrained"] > 0.8
    assert first["face and body"] < numbers(chapter, "face and face")[0] < 1


# ---- Part 3 ----


def gradients(weights, trunk, heads, x, targets):
    """Gradient of the weighted sum in the trunk and in the first head."""
    losses = [
        functional.mse_loss(head(trunk(x)), y) for head, y in zip(heads, targets, strict=True)
    ]
    total = sum(weight * loss for weight, loss in zip(weights, losses, strict=True))
    return torch.autograd.grad(total, [trunk.weight, heads[0].weight])


def cosine(a, b):
    return functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


def two_tasks():
    torch.manual_seed(0)
    heads = [nn.Linear(4, 1), nn.Linear(4, 1)]
    return nn.Linear(3, 4), heads, torch.randn(8, 3), torch.randn(2, 8, 1)


@fact
def summing_pixels_is_a_weight():
    drawn = torch.full((1, 16, 16), 0.3, requires_grad=True)
    true = torch.ones(1, 16, 16)
    mean, total = (
        torch.autograd.grad(functional.binary_cross_entropy(drawn, true, reduction=how), drawn)[0]
        for how in ("mean", "sum")
    )
    torch.testing.assert_close(total, 256 * mean)


@fact
def weight_turns_trunk_and_stretches_head():
    tasks = two_tasks()
    (trunk, head), (turned, stretched) = gradients((1, 1), *tasks), gradients((2, 1), *tasks)
    assert cosine(trunk, turned) < 0.99
    torch.testing.assert_close(stretched, 2 * head)


@fact
def weighted_sum_ends_in_a_corner():
    first = torch.linspace(0, 1, 1001)
    outwards, inwards = 1 - first.square(), 1 - first.sqrt()
    for weight in (0.1, 0.3, 0.5, 0.7, 0.9):
        summed = weight * first + (1 - weight) * outwards
        assert summed.argmin().item() in (0, 1000)
    equal = 0.5 * (first + outwards)
    assert equal.argmax().item() == 500
    # In the middle option's place both losses change at the same rate, |−2 L₁| = 1.
    assert 2 * first[500].item() == pytest.approx(1)
    assert (0.5 * (first + inwards)).argmin().item() not in (0, 1000)


@fact
def uncertainty_prefers_the_better_task():
    losses = torch.tensor([0.1, 0.4])
    s = losses.log().requires_grad_()
    total = (0.5 * torch.exp(-s) * losses + 0.5 * s).sum()
    assert torch.autograd.grad(total, s)[0].abs().max() < 1e-6
    torch.testing.assert_close(total.detach(), 1 + 0.5 * losses.prod().log())
    better, worse = 0.5 * torch.exp(-s)
    assert better > worse
    torch.testing.assert_close(better.detach(), 1 / (2 * losses[0]))
    without = [(0.5 * math.exp(-s) * 0.4) for s in (0, 5, 10)]
    assert all(b < a for a, b in pairwise(without))


def conflicting():
    return torch.tensor([[1.0, 0.0], [-0.6, 0.8]], dtype=torch.float64)


@fact
def pcgrad_turns_with_length():
    pair = conflicting()
    longer = pair * torch.tensor([[1.0], [10.0]])
    first, second = pair[0] - (pair[0] @ pair[1]) * pair[1], pair[1] - (pair[1] @ pair[0]) * pair[0]
    torch.testing.assert_close(PCGrad()(pair), first + second)
    torch.testing.assert_close(PCGrad()(longer), first + 10 * second)
    assert cosine(PCGrad()(longer), second) > cosine(PCGrad()(pair), second)
    assert (longer @ PCGrad()(longer)).min() >= 0


@fact
def mgda_takes_the_short_gradient():
    pair = torch.tensor([[1.0, 0.0], [9.8, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(MGDA()(pair), pair[0])
    assert cosine(*pair) > 0.95
    assert cosine(pair.sum(0), pair[1]) > 0.999


# ---- Part 4 ----


@fact
def view_cuts_images():
    maps = torch.empty(16, 256, 28, 28, device="meta")
    assert maps.view(-1, 256 * 4 * 4).shape == (784, 4096)
    assert maps.flatten(1).shape[0] == 16
    assert 784 == 16 * 49


@fact
def mean_squares_and_kl():
    x, drawn = torch.rand(2, 6, 1, 28, 28, dtype=torch.float64)
    squares, kl = squared_error(drawn, x), torch.tensor(3.0, dtype=torch.float64)
    plain = functional.mse_loss(drawn, x) + kl
    torch.testing.assert_close(plain, (squares + 392 * kl) * 2 / 784)


@fact
def calibrated_noise_is_beta():
    torch.manual_seed(0)
    x = torch.rand(6, 1, 28, 28)
    encode, decode = nn.Linear(784, 4), nn.Linear(4, 784)
    parameters = [*encode.parameters(), *decode.parameters()]

    def losses(error):
        mean = encode(x.flatten(1))
        drawn = decode(mean).view_as(x)
        return error(drawn, x), kl_to_prior(mean, torch.ones_like(mean)).mean()

    drawn, kl = losses(calibrated_error)
    mse = functional.mse_loss(decode(encode(x.flatten(1))).view_as(x), x).item()
    calibrated = torch.autograd.grad(drawn + kl, parameters)
    drawn, kl = losses(squared_error)
    weighted = torch.autograd.grad(drawn + mse * kl, parameters)
    for ours, theirs in zip(calibrated, weighted, strict=True):
        torch.testing.assert_close(mse * ours, theirs)


@fact
def noise_loss_forgets_pure_noise():
    t = torch.linspace(0, 1, 101)
    signal, noise = signal_and_noise(t)
    image, true, v = torch.randn(3, 101)
    mixed = signal * image + noise * true
    wanted = signal * true - noise * image
    torch.testing.assert_close(noise * mixed + signal * v - true, signal * (v - wanted))
    weight = signal.square()
    assert (weight.diff() < 0).all()
    assert weight[0] == 1
    assert weight[-1] < 1e-6


# ---- Part 5 ----


@fact
def blends_keep_their_distance():
    rows = re.findall(r"^blends +([\d.]+)", printed("05_challenges/01_overfitting"), re.M)
    assert len(rows) == 2
    assert all(abs(float(ratio) - 1) < 0.05 for ratio in rows)


@fact
def most_of_the_gap_comes_from_reading():
    read = ledger()["overfit-depth-gap-input"].difference
    assert read > 0.5 * ledger()["overfit-depth-gap"].difference


@fact
def aggregation_repeats_the_trunk_backward():
    trunk, x = nn.Linear(3, 4), torch.randn(8, 3)
    heads = [nn.Linear(4, 1) for _ in range(16)]
    calls = {"trunk forward": 0, "trunk": 0, "heads": 0}

    def count(name):
        def hook(*_):
            calls[name] += 1

        return hook

    trunk.register_forward_hook(count("trunk forward"))
    trunk.weight.register_hook(count("trunk"))
    for head in heads:
        head.weight.register_hook(count("heads"))
    features = trunk(x)
    losses = {str(i): head(features).square().mean() for i, head in enumerate(heads)}
    UPGrad().backward(losses, trunk.parameters())
    assert calls == {"trunk forward": 1, "trunk": 16, "heads": 16}

    calls.update(dict.fromkeys(calls, 0))
    features = trunk(x)
    losses = {str(i): head(features).square().mean() for i, head in enumerate(heads)}
    Fixed().backward(losses)
    assert calls == {"trunk forward": 1, "trunk": 1, "heads": 16}


@fact
def passes_take_most_of_the_time():
    added = re.search(
        r"^UPGrad, added((?: +-?\d+ %)+)", printed("05_challenges/02_compute_cost"), re.M
    )
    _trunk_forward, _heads_forward, _heads, trunk, *_others = re.findall(r"-?\d+", added[1])
    assert int(trunk) > 50


@fact
def the_sum_is_as_near_to_upgrad():
    chapter = "05_challenges/02_compute_cost"
    rows = re.findall(r"^UPGrad +([\d.]+) +([\d.]+) +([\d.]+)$", printed(chapter), re.M)
    through, _old, plain = map(float, rows[-1])
    assert through == plain == 0.97
    times = printed(chapter).partition("time of a step over that with UPGrad")[2]
    assert 0.45 < float(re.search(r"^through z +([\d.]+)", times, re.M)[1]) < 0.6


@fact
def weighting_is_sampling_on_average():
    shares = temperature_shares({"face": 4000, "body": 40}, 1)
    weights = {task: 0.5 / share for task, share in shares.items()}
    assert {task: shares[task] * weights[task] for task in shares} == {"face": 0.5, "body": 0.5}
    second_moment = shares["body"] * weights["body"] ** 2
    assert second_moment > 25 > 0.5


@fact
def a_batch_has_a_third_of_a_body():
    assert 0.3 < 32 * temperature_shares({"face": 4000, "body": 40}, 1)["body"] < 0.35


@fact
def balancing_and_averaging_do_not_commute():
    together = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [-3.0, 0.0]]])
    apart = torch.tensor([[[1.0, 0.0], [-2.0, 1.0]], [[0.0, 2.0], [1.0, 0.0]]])

    def conflict(jacobian):
        return (jacobian[0] @ jacobian[1]).item() < 0

    assert [*map(conflict, together), conflict(together.mean(0))] == [False, False, True]
    assert [*map(conflict, apart), conflict(apart.mean(0))] == [True, False, False]
    for halves in (together, apart):
        last = torch.stack([UPGrad()(jacobian) for jacobian in halves]).mean(0)
        assert (UPGrad()(halves.mean(0)) - last).abs().max() > 0.05
        torch.testing.assert_close(halves.mean(0).mean(0), halves.mean(1).mean(0))


# ---- Part 6 ----


@fact
def which_interval_holds():
    def verdict(low, high):
        middle, spread = (low + high) / 2, (high - low) / 2 * math.sqrt(3) / stats.t.ppf(0.975, 2)
        measured = {"better": [middle - spread, middle, middle + spread]}
        claim = claims.Claim("test", "Test.", measured, {"worse": [0.0] * 3}, margin=0.05)
        assert np.allclose(claim.interval, (low, high))
        return claim.verdict

    intervals = ((0.01, 0.30), (-0.02, 0.04), (0.04, 0.09), (0.06, 0.08))
    wanted = ["inconclusive", "fails", "inconclusive", "holds"]
    assert [verdict(*interval) for interval in intervals] == wanted


@fact
def a_failed_claim_may_straddle_zero():
    claim = ledger()["choosing-gradnorm-beats-equal"]
    low, high = claim.interval
    assert low < 0 < high < claim.margin
    assert 2**claim.margin - 1 == pytest.approx(0.014, abs=0.0005)


@fact
def adding_seeds_until_it_suits():
    differences = np.random.default_rng(0).normal(size=(2000, 20))

    def excludes_zero(count):
        seen = differences[:, :count]
        half = stats.t.ppf(0.975, count - 1) * seen.std(axis=1, ddof=1) / math.sqrt(count)
        return np.abs(seen.mean(axis=1)) > half

    assert excludes_zero(20).mean() == pytest.approx(0.05, abs=0.02)
    assert np.any([excludes_zero(count) for count in range(3, 21)], axis=0).mean() > 0.15


@fact
def sixty_images_were_enough_alone():
    def gains(task, images):
        row = rf"^{task} +{images} +0 +[\d.]+ +[\d.]+ +(-?\d+)% +(-?\d+)% +(-?\d+)%"
        return [int(gain) for gain in re.search(row, printed("06_faq/01_faq"), re.M).groups()]

    assert max(gains("face", 60) + gains("body", 60)) < 0
    assert min(gains("body", 20)) > 0


@fact
def two_backward_calls_add_up():
    trunk, heads, x, targets = two_tasks()
    found = []
    for apart in (False, True):
        trunk.zero_grad()
        features = trunk(x)
        first, second = (
            functional.mse_loss(h(features), y) for h, y in zip(heads, targets, strict=True)
        )
        if apart:
            first.backward(retain_graph=True)
            second.backward()
        else:
            (first + second).backward()
        found.append(trunk.weight.grad.clone())
    torch.testing.assert_close(*found)


@fact
def zeros_are_a_second_data_set():
    targets = torch.tensor([1.0, 0.0]).repeat(50)
    constants = torch.linspace(0, 1, 101)
    for weight in (1, 2):
        losses = weight * (constants[:, None] - targets).square().mean(1)
        assert constants[losses.argmin()] == 0.5


@fact
def negative_cosine_is_about_one_step():
    def losses(x):
        return torch.stack([(x - 1).square().sum(), (x + 1).square().sum()])

    x = torch.zeros(1, requires_grad=True)
    before = losses(x)
    first, second = (torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in before)
    assert cosine(first, second) < 0
    after = losses(x - 0.01 * first)
    assert after[0] < before[0]
    assert after[1] > before[1]


# ---- All of them ----


def test_every_fact_is_one_that_a_question_rests_on():
    assert {name for question in QUESTIONS for name in names(question, "verify")} == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_holds(name):
    FACTS[name]()
