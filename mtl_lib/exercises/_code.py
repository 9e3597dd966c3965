"""Practice exercises of part 4."""

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from mtl_lib import weights
from mtl_lib.data import fashion
from mtl_lib.exercises._practice import close, numbers, practice
from mtl_lib.networks import (
    Classifier,
    Decoder,
    Encoder,
    ImageHead,
    count_parameters,
    min_snr,
)

# Does the article's program run?


@practice("first-program-count", 'a dictionary {"head": number, "percent": number}')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["head", "percent"]):
        return hint
    head = count_parameters(ImageHead(16, 1))
    trunk = count_parameters(Encoder(1, 16, size=28), Decoder(16, size=28))
    found, percent = float(answer["head"]), float(answer["percent"])
    if found == 16 * 4 * 9:
        return "Head: nearly. What is added to each output of the convolution?"
    if found in (16 * 9, 16 * 9 + 1):
        return "Head: how many numbers does PixelShuffle need for every four pixels?"
    if found != head:
        return "Head: inputs times outputs times the area of the kernel, and what is added."
    share = 3 * head / trunk
    if abs(percent - 100 * share) < 0.1:
        return None
    if abs(percent - share) < 0.01:
        return "Percent: that is the share; percent is a hundred times as much."
    if abs(percent - 100 * share / 3) < 0.1:
        return "Percent: that is one head, and there are three."
    if abs(percent - 100 * share / (1 + share)) < 0.1:
        return "Percent: that is relative to the whole network. Relative to the trunk alone?"
    return "Percent: all parameters of the heads over those of the trunk, times 100."


@practice(
    "first-program-lambda", 'a dictionary {"garment": ratio, "silhouette": ratio, "edges": ratio}'
)
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["garment", "silhouette", "edges"]):
        return hint
    garment, silhouette, edges = (float(answer[k]) for k in ("garment", "silhouette", "edges"))
    if max(garment, silhouette, edges) < 0.3:
        return "That looks like errors. Divide each by the error of the run with equal weights."
    if garment == silhouette == edges:
        return "Nothing has changed: did the weights reach the training?"
    if edges > max(garment, silhouette):
        return "The edges fare worst: is the new error above the line, and the old one below it?"
    if edges > min(garment, silhouette):
        return "Not the edges fare best: did they, and no other task, get the weight 10?"
    return None


@practice("first-program-two-tasks", "a trained network with two output layers")
def _(answer: Any) -> str | None:
    unseen = fashion.load("validation")
    outputs = answer(unseen["images"][:300])
    if isinstance(outputs, Tensor):
        outputs = [outputs]
    scores = list(outputs.values() if isinstance(outputs, Mapping) else outputs)
    if len(scores) != 2:
        return f"Wanted the scores of two output layers, got {len(scores)}."
    if any(len(s) != 300 for s in scores):
        return "Every image should get one row of scores: where is it cut to pieces?"
    if scores[0].shape == scores[1].shape:
        return "Both output layers give equally many scores: is the second question another one?"
    own = list(answer.parameters())
    reached = [
        [
            g is not None
            for g in torch.autograd.grad(s.sum(), own, retain_graph=True, allow_unused=True)
        ]
        for s in scores
    ]
    if not any(a and b for a, b in zip(*reached, strict=True)):
        return "No parameter serves both answers: the two output layers should stand on one trunk."
    kinds = [s for s in scores if s.shape[1:] == (10,)]
    if not kinds or (kinds[0].argmax(1) == unseen["labels"][:300]).double().mean() < 0.25:
        return "One output layer should still tell the ten kinds apart, better than by guessing."
    return None


# Is a VAE already two tasks?


@practice("vae-closed-form", 'a dictionary {"first": nats, "second": nats}')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["first", "second"]):
        return hint
    first, second = float(answer["first"]), float(answer["second"])
    if abs(first - 4) < 0.01:
        return "First: the sum of the squares is right, and there is a factor in front of it."
    if abs(first - 2 / math.log(2)) < 0.01:
        return "Those are bits: take the natural logarithm."
    if abs(first - 2) > 0.01:
        return "First: with variance 1, only the squares of the mean are left."
    wanted = 0.5 * (0.01 - 1 - math.log(0.01))
    if abs(second - wanted) < 0.01:
        return None
    if abs(second - 0.5 * (0.01 - 1 + math.log(0.01))) < 0.01:
        return "Second: mind the sign of the logarithm. A divergence is never below 0."
    if abs(second - 0.5 * (0.01 - 1 - math.log10(0.01))) < 0.01:
        return "Second: that is the logarithm to the base 10."
    if abs(second - 0.5 * (0.1 - 1 - math.log(0.1))) < 0.01:
        return "Second: v is the variance itself; take no root."
    return "Second: directions with mean 0 and variance 1 add nothing, so only one is left."


@practice("vae-mse-plus-kl", 'a dictionary {"nats": number, "differ": number}')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["nats", "differ"]):
        return hint
    nats, differ = float(answer["nats"]), float(answer["differ"])
    if nats < -1e-6:
        return "Nats: a divergence is never below 0. Is it that of the code from the prior?"
    if nats > 0.1:
        return "Nats: more than this sum pays for. Is the error the mean over pixels, and β 1?"
    if not 0 <= differ <= 0.6:
        return "Differ: the standard deviation of a pixel over ten drawings, the largest of all."
    return None


@practice("vae-gradient-methods", 'a dictionary {"sum": nats, "MGDA": nats}')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["sum", "MGDA"]):
        return hint
    plain, mgda = float(answer["sum"]), float(answer["MGDA"])
    if min(plain, mgda) < -1e-6:
        return 'The loss "code" is never below 0: print that one, not the error of an image.'
    if plain == mgda:
        return "Twice the same: did the balancer reach the training?"
    if mgda > plain:
        return "Which of the two stops where one gradient vanishes? It should end with fewer nats."
    return None


# What do auxiliary tasks do to a GAN?


def _judged_garments() -> tuple[Tensor, Tensor]:
    """Labels of the real test garments, and what the stored judge takes them for."""
    judge = weights.load(Classifier(1, len(fashion.CLASSES), size=28), "fashion_classifier").eval()
    test = fashion.load("test")
    return test["labels"], judge.scores(test["images"]).argmax(1)


@practice("gan-floor", "a dictionary {kind: share}")
def _(answer: Any) -> str | None:
    if hint := numbers(answer, fashion.CLASSES):
        return hint
    found = torch.tensor([float(answer[name]) for name in fashion.CLASSES])
    labels, taken = _judged_garments()
    kinds = range(len(fashion.CLASSES))
    hits = [(labels == k) & (taken == k) for k in kinds]

    def same(of: Tensor) -> bool:
        shares = [hit.sum() / (of == k).sum() for k, hit in enumerate(hits)]
        return close(found, torch.stack(shares), 0.01)

    if same(labels):
        return None
    if found.max() > 1:
        return "A share lies between 0 and 1."
    if found.max() == found.min():
        return "That is one share for all garments. Take the garments of one kind at a time."
    if same(taken):
        return (
            "Of the garments of a kind, how many are recognised? You divided by those taken for it."
        )
    return "Which images show how sure the stored judge can be? Take all of the test split."


@practice(
    "gan-collapse", 'a dictionary {"kid": …, "precision": …, "recall": …, "GAN-test": …} of numbers'
)
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["kid", "precision", "recall", "GAN-test"]):
        return hint
    for name in ("precision", "GAN-test"):
        tenths = 10 * float(answer[name])
        if not 0 <= tenths <= 10 or abs(tenths - round(tenths)) > 0.01:
            return f"There are only ten different images: which values can {name} have?"
    if not 0 <= float(answer["recall"]) <= 0.05:
        return "Recall: how wide is a ball around a copy whose nearest neighbours are copies, too?"
    if float(answer["kid"]) < 0.05:
        return "KID: that is as near as other real images are. Ten images should not come so near."
    return None


@practice("gan-share", 'a dictionary {"at 0.1": obedience, "at 1": obedience, "values": number}')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["at 0.1", "at 1", "values"]):
        return hint
    if not all(0 <= float(answer[name]) <= 1 for name in ("at 0.1", "at 1")):
        return "Obedience is the share of drawn images that are recognised, between 0 and 1."
    values = int(answer["values"])
    if values == 2:
        return None
    if values == 3:
        return "Values: was the weight 0 among those that the tuned weight was chosen from?"
    return "Values: how many tries did the opponent have?"


# Is diffusion already multi-task?


@practice("diffusion-turn", "a function (x, v, t, s) → the mixture at time s")
def _(answer: Any) -> str | None:
    x, v = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for t, s in torch.tensor([[0.7, 0.4], [1.0, 0.75], [0.2, 0.0]], dtype=torch.float64):
        far, near = t * torch.pi / 2, s * torch.pi / 2
        image, noise = far.cos() * x - far.sin() * v, far.sin() * x + far.cos() * v
        found = answer(x, v, t, s)
        if close(found, near.cos() * image + near.sin() * noise):
            continue
        if close(found, (far - near).cos() * x + (far - near).sin() * v):
            return "It turns the wrong way, towards noise: look at the sign of δ, or of its sine."
        if close(found, (t - s).cos() * x - (t - s).sin() * v):
            return "Right but for the unit: t and s are measured in right angles, δ in radians."
        return "Collect the terms in x and those in v, and use the rules for sums of angles."
    return None


@practice("diffusion-wrong", "a function t → wrong weight minus right weight")
def _(answer: Any) -> str | None:
    t = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
    snr = torch.tan(t * torch.pi / 2) ** -2
    wrong, right = (snr + 1).clamp(max=5) / (snr + 1), min_snr(t)
    found = torch.as_tensor(answer(t), dtype=torch.float64).broadcast_to(t.shape)
    off = (found - (wrong - right)).abs() > 1e-4
    if not off.any():
        return None
    if close(found, wrong):
        return "That is the wrong weight itself: take the right one away from it."
    if close(found, right - wrong, 1e-2):
        return "The sign is turned around: the wrong weight is nowhere below the right one."
    if not off[snr <= 4].any():
        return "Right at large t. At small t, ask which of the two minima has reached γ."
    if not off[snr >= 5].any():
        return "Right at small t. At large t, ask which of the two minima are below γ."
    return "Treat three ranges apart: SNR above 5, SNR below 4, and what is between."


@practice("diffusion-steps", "a dictionary {2: …, 4: …, 8: …, 15: …} of mean squared distances")
def _(answer: Any) -> str | None:
    counts = (2, 4, 8, 15)
    if hint := numbers(answer, counts):
        return hint
    found = [float(answer[count]) for count in counts]
    if found[3] > found[0] / 4:
        return "More steps come hardly nearer: does every drawing start from the same noise?"
    if found != sorted(found, reverse=True):
        return "The distances should fall: is each drawing compared with the one of 60 steps?"
    if not 0.005 < found[0] < 0.08:
        return "The size is off: take the mean of the squares over pixels, of images from 0 to 1."
    return None


# One network, every conditional?


@practice("onemodel-questions", "a function m → number of questions")
def _(answer: Any) -> str | None:
    states = ("drawn", "given", "ignored")
    for m in (2, 3, 5, 1):
        found, wanted = answer(m), sum("drawn" in q for q in product(states, repeat=m))
        if found == wanted:
            continue
        if found == 3**m:
            return "This counts questions in which nothing is drawn. How many of those are there?"
        if found == 3**m - 1:
            return "Nothing is drawn in more than one case: what is not drawn is given or ignored."
        if found == 2**m - 1:
            return "What is not drawn may be given or ignored, and these are different questions."
        return f"For m = {m} it returns {found}. Write all questions down for m = 2, and count."
    return None


@practice("onemodel-sixth", "a dictionary {0: …, 0.5: …, 1: …} of errors × 1000 of the depth")
def _(answer: Any) -> str | None:
    times = (0, 0.5, 1)
    if hint := numbers(answer, times):
        return hint
    start, half, end = (float(answer[t]) for t in times)
    if half < start / 2:
        return "A clean portrait should do best: is t_x the first of both times?"
    if end < 1:
        return "These are small: are they multiplied by 1000?"
    if start > 60 or end > 60:
        return "No depth comes out: is it channel 3, of kind 0, and taken back to between 0 and 1?"
    if half > 3 * start:
        return "Half noise costs too much: is t_x told to the network, in every step?"
    if start > 2.6:
        return "With a clean portrait the error is smaller: it goes in between -1 and 1."
    if not start < half < end:
        return "More noise in the portrait, more error: is it mixed with noise once, by t_x?"
    return None


@practice("onemodel-lines", "a function n → times (n, 2) with a fifth of them on each line")
def _(answer: Any) -> str | None:
    n = 2000
    times = torch.as_tensor(answer(n), dtype=torch.float64)
    if times.shape != (n, 2):
        return f"For n = {n} the shape is {tuple(times.shape)}, wanted ({n}, 2): t_x and t_y."
    if times.min() < 0 or times.max() > 1:
        return "Times lie between 0 and 1."
    x, y = times.T
    lines = torch.stack([x == y, y == 0, x == 0, y == 1, x == 1]).double()
    if (lines.sum(0) == 0).any():
        return "Some pairs lie inside the square, on none of the five lines."
    shares = lines.mean(1)
    if shares.max() > 0.9:
        return "All pairs of a batch lie on one line: mix the lines within it."
    if not close(shares, torch.full((5,), 0.2), 0.25):
        return f"The shares of the five lines are {[round(s, 2) for s in shares.tolist()]}."
    moving = [x[y == 0], y[x == 0], x[y == 1], y[x == 1], x[x == y]]
    if any((line.histc(4, 0, 1) < n / 40).any() for line in moving):
        return "On one of the lines a part of [0, 1] is hardly visited: spread the times over all."
    return None
