"""Practice exercises of part 5."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mtl_lib import metrics, networks
from mtl_lib.data import figurines
from mtl_lib.exercises._practice import close, numbers, practice

FACTORS = len(figurines.FACTORS) + len(figurines.CLASSES)

# Does multi-task learning overfit less, or more?


@practice("overfit-null", "a list of ten pairs (ratio, nearer share), one for each seed")
def _(answer: Any) -> str | None:
    pairs = torch.tensor([tuple(map(float, pair)) for pair in answer], dtype=torch.float64)
    if pairs.shape != (10, 2) or not pairs.isfinite().all():
        return "Wanted ten pairs of numbers, as `nearness` returns them."
    ratio, nearer = pairs.mean(0).tolist()
    if pairs.std(0).max() == 0:
        return "All ten are the same: load each of the three sets with the seed."
    if ratio < 0.9:
        if abs(nearer - 1) < 0.1:
            return "Did ratio and share change places?"
        return "Real people came out nearer to the first set: does one set contain another?"
    if abs(ratio - 1) > 0.06 or abs(nearer - 0.5) > 0.08:
        return "Any of the sets could be the training set: what must the numbers be, on average?"
    return None


@cache
def mirrored(turned: bool, flipped: bool) -> dict[str, float]:
    """{view: error of mirrored people, as a share of the error of another person}."""
    factors = figurines.sample_factors(200, seed=0)["face"]
    others, light = factors.clone(), figurines.FACTORS.index("light")
    if turned:
        others[:, light] = 1 - others[:, light]
    shares = {}
    for view in figurines.VIEWS:
        plain, image = (
            figurines.draw(f, view, size=16, modalities=["rgb"])["rgb"] for f in (factors, others)
        )
        image = image.flip(-1) if flipped else image
        shares[view] = metrics.mse(image, plain) / metrics.mse(plain, plain.roll(1, 0))
    return shares


@practice("overfit-body", 'a dictionary {"face": …, "body": …} of shares')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, figurines.VIEWS):
        return hint
    hints = {
        (True, True): None,
        (False, True): "In a mirror the light comes from the other side: turn it before you draw.",
        (True, False): "The light is turned, and the image is not mirrored: flip its columns.",
    }

    def agrees(shares: Mapping[str, float], factor: float = 1.0) -> bool:
        return all(0.75 < answer[view] / (factor * shares[view]) < 1.35 for view in shares)

    for way, hint in hints.items():
        if agrees(mirrored(*way)):
            return hint
    if agrees(mirrored(True, True), 100):
        return "Shares are wanted, not per cent."
    return "Divide by the squared error between two different people, for instance neighbours."


@practice(
    "overfit-steps",
    'a dictionary with "share", "seen alone", "seen together", "ratio alone", "ratio together"',
)
def _(answer: Any) -> str | None:
    keys = ("share", "seen alone", "seen together", "ratio alone", "ratio together")
    if hint := numbers(answer, keys):
        return hint
    share, alone, together, *ratios = (float(answer[key]) for key in keys)
    if not 0.1 < share < 20:
        return "The share is the steps of the joint network over those of the network alone."
    if not all(0 <= ratio < 1.5 for ratio in ratios):
        return "The ratio is the distance ratio of portraits: 0 for copies, about 1 for strangers."
    if together > 1.15 * alone:
        return "It has not come down to the seen error of portraits alone: try more steps."
    if together < 0.85 * alone:
        return "It has gone below the seen error of portraits alone: try fewer steps."
    return None


# What does it cost?


@practice("cost-limit", 'a dictionary {"16 tasks": …, "limit": …} of prices')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("16 tasks", "limit")):
        return hint

    def price(n: int, forward: int = 1, backward: float = 2, plain: int = 1) -> float:
        return ((forward + n * backward) * 10 + 3 * n) / (3 * (10 * plain + n))

    found = answer["16 tasks"]
    if close(found, price(16, 16), 2e-3):
        return "16 tasks: the trunk runs forward once, however many tasks there are."
    if close(found, price(16, 0), 2e-3):
        return "16 tasks: the forward pass through the trunk is missing."
    if close(found, price(16, plain=16), 2e-3):
        return "16 tasks: the price is over a plain step with hard sharing, not separate networks."
    if not close(found, price(16), 2e-3):
        return "16 tasks: put F₀ = 10 F_h into both costs, leave out what has P₀, and divide."
    if close(answer["limit"], 20 / 3, 2e-3):
        return "Limit: the heads stay in the numerator as well, once for each task."
    if not close(answer["limit"], 1 + 20 / 3, 2e-3):
        return "Limit: of the sums above and below, keep what grows with n, and divide."
    return None


@cache
def with_block(in_trunk: bool, in_heads: bool) -> dict[str, float]:
    """Price of UPGrad and saving of hard sharing, with a block in the trunk, the heads, or both."""
    n, batch = 16, 16
    parts = [nn.Linear(FACTORS, 64), networks.Decoder(64, size=16, width=16)]
    first, block = parts[0], networks.conv_block(16, 16)
    x, h, z = torch.zeros(1, FACTORS), torch.zeros(1, 64), torch.zeros(1, 16, 8, 8)
    flops = networks.count_flops
    first_work, block_work = flops(first, x), flops(block, z)
    trunk = first_work + flops(parts[1], h) + in_trunk * block_work
    size = sum(map(networks.count_parameters, parts)) + in_trunk * networks.count_parameters(block)
    heads = sum(c * flops(networks.ImageHead(16, 1), z) for c in (3, 1, 3, 1, 1, 3, 3, 3) * 2)
    heads += n * in_heads * block_work
    shared, separate = (k * (3 * trunk - first_work) + 3 * heads for k in (1, n))
    more = (n - 1) * (2 * trunk - first_work) + 2 * n * (n + 1) * size / batch
    return {"price": 1 + more / shared, "saving": 1 - shared / separate}


@practice("cost-split", 'a dictionary {"price": …, "saving": …} of the network with deeper heads')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("price", "saving")):
        return hint

    def same(wanted: Mapping[str, float]) -> list[bool]:
        return [close(answer[key], wanted[key], 5e-3) for key in ("price", "saving")]

    right, before = with_block(False, True), with_block(True, False)
    if all(same(right)):
        return None
    if all(same(before)):
        return "Those are the numbers of the network as it is in the chapter."
    if all(same(with_block(True, True))):
        return "Each head has its block, but the trunk has kept its own: leave out its last layer."
    if close(answer["saving"], 1 - right["saving"], 5e-3):
        return "That is what is left of the cost. The saving is 1 minus it."
    wrong = "saving" if same(right)[0] else "price"
    return f"The {wrong} is off: count a plain step, UPGrad and own inputs, with 16 tasks."


@practice(
    "cost-heads",
    'a dictionary with "plain", "one head" and "both", each a dictionary {2: …, 4: …, 8: …, 16: …}',
)
def _(answer: Any) -> str | None:
    counts = (2, 4, 8, 16)
    ways = ("plain", "one head", "both")
    if not isinstance(answer, Mapping) or set(answer) != set(ways):
        return f"Wanted a dictionary with the keys {ways}, got {answer!r}."
    if hint := next(filter(None, (numbers(answer[way], counts) for way in ways)), None):
        return hint
    plain, one, both = ([float(answer[w][n]) for n in counts] for w in ways)
    if any(a <= b for a, b in zip(plain, one, strict=True)):
        return "One head at a time should stay below a plain step: did two rows change places?"
    if any(a == b for a, b in zip(one, both, strict=True)):
        return "Run each step once before you measure it: the first makes room for Adam's means."
    if any(a < b for a, b in zip(one, both, strict=True)):
        return "Both together should need less than one head at a time: is the trunk checkpointed?"
    added = [networks.ImageHead(16, count) for count in (1, 3, 3, 3)] * 2
    if both[3] - both[2] > 1.5 * 4 * sum(map(networks.count_parameters, added)):
        return "From 8 to 16 tasks more than gradients come on top: are all heads alive at once?"
    return None


# One task has a hundred times the data


@practice("imbalance-shares", 'a dictionary {"T": …, "K": …}')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("T", "K")):
        return hint
    wanted = {"T": math.log(100) / math.log(3), "K": 120.0}
    if close(answer["T"], math.log(100) / math.log(4), 0.01) or close(answer["K"], 160):
        return "One image in four is a body. How many *faces* then come for each body?"
    if close(answer["T"], 1 / wanted["T"], 0.02):
        return "That is one over the temperature: counts are raised to the power of 1/T."
    if not close(answer["T"], wanted["T"], 0.02):
        return "T: write down the share of faces over that of bodies, and take logarithms."
    if not close(answer["K"], wanted["K"], 0.02):
        return "K: the cap cuts only the larger count. Which count of faces gives that share?"
    return None


@practice("imbalance-best-shares", "a function (q, S) → p, of arrays with a number for each task")
def _(answer: Any) -> str | None:
    random = np.random.default_rng(0)
    for n in (2, 3, 5):
        q, S = random.dirichlet(np.ones(n)), random.uniform(0.5, 9, n)
        found = np.asarray(answer(q.copy(), S.copy()), dtype=float)
        if found.shape != (n,):
            return f"For {n} tasks the shares have the shape {found.shape}, wanted ({n},)."
        if not close(found.sum(), 1):
            return "Shares sum to 1: divide by their sum."
        mistakes = {
            "That is the best only if all tasks have the same S.": q,
            "S is the square of a size: with which power does the bound have it?": q * S,
            "The targets count once: look where the bound becomes an equality.": q**2 * S,
            "The targets have to come in as well.": np.sqrt(S),
            "Upside down: the task with larger gradients is sampled more often.": q / np.sqrt(S),
        }
        for hint, shares in mistakes.items():
            if close(found, shares / shares.sum()):
                return hint
        if not close(found, q * np.sqrt(S) / (q * np.sqrt(S)).sum()):
            return "Minimise the sum of q²S/p under the condition that the p sum to 1."
    return None


CONTENDERS = {
    *("proportional", "T = 5", "equal shares", "re-weighted", "bodies alone"),
    *("bodies alone, half", "proportional, 3×", "equal shares, 3×", "re-weighted, T = 2"),
}


@practice("imbalance-tuning", "a dictionary {contender: [its error at each of the four rates]}")
def _(answer: Any) -> str | None:
    if not isinstance(answer, Mapping) or set(answer) != CONTENDERS:
        return f"Wanted a dictionary with the keys of `contenders`, got {answer!r}."
    table = {name: torch.tensor([float(e) for e in row]) for name, row in answer.items()}
    for name, row in table.items():
        if row.shape != (4,) or not row.isfinite().all():
            return f"Wanted four finite numbers for {name!r}, one a rate."
    best = {name: row.min() for name, row in table.items()}
    if min(best.values()) < 1:
        return "These are small: `error` gives squared errors × 1000."
    if best["bodies alone"] >= best["proportional"]:
        return "A network that draws bodies alone is judged on bodies alone."
    if (table["proportional, 3×"] > table["proportional"]).all():
        return "Three times the steps should not harm on new people: does each row have its name?"
    return None


# From a phone to a cluster


@practice("edge-one-head", "what `export.to_onnx` returns for that one task")
def _(answer: Any) -> str | None:
    import onnx

    from mtl_lib.export import OnnxModel

    if not isinstance(answer, OnnxModel):
        return f"Wanted what `export.to_onnx` returns, got a {type(answer).__name__}."
    if len(answer.outputs) != 1:
        return f"It draws {len(answer.outputs)} pictures: wrap the network to ask for one."
    (image,) = answer(torch.zeros(3, FACTORS)).values()
    if image.shape != (3, 3, 24, 24):
        return f"Its images are {tuple(image.shape[1:])}, a portrait is (3, 24, 24)."
    model = networks.MultiTaskDecoder(FACTORS, {"face": (3, functional.mse_loss)}, size=24)
    stored = sum(math.prod(w.dims) for w in onnx.load(answer.path).graph.initializer)
    needed = networks.count_parameters(model)
    if stored < needed:
        return f"It holds {stored:,} numbers; the trunk and one head of the network have more."
    if stored > needed + 500:  # a few shapes are stored as well
        return "It has one output, and still holds weights that this output does not need."
    return None


def in_integers(weight: Any, largest: int, dim: Any = 1, cut: Any = torch.round) -> Any:
    """A weight in steps of its largest number over an integer."""
    scale = weight.abs().amax(dim, keepdim=True) / largest
    return cut(weight / scale) * scale


@practice("edge-bits", "a function (weight, bits) → rounded weight")
def _(answer: Any) -> str | None:
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(2))
    weight *= torch.arange(1, 7)[:, None]
    for bits in (8, 5, 3):
        given = weight.clone()
        found, largest = answer(given, bits), 2 ** (bits - 1) - 1
        if isinstance(found, tuple):
            return "It returns two things: multiply the integers by their scale."
        mistakes: dict[str, tuple[Any, ...]] = {
            "Is the scale one for each output? A row makes one output.": (largest, 0),
            "One scale for all: give each output its own.": (largest, (0, 1)),
            "Integers have a sign: half of them are below 0.": (2**bits - 1,),
            "The largest integer is off by one: which one is it for 8 bits?": (largest + 1,),
            "Round to the nearest integer, not towards 0.": (largest, 1, torch.trunc),
            "Round to the nearest integer, not down.": (largest, 1, torch.floor),
        }
        for hint, settings in mistakes.items():
            if close(found, in_integers(weight, *settings)):
                return hint
        right = in_integers(weight, largest)
        if close(found, right * largest / weight.abs().amax(1, keepdim=True)):
            return "These are the integers: multiply by the scale."
        if not close(found, right):
            return f"With {bits} bits it is off: start from `eight_bits`, and replace its 127."
        if not torch.equal(given, weight):
            return "It changes the weight that it is given: return a new tensor."
    return None


@practice(
    "edge-calibration",
    'a dictionary {"50 people": …, "first": …, "middle": …, "invented": …} of mean shares',
)
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("50 people", "first", "middle", "invented")):
        return hint
    found = {name: float(value) for name, value in answer.items()}
    if min(found.values()) <= 0:
        return "An unexplained share is above 0: its square is over a variance."
    if max(found.values()) - min(found.values()) < 1e-4 * min(found.values()):
        return "All four are the same: does each get a file of its own, with its calibration?"
    if max(found, key=lambda name: found[name]) != "invented":
        return "The invented one should do worst: its numbers are means over 50 people, in one row."
    if any(found[name] > 1.25 * found["50 people"] for name in ("first", "middle")):
        return "One real person is nearly enough: hand over one row of what the network reads."
    return None
