"""Small problems with two objectives and a known Pareto front, to try methods on.

Derived from their papers and checked by the tests: public collections of them contain errors.
"""

import torch
from torch import Tensor

__all__ = ["ZDT1", "ZDT2", "ConflictValley", "Problem", "VLMOP2"]


class Problem:
    """Two losses of one point, and the front that no point can beat."""

    tasks = ("first", "second")

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """Return ``{"first": scalar, "second": scalar}`` of a point ``(n,)``."""
        raise NotImplementedError

    def front(self, points: int = 200) -> Tensor:
        """Return points of the Pareto front, ``(points, 2)``, from one end to the other."""
        raise NotImplementedError


class VLMOP2(Problem):
    """fₖ = 1 − exp(−Σ (xⱼ ± 1/√n)²): a concave front.

    Pareto points have equal coordinates in [−1/√n, 1/√n].

    Reference: D. A. Van Veldhuizen, G. B. Lamont, "Multiobjective Evolutionary Algorithm Test
    Suites", ACM Symposium on Applied Computing, 1999, after C. M. Fonseca, P. J. Fleming, 1995.

    Example:
        >>> [round(f.item(), 4) for f in VLMOP2().losses(torch.zeros(2)).values()]
        [0.6321, 0.6321]
    """

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """See `Problem.losses`; any point ``(n,)``."""
        end = len(x) ** -0.5
        return {
            "first": 1 - (-(x - end).square().sum()).exp(),
            "second": 1 - (-(x + end).square().sum()).exp(),
        }

    def front(self, points: int = 200) -> Tensor:
        """See `Problem.front`; the same for every n."""
        t = torch.linspace(1, -1, points)
        return torch.stack([1 - (-(t - 1).square()).exp(), 1 - (-(t + 1).square()).exp()], 1)


class ZDT1(Problem):
    """f₁ = x₁, f₂ = g (1 − √(f₁/g)), g = 1 + 9 mean(x₂, …): the convex front f₂ = 1 − √f₁.

    Points lie in [0, 1]ⁿ; Pareto points have x₂ = … = 0.

    Reference: E. Zitzler, K. Deb, L. Thiele, "Comparison of Multiobjective Evolutionary Algorithms:
    Empirical Results", Evolutionary Computation 8(2), 2000, definition 4.

    Example:
        >>> [f.item() for f in ZDT1().losses(torch.tensor([0.25, 0.0])).values()]
        [0.25, 0.5]
    """

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """See `Problem.losses`; a point ``(n,)`` of the unit cube, n > 1."""
        g = 1 + 9 * x[1:].mean()
        return {"first": x[0], "second": g * (1 - self._shape(x[0] / g))}

    def front(self, points: int = 200) -> Tensor:
        """See `Problem.front`."""
        first = torch.linspace(0, 1, points)
        return torch.stack([first, 1 - self._shape(first)], 1)

    def _shape(self, ratio: Tensor) -> Tensor:
        return ratio.sqrt()


class ZDT2(ZDT1):
    """As `ZDT1` with the concave front f₂ = 1 − f₁², of which a weighted sum reaches only the ends.

    Reference: as `ZDT1`, definition 5.

    Example:
        >>> [f.item() for f in ZDT2().losses(torch.tensor([0.5, 0.0])).values()]
        [0.5, 0.75]
    """

    def _shape(self, ratio: Tensor) -> Tensor:
        return ratio.square()


class ConflictValley(Problem):
    """A curved valley with steep walls, where the gradients of both losses oppose each other.

    Plain averaging gets stuck on the walls of the valley. Usual starts are (−8.5, 7.5), (−8.5, −5)
    and (9, 9). On the front x₁ is in [−7, 7] and x₂ ≈ −8.3552.

    Reference: B. Liu, X. Liu, X. Jin, P. Stone, Q. Liu, "Conflict-Averse Gradient Descent for
    Multi-task Learning", NeurIPS 2021, section 5.1.

    Example:
        >>> losses = ConflictValley().losses(torch.tensor([0.0, -8.0]))
        >>> [round(loss.item(), 2) for loss in losses.values()]
        [-15.09, -15.09]
    """

    starts = ((-8.5, 7.5), (-8.5, -5.0), (9.0, 9.0))
    depth = -8.3552

    def losses(self, x: Tensor) -> dict[str, Tensor]:
        """See `Problem.losses`; a point ``(2,)``, or a grid ``(2, ...)`` of them."""
        a, b = x[0], x[1]
        upper, lower = (0.5 * b).tanh().clamp(min=0), (-0.5 * b).tanh().clamp(min=0)
        walls = (0.5 * (-a - 7) - (-b).tanh(), 0.5 * (-a + 3) + (-b).tanh() + 2)
        bowls = ((7 - a).square(), (-a - 7).square())
        return {
            task: (wall.abs().clamp(min=5e-6).log() + 6) * upper
            + ((bowl + 0.1 * (-b - 8).square()) / 10 - 20) * lower
            for task, wall, bowl in zip(self.tasks, walls, bowls, strict=True)
        }

    def front(self, points: int = 200) -> Tensor:
        """See `Problem.front`."""
        x = torch.stack([torch.linspace(7, -7, points), torch.full((points,), self.depth)])
        return torch.stack(list(self.losses(x).values()), 1)
