"""Practice exercises of part 1."""

from typing import Any

import torch
from torch import Tensor, nn

from mtl_lib import metrics
from mtl_lib.data import fashion, figurines
from mtl_lib.exercises._practice import hint_for, numbers, practice
from mtl_lib.networks import Decoder, Encoder, ImageHead


@practice(
    "why-count",
    'a dictionary with "head", a number of parameters, and "largest", the names of two layers',
)
def _(answer: Any) -> str | None:
    trunk = nn.Sequential(Encoder(13, 48, size=16), Decoder(48, size=16, width=24))
    sizes = {f"trunk.{name}": p.numel() for name, p in trunk.named_parameters()}
    largest = {name.removesuffix(".weight") for name in sorted(sizes, key=lambda n: -sizes[n])[:2]}
    mistakes = {
        "A head draws four pixels at each position: how many channels does that take?": 1953,
        "Do not forget the bias, one number for each channel that comes out.": 7776,
        "The kernel has 3×3 places, each with weights of its own.": 24 * 36 + 36,
    }
    otherwise = "Print the head: from how many channels does its convolution go to how many?"
    head = ImageHead(24, 9)[0]
    wanted = sum(p.numel() for p in head.parameters())
    if hint := hint_for(answer["head"], wanted, mistakes, otherwise):
        return hint
    if {name.removesuffix(".weight") for name in answer["largest"]} != largest:
        return "The head is right. Sort `model.named_parameters()` by `numel()`: what comes first?"
    return None


@practice("why-bounds", 'a dictionary of two overlaps between strangers, "face" and "body"')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("face", "body")):
        return hint
    found, wanted = [float(answer[view]) for view in ("face", "body")], []
    for view in ("face", "body"):
        drawn = figurines.dataset(
            {view: 150}, size=16, split="validation", modalities=("depth", "parts")
        )[view]
        wanted.append(metrics.shuffled(metrics.depth_parts_iou, drawn["depth"], drawn["parts"]))
    mistakes = {
        "Those are depth and parts of the same person: pair each depth with somebody else.": [1, 1],
        "Did portraits and bodies change places?": wanted[::-1],
        "Give shares between 0 and 1.": [100 * value for value in wanted],
    }
    otherwise = "Take 300 validation people at 16 pixels, and let `metrics.shuffled` mix them up."
    return hint_for(found, wanted, mistakes, otherwise, tolerance=0.05)


@practice(
    "why-weights",
    'a dictionary with "errors", by λ and for "separate", and the lists "as good" and "pays"',
)
def _(answer: Any) -> str | None:
    errors, tasks = answer["errors"], ("portrait", "depth", "parts")
    weights = [1.0, 3.0, 10.0]
    if set(errors) != {*weights, "separate"}:
        return "Wanted errors for λ = 1, 3 and 10, and for 'separate'."
    for row in errors.values():
        if hint := numbers(row, tasks):
            return hint
        if min(row.values()) < 0:
            return "A squared error is never negative."
    if errors[1.0] == errors[10.0]:
        return "Equal errors at λ = 1 and 10: did the weight reach the training?"
    good = {w for w in weights if all(errors[w][t] <= errors["separate"][t] for t in tasks)}
    if set(answer["as good"]) != good:
        return "At an `as good` λ *every* task has at most the error of the separate generators."
    if set(answer["pays"]) != {t for t in tasks if errors[10.0][t] > errors[1.0][t]}:
        return "A task pays if its error is larger at λ = 10 than at 1, in your own numbers."
    return None


@practice(
    "why-four-channels", "a function (loss of the portrait, loss of the depth) → loss of all four"
)
def _(answer: Any) -> str | None:
    pairs = [torch.tensor(pair, dtype=torch.float64) for pair in ((0.4, 0.1), (0.2, 0.7))]

    def mix(portrait: float, depth: float) -> list[Tensor]:
        return [portrait * p + depth * d for p, d in pairs]

    mistakes = {
        "The sum of two means is not the mean over all four channels.": mix(1, 1),
        "This counts both tasks alike, but one has more channels than the other.": mix(0.5, 0.5),
        "Which of the two has three of the channels?": mix(0.25, 0.75),
        "That is the sum over the channels. The loss is their mean.": mix(3, 1),
    }
    otherwise = "Each loss is a mean over its own channels: how many of the four has each?"
    return hint_for([answer(p, d) for p, d in pairs], mix(0.75, 0.25), mistakes, otherwise)


@practice("measuring-psnr", "a function, mean square q → decibels")
def _(answer: Any) -> str | None:
    q = torch.tensor([0.02, 0.1, 0.4], dtype=torch.float64)

    def decibels(error: Tensor) -> Tensor:
        return -10 * torch.log10(error)

    mistakes = {
        "That is the PSNR of a black copy: how large is the difference at half contrast?": q,
        "The difference is half the image. What becomes of the half in its square?": q / 2,
        "The larger the error, the smaller the PSNR: look at the sign.": 4 / q,
        "A constant is on the wrong side: the error is a share of q, not a multiple.": 4 * q,
    }
    wrong: dict[str, object] = {hint: decibels(error) for hint, error in mistakes.items()}
    wrong["A decibel needs the logarithm to base 10."] = -10 * torch.log(q / 4)
    otherwise = "Write the mean squared error as a share of q first, then take −10 log₁₀ of it."
    return hint_for([answer(value) for value in q], decibels(q / 4), wrong, otherwise)


@practice("measuring-floor", "a function (FID at n = 500, FID at n = 1000) → FID for endless n")
def _(answer: Any) -> str | None:
    a, b = torch.tensor([[7.0, 0.5, 16.0], [4.0, 0.2, 15.0]], dtype=torch.float64)
    mistakes = {
        "The more images, the lower: go on from n = 1000, away from n = 500.": 2 * a - b,
        "That is the middle of the two. The line has to be followed to 1/n = 0.": (a + b) / 2,
        "That is the step from one to the other. How far is it from 1/1000 to 0?": b - a,
        "That is c/n, the part that goes away: what is left?": a - b,
        "A negative estimate is scatter: leave it, or the mean of many is too high.": (
            (2 * b - a).clamp(min=0)
        ),
    }
    otherwise = "Over 1/n, both steps, from 2/1000 to 1/1000 and on to 0, are equally long."
    found = [answer(x, y) for x, y in zip(a, b, strict=True)]
    return hint_for(found, 2 * b - a, mistakes, otherwise)


@practice(
    "measuring-spoiled-copies",
    'a dictionary with "noise", a standard deviation, and "blurred", a memorised share',
)
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("noise", "blurred")):
        return hint
    chance = torch.Generator().manual_seed(7)
    images = fashion.load("train")["images"]
    training = images[torch.randperm(len(images), generator=chance)[:2000]]
    noise = answer["noise"] * torch.randn(300, 1, 28, 28, generator=chance)
    share = metrics.memorized(training, (training[:300] + noise).clamp(0, 1))
    if abs(share - 0.5) > 0.2:
        side = "more" if share > 0.5 else "less"
        return f"With this noise we find a share of {share:.2f}: half of it needs {side} noise."
    if not 0 <= answer["blurred"] <= 0.1:
        return "Blur the copied training images, and ask `memorized` about them as they are."
    return None


@practice("measuring-recall", "a function (real features, generated features) → coverage, density")
def _(answer: Any) -> str | None:
    chance = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(n, 6, generator=chance, dtype=torch.float64) for n in (60, 40))
    fake = 0.7 * fake

    def measures(centres: Tensor, points: Tensor, k: int = 3, divisor: float = 3) -> list[float]:
        reach = torch.cdist(centres, centres).kthvalue(k + 1, dim=1).values[:, None]
        inside = (torch.cdist(centres, points) <= reach).double()
        return [float(inside.amax(1).mean()), float(inside.sum(0).mean()) / divisor]

    wanted = measures(real, fake)
    mistakes = {
        "Coverage comes first, density second.": wanted[::-1],
        "The balls are to stand around the real images.": measures(fake, real),
        "The nearest neighbour of an image is the image itself: do not count it.": (
            measures(real, fake, k=2)
        ),
        "Coverage is right. Divide the number of balls by that of the neighbours.": (
            measures(real, fake, divisor=1)
        ),
    }
    otherwise = "For each pair: is the generated image within the real one's ball? Then count."
    return hint_for([float(value) for value in answer(real, fake)], wanted, mistakes, otherwise)
