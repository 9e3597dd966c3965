"""Practice exercises of part 3."""

import math
from typing import Any

import torch

from mtl_lib.balancing import PCGrad, UPGrad
from mtl_lib.exercises._practice import close, numbers, practice

# What does a weighted sum of losses really say?


@practice("sum-scale", 'a dictionary {"gradient descent": ratio, "Adam": ratio}')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["gradient descent", "Adam"]):
        return hint
    plain, adam = float(answer["gradient descent"]), float(answer["Adam"])
    if not close(plain, 1000, 0.02):
        if close(plain, 0.001, 0.02):
            return "Turn the ratio over: the step with the large weights comes first."
        return "Gradient descent: the step is the learning rate times the gradient; how long is it?"
    if close(adam, 1, 0.1):
        return None
    if close(adam, 1000, 0.1):
        return "Adam divides by the size of the gradients: what becomes of a factor in all of them?"
    return "Adam: take one step with each factor, from equal parameters, and divide the lengths."


@practice("sum-stationary", "a function λ₁ → first loss")
def _(answer: Any) -> str | None:
    inside = (0.4, 0.5, 0.8)
    ends = [float(answer(share)) for share in inside]
    roots = [(1 - share) / (2 * share) for share in inside]
    if not close(ends, [root**2 for root in roots]):
        if close(ends, roots):
            return "That is the square root of the first coordinate."
        if close(ends, [1 - root for root in roots]):
            return "That is the second loss; the first one is wanted."
        if close(ends[:2], [(1 / (4 * root)) ** 2 for root in roots[:2]]):
            return "Which weight belongs to which gradient? λ₁ weighs the coordinate itself."
        return "On the front, set λ₁ times one derivative plus λ₂ times the other to zero."
    if close([float(answer(share)) for share in (0.1, 0.3)], [1, 1]):
        return None
    return "Right above 1/3. Below, may the first coordinate go where the formula sends it?"


@practice("sum-mu", "a function (losses, weights) → limit")
def _(answer: Any) -> str | None:
    losses = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    weights = torch.tensor([1.0, 3.0, 0.4], dtype=torch.float64)
    found, terms = answer(losses, weights), weights * losses
    if close(found, terms.mean()):
        return None
    if close(found, terms.sum()):
        return "Nearly: the logarithm of n, taken off, leaves the logarithm of a mean."
    if close(found, terms.max()):
        return "That is the limit for a small μ; here it grows."
    if close(found, losses.mean()) or close(found, terms.sum() / weights.sum()):
        return "The weights themselves stay in the limit, and need not sum to 1."
    return "For a large μ, exp(λL/μ) is nearly 1 + λL/μ. What is the logarithm of the sum, then?"


# Who picks the weights?


@practice(
    "choosing-unit", 'a dictionary {"geometric mean": factor, "sum": factor, "uncertainty": factor}'
)
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["geometric mean", "sum", "uncertainty"]):
        return hint
    if not close(float(answer["sum"]), 100, 0.01):
        return "Sum: the weights stay the same; what becomes of the gradient of the image's loss?"
    mean = float(answer["geometric mean"])
    if close(mean, 100 ** (1 / 3), 0.01):
        return "Geometric mean: that factor is common to all tasks. Divide the image's part by it."
    if close(mean, 0.01, 0.01):
        return "Geometric mean: that is the weight alone. A part is the weight times the gradient."
    if not close(mean, 1, 0.01):
        return "Geometric mean: its weights are 1 / (n Lᵢ) times the mean. Put in both losses."
    if not close(float(answer["uncertainty"]), 100, 0.01):
        return "Uncertainty: in the first step s is still 0. Does the weight know of the new unit?"
    return None


@practice("choosing-laplace", "a function (L, s) → uncertainty term")
def _(answer: Any) -> str | None:
    loss, s = torch.tensor([[0.1, 0.3, 0.3, 0.02], [0.0, 0.0, -1.0, 2.0]], dtype=torch.float64)
    found = torch.stack(
        [torch.as_tensor(answer(*pair), dtype=torch.float64) for pair in zip(loss, s, strict=True)]
    )

    def same(term: torch.Tensor) -> bool:
        return close(found - found[0], term - term[0])  # up to a constant

    weighted = torch.exp(-s) * loss
    if same(weighted + s):
        return None
    if same((weighted + s) / 2):
        return "That is the Gaussian term. Which density has |t − y| in its exponent, not a square?"
    if same(torch.exp(-s / 2) * loss + s / 2):
        return "Here s is the logarithm of the scale itself, not of its square."
    if same(weighted):
        return "With that, s would grow for ever: what makes the density integrate to 1?"
    if same(weighted - s):
        return "Mind the sign of −log of the factor in front of the density."
    return "Write down −log p of the density with |t − y| in its exponent, and replace b by eˢ."


@practice("choosing-log-term", 'a dictionary of numbers {"s": …, "total": …, "weight": …}')
def _(answer: Any) -> str | None:
    if hint := numbers(answer, ["s", "total", "weight"]):
        return hint
    s = 0.0
    for _ in range(50):
        s += 0.5 * math.exp(-s) * 0.3
    found = float(answer["s"])
    if close(found, s, 0.02):
        if close(float(answer["weight"]), math.exp(-s), 0.04):
            return "Weight: the ½ of the loss multiplies its gradient as well."
        if not close(float(answer["weight"]), 0.5 * math.exp(-s), 0.04):
            return "Weight: by what is the gradient of the loss multiplied, with this s?"
        if not close(float(answer["total"]), 0.5 * math.exp(-s) * 0.3, 0.04):
            return "Total: put s into what is left of the loss, and take 0.3 for the task."
        return None
    if found < 0:
        return "s: it falls if ½ s is still in the loss, or if a step goes up the slope."
    return "s: fifty times, subtract the derivative of what is left with respect to s, from s = 0."


# What if gradients disagree?


@practice(
    "conflict-upgrad", "a function (2, n) → (n,) that makes UPGrad's direction out of PCGrad's"
)
def _(answer: Any) -> str | None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        pair = torch.randn(2, 5, generator=generator, dtype=torch.float64)
        if not close(answer(pair), UPGrad()(pair)):
            if close(answer(pair), 2 * UPGrad()(pair)):
                return "The direction is right, its length is not: mean or sum of the two rests?"
            return "Project each gradient on the cone of directions that harm neither task."
    return None


@practice("conflict-nash", "a function p → length of the direction")
def _(answer: Any) -> str | None:
    powers = [torch.ones(4), torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.3, 0.5])]
    found = [float(answer(p)) for p in powers]
    if close(found, [float(p.sum().sqrt()) for p in powers]):
        return None
    if close(found, [float(p.sum()) for p in powers]):
        return "That is the square of the length."
    if close(found[0], 2.0):
        return "Right where every entry of p is 1. Where does p come into wᵀGw?"
    return "With d = Jᵀw, the squared length is wᵀGw: put in what Gw is."


@practice("conflict-three", "a tensor (3, n), one gradient a row")
def _(answer: Any) -> str | None:
    if not isinstance(answer, torch.Tensor) or answer.ndim != 2 or len(answer) != 3:
        return "Wanted a tensor with three rows, one for each gradient."
    rows = answer.detach().double()
    if not bool(rows.isfinite().all()) or not bool(rows.norm(dim=1).min() > 0):
        return "Every gradient should be finite, and none zero."
    rows = rows / rows.norm(dim=1).max()
    inner = rows @ rows.T
    with torch.random.fork_rng(devices=[]):  # PCGrad draws the order of projections
        torch.manual_seed(0)
        gain = min(float((rows @ PCGrad()(rows)).min()) for _ in range(20))
    if gain < -1e-6:
        return None
    if bool((inner >= 0).all()):
        return "No two of these conflict, so PCGrad adds them up, and every task gains."
    return "In 20 orders of projection no task lost. Try random ones, in few dimensions."
