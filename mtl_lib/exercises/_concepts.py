"""Practice exercises of part 2."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mtl_lib.data import figurines
from mtl_lib.exercises._practice import choice, close, hint_for, numbers, practice
from mtl_lib.networks import (
    Decoder,
    ImageHead,
    StyledDecoder,
    conv_block,
    count_flops,
    count_parameters,
)

_INPUTS = len(figurines.FACTORS) + len(figurines.CLASSES)
_GAIN = "A gain is below 1: it is a share of the error, (alone − together) / alone."


@practice("relatedness-angle", "an angle in degrees")
def _(answer: Any) -> str | None:
    mistakes = {
        "That is the angle in radians.": torch.pi / 4,
        "That is its cosine: which angle has it?": 0.5**0.5,
        "That would be φ = 1.": 90,
        "That is φ itself, in units of a right angle.": 0.5,
    }
    otherwise = "A direction's own entry on the diagonal is the cosine of the angle."
    return hint_for(float(answer), 45, mistakes, otherwise, tolerance=0.02)


@practice("relatedness-crossover", "a dictionary {number of bodies: gain}")
def _(answer: Any) -> str | None:
    counts = sorted(answer)
    if hint := numbers(answer, counts):
        return hint
    if not any(40 < count < 300 for count in counts):
        return "Measure at one or two numbers between 40 and 300."
    if max(answer.values()) >= 1:
        return _GAIN
    if any(answer[few] > 0 >= answer[more] for few, more in pairwise(counts)):
        return None
    if min(answer.values()) > 0 and counts[-1] < 300:
        return "A gain everywhere: the crossing is at a larger number of bodies."
    if max(answer.values()) <= 0 and counts[0] > 40:
        return "No gain anywhere: the crossing is at a smaller number, or there is none."
    return None  # from end to end, and it does not cross: so it is with little training


@practice(
    "relatedness-sign",
    'a dictionary with "flip", a function of the network\'s inputs x, and "gain", a number',
)
def _(answer: Any) -> str | None:
    u, worn = torch.rand(7, len(figurines.FACTORS)), torch.eye(len(figurines.CLASSES))
    worn = worn[torch.arange(7) % len(worn)]
    x, wanted = (torch.cat([2 * factors - 1, worn], dim=1) for factors in (u, 1 - u))
    mistakes = {
        "Headwear has no opposite: flip the factors alone.": -x,
        "x has factors between −1 and 1, so that u → 1 − u is not x → 1 − x.": torch.cat(
            [2 - 2 * u, worn], dim=1
        ),
        "Factors and headwear were both subtracted from 1: look again at what x holds.": 1 - x,
        "Nothing changed. Does the function return what it changed?": x,
    }
    otherwise = "Which x belongs to u, which to 1 − u? Write both down for one factor."
    if hint := hint_for(answer["flip"](x.clone()), wanted, mistakes, otherwise, tolerance=1e-4):
        return hint
    if hint := numbers({"gain": answer["gain"]}, ["gain"]):
        return hint
    return None if answer["gain"] < 1 else _GAIN


@practice(
    "sharing-bound", 'a dictionary of two shares that are saved, "parameters" and "operations"'
)
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("parameters", "operations")):
        return hint
    first = nn.Sequential(nn.Linear(_INPUTS, 64), nn.SiLU())
    trunk, head = nn.Sequential(first, Decoder(64, size=16), conv_block(16, 16)), ImageHead(16, 1)
    x, maps = torch.zeros(1, _INPUTS), torch.zeros(1, 16, 8, 8)
    costs = torch.tensor(
        [
            [count_parameters(trunk), count_flops(trunk, x)],
            [count_parameters(head), count_flops(head, maps)],
        ]
    ).double()
    wanted = 9 * costs[0] / (10 * costs.sum(0))
    mistakes = {
        "Those are bounds, for heads that cost nothing.": [0.9, 0.9],
        "That is the share that is left. Which share is saved?": 1 - wanted,
        "Give shares between 0 and 1.": 100 * wanted,
        "Each of the ten tasks has a head, not all ten together one.": 9
        * costs[0]
        / (10 * costs[0] + costs[1]),
        "Did parameters and operations change places?": wanted.flip(0),
    }
    otherwise = "Saved are 9 trunks of 10 trunks and 10 heads; the chapter's table has the numbers."
    found = [float(answer[name]) for name in ("parameters", "operations")]
    return hint_for(found, wanted, mistakes, otherwise, tolerance=0.007)


@practice("sharing-identity", "a cross-stitch network that is three separate networks")
def _(answer: Any) -> str | None:
    if isinstance(answer, Tensor):
        return "Write these numbers into a network's `alpha`, and hand in the network."
    x = torch.rand(4, _INPUTS)
    with torch.no_grad():
        mixed = answer(x)
        alone = {
            task: answer.heads[task](nn.Sequential(*answer.columns[task])(x)) for task in mixed
        }
        if all(close(mixed[task], alone[task], 1e-4) for task in mixed):
            return None
        alpha = answer.alpha.detach()
    eye = torch.eye(len(mixed))
    if any(close(table, eye) for table in alpha):
        return "Right after one block, but not after every block."
    if close(alpha * eye, torch.zeros_like(alpha)):
        return "No task gets features of its own: what has to stand on the diagonal?"
    if not close(alpha * (1 - eye), torch.zeros_like(alpha)):
        return "Some task still gets features of another: which of the α let them in?"
    return "Nothing is mixed, but a task's own features come back at another size."


@practice(
    "sharing-rate",
    'a dictionary with "separate" and "hard", each {rate: error}, and "less error", one of the two',
)
def _(answer: Any) -> str | None:
    names = ("separate", "hard")
    if set(answer["separate"]) != set(answer["hard"]) or len(answer["hard"]) < 5:
        return "Wanted five learning rates, the same for both contenders."
    for name in names:
        if hint := numbers(answer[name], answer[name]):
            return hint
        if min(answer[name].values()) <= 0:
            return "An error is positive: it is divided by the variance of the task."
        if len(set(answer[name].values())) == 1:
            return f"Every rate gives {name!r} the same error: did it reach the training?"
    if hint := choice(answer["less error"], names):
        return hint
    if answer["less error"] != min(names, key=lambda name: min(answer[name].values())):
        return "Choose the best rate for each, and compare the two errors that they reach."
    return None


@practice(
    "sharing-long",
    'a dictionary with "speed", "room" and "found", each "catches up" or "stays behind"',
)
def _(answer: Any) -> str | None:
    for part in ("speed", "room", "found"):
        if hint := choice(answer[part], ("catches up", "stays behind")):
            return f"{part}: {hint}"
    if answer["speed"] != "catches up":
        return "If steps are only less effective, what do many more of them do?"
    if answer["room"] != "stays behind":
        return "If the maps are too narrow for all tasks, do more steps make them wider?"
    if answer["found"] != "stays behind":
        return "Compare the rows 'separate' and 'hard' of the table, at its last step."
    return None


@practice("transfer-count", 'a dictionary with "own", a number, and "share", of all parameters')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("own", "share")):
        return hint
    model = StyledDecoder(_INPUTS, ["shaded", "flat"], 3, size=16)
    own, total = sum(p.numel() for p in model.task_parameters("flat")), count_parameters(model)
    mistakes = {
        "A style owns a scale *and* a shift for each channel.": own / 2,
        "That is what two styles own together.": 2 * own,
        "There are two layers of maps, with 32 and with 16 channels: both have a norm.": 64,
        "That is one layer only.": 32,
    }
    otherwise = "For each channel of each normalised map, what does a style own?"
    if hint := hint_for(float(answer["own"]), own, mistakes, otherwise):
        return hint
    mistakes = {"That is in per cent. Give a share, between 0 and 1.": 100 * own / total}
    otherwise = "The number is right. Divide it by all parameters of a network with two styles."
    return hint_for(float(answer["share"]), own / total, mistakes, otherwise, tolerance=0.03)


@practice("transfer-forget", 'a dictionary of errors of faces × 1000, "before", "after", "joint"')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ("before", "after", "joint")):
        return hint
    before, after = answer["before"], answer["after"]
    if min(answer.values()) <= 0 or max(answer.values()) > 1000:
        return "A mean squared error of pixels is between 0 and 1, so × 1000 between 0 and 1000."
    if max(answer.values()) < 1:
        return "Multiply the errors by 1000, as the chapter does."
    if close(before, after):
        return "Before and after are equal: `fine_tuned` returns a new network, measure that one."
    if after < before:
        return "Fine-tuning on bodies improved *faces*? Look which head and images you compare."
    if answer["joint"] >= after:
        return "Give joint training the faces as well, in every step."
    return None


@practice("transfer-bias", "a function (base, new, n, seed) → model, parameters to train, rate")
def _(answer: Any) -> str | None:
    base = StyledDecoder(_INPUTS, ["shaded", "flat", "sketch"], 3, size=16)
    model, parameters, _ = answer(base, "negative", 4, 0)
    given = list(parameters)
    if model is base or "negative" in base.tasks:
        return "The network that was handed in has changed: copy it first."
    if "negative" not in model.tasks:
        return "The network does not know the new style: `add_style`."
    if model.heads["negative"] is model.heads["shaded"]:
        return "All styles still share this head: training it would change them all. Copy it."
    own = {id(p) for p in model.task_parameters("negative")}
    head, chosen = {id(p) for p in model.heads["negative"].parameters()}, {id(p) for p in given}
    if not head <= chosen:
        return "The new head is there, but it is not among the parameters to train."
    if not own <= chosen:
        return "Train the new style's scales and shifts as well as its head."
    return None if own == chosen else "Too many parameters: all that other styles use has to stay."
