"""Aggregation: one direction from the gradients of many tasks.

Every method here needs only the inner products of the task gradients, the Gramian G = J Jᵀ. Each is
a function from G, ``(tasks, tasks)``, to weights w, ``(tasks,)``, and the direction is Jᵀ w.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from mtl_lib.balancing._balancer import Balancer, check_losses, collect, distribute

__all__ = [
    "IMTLG",
    "MGDA",
    "Aggregation",
    "AlignedMTL",
    "CAGrad",
    "ConFIG",
    "Mean",
    "NashMTL",
    "PCGrad",
    "UPGrad",
]

Array = NDArray[np.float64]


class Aggregation(Balancer):
    """A balancer that turns the task gradients of the shared parameters into one direction.

    Called on a Jacobian it gives the direction, `weights` gives the task weights from a Gramian,
    and `backward` does a training step's part. Parameters of single tasks get the gradient of
    their own loss, which no weight scales. Autograd does not look inside.

    Args:
        chunks: 1 keeps all task gradients in memory: (tasks + 2) times the shared parameters, with
            one backward pass a task. More chunks compute the Gramian chunk by chunk of the
            parameters and then one weighted gradient: memory of (tasks / chunks + 2) times, for
            up to (chunks × tasks + 2) passes.

    Raises:
        ValueError: less than one chunk.
    """

    # How weights change when all gradients grow by a factor: with its power.
    _power = 0.0

    def __init__(self, *, chunks: int = 1) -> None:
        super().__init__()
        if chunks < 1:
            raise ValueError(f"chunks is {chunks}, wanted at least 1.")
        self.chunks = chunks

    @abstractmethod
    def _solve(self, gramian: Array, rounding: float) -> Array:
        """Weights for a Gramian of trace 1; eigenvalues below ``rounding`` are noise."""

    def forward(self, jacobian: Tensor) -> Tensor:
        """Return the direction, ``(tasks, parameters) -> (parameters,)``.

        Raises:
            ValueError: not a matrix of real floating numbers, no task, or an entry that is not
                finite.
        """
        if jacobian.ndim != 2 or not jacobian.is_floating_point() or not len(jacobian):
            raise ValueError(
                f"jacobian has shape {tuple(jacobian.shape)} and dtype {jacobian.dtype}, wanted "
                "(tasks, parameters) with at least one task, real and floating: stack one "
                "gradient a row."
            )
        with torch.no_grad():
            return self.weights(_gramian(jacobian)).to(jacobian) @ jacobian

    @torch.no_grad()
    def weights(self, gramian: Tensor) -> Tensor:
        """Return the task weights, ``(tasks, tasks) -> (tasks,)``, for G = J Jᵀ.

        Where all gradients are zero, so are the weights.

        Raises:
            ValueError: not a square matrix of real floating numbers, no task, or an entry that is
                not finite.
        """
        if gramian.ndim != 2 or gramian.shape[0] != gramian.shape[1] or not len(gramian):
            raise ValueError(
                f"gramian has shape {tuple(gramian.shape)}, wanted (tasks, tasks) with at least "
                "one task: pass jacobian @ jacobian.T."
            )
        if not gramian.is_floating_point():
            raise ValueError(f"gramian has dtype {gramian.dtype}, wanted a real floating one.")
        matrix = gramian.double().cpu().numpy()
        _refuse_not_finite(matrix)
        scale = float(np.trace(matrix))
        if scale <= 0:
            return torch.zeros_like(gramian[0])
        rounding = 4 * len(matrix) * torch.finfo(gramian.dtype).eps
        found = self._solve(matrix / scale, rounding) * scale ** (self._power / 2)
        return torch.from_numpy(found).to(gramian)

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """See `Balancer.backward`; ``shared`` is needed, and every loss must depend on it."""
        check_losses(losses)
        shared = list(shared)
        if self.chunks == 1:
            jacobian = collect(losses, shared)
            weights = self.weights(_gramian(jacobian))
            distribute(weights.to(jacobian) @ jacobian, shared)
        else:
            weights = self._backward_in_chunks(losses, shared)
        return dict(zip(losses, weights, strict=True))

    def _backward_in_chunks(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
        if not shared:
            collect(losses, shared)  # the same error as with one chunk
        gramian: Tensor | None = None
        for chunk in _cut(shared, self.chunks):
            part = _gramian(torch.stack([_gradient(loss, chunk) for loss in losses.values()]))
            gramian = part if gramian is None else gramian + part
        assert gramian is not None
        weights = self.weights(gramian)
        before = [parameter.grad for parameter in shared]
        values = torch.stack(list(losses.values()))
        values.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        for parameter, gradient in zip(shared, before, strict=True):
            parameter.grad = gradient  # what the tasks' own parameters got stays
        direction = _gradient(weights.to(values) @ values, shared, retain=False)
        distribute(direction, shared)
        return weights


class Mean(Aggregation):
    """The mean of the task gradients: what the plain average of the losses does.

    Example:
        >>> Mean()(torch.tensor([[0.0, 2.0], [2.0, 0.0]])).tolist()
        [1.0, 1.0]
    """

    def _solve(self, gramian: Array, rounding: float) -> Array:
        return np.full(len(gramian), 1 / len(gramian))


class MGDA(Aggregation):
    """The shortest vector in the convex hull of the task gradients.

    If it is zero, the point is Pareto-stationary; otherwise every task's loss falls along it at
    least as fast as ‖d‖². Small gradients pull it towards themselves.

    The problem min wᵀGw on the simplex is solved exactly: min ‖Jᵀx‖² + (1ᵀx − 1)² over x ⪰ 0 has
    a solution proportional to it, and is one of non-negative least squares.

    Reference: J.-A. Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective
    optimization", Comptes Rendus Mathématique 350, 2012; O. Sener, V. Koltun, "Multi-Task Learning
    as Multi-Objective Optimization", NeurIPS 2018, eq. 3, whose Frank-Wolfe iterations we replace.

    Example:
        >>> MGDA()(torch.tensor([[3.0, 0.0], [0.0, 3.0]])).tolist()
        [1.5, 1.5]
    """

    def _solve(self, gramian: Array, rounding: float) -> Array:
        root = _root(gramian, rounding)
        x = _nnls(np.vstack([root, np.ones(len(gramian))]), np.append(np.zeros(len(root)), 1.0))
        weights: Array = x / x.sum()
        return weights


class PCGrad(Aggregation):
    """Each gradient, projected off those that it conflicts with, one after another; their sum.

    The order is random, and the result depends on it from three tasks on. For two tasks the result
    conflicts with neither; for more it may.

    Reference: T. Yu, S. Kumar, A. Gupta, S. Levine, K. Hausman, C. Finn, "Gradient Surgery for
    Multi-Task Learning", NeurIPS 2020, algorithm 1. We shuffle in every step, as the paper says; a
    widely copied implementation drops the result of its shuffle. Randomness comes from
    ``torch.randperm``, one permutation a task.

    Example:
        >>> PCGrad()(torch.tensor([[1.0, 0.0], [-1.0, 1.0]])).tolist()
        [0.5, 1.5]
    """

    def _solve(self, gramian: Array, rounding: float) -> Array:
        tasks = len(gramian)
        orders = np.stack([torch.randperm(tasks).numpy() for _ in range(tasks)])
        projected, rows = np.eye(tasks), np.arange(tasks)  # row i: coefficients of gradient i
        lengths = np.diag(gramian)
        for others in orders.T:  # all tasks at once, each with the next one of its own order
            inner = (projected * gramian[others]).sum(1)
            conflict = (inner < 0) & (others != rows)
            step = np.divide(inner, lengths[others], out=np.zeros(tasks), where=conflict)
            projected[rows, others] -= step
        total: Array = projected.sum(0)
        return total


class CAGrad(Aggregation):
    """The direction near the mean gradient along which the worst task improves most.

    max over d of min over i of gᵢ·d, where ‖d − g₀‖ ≤ c ‖g₀‖ and g₀ is the mean. With c = 0 it is
    the mean; from c = 1 on it conflicts with no task.

    By duality d = g₀ + c ‖g₀‖ u with a unit vector u = Jᵀy, y ⪰ 0, and y satisfies the conditions
    of a non-negative least squares problem with one free number s, which a root search finds from
    ‖u‖ = 1. Where no such vector exists the point is Pareto-stationary, and the weights are zero.

    Reference: B. Liu, X. Liu, X. Jin, P. Stone, Q. Liu, "Conflict-Averse Gradient Descent for
    Multi-task Learning", NeurIPS 2021, eq. 2 and 3. Public code rescales the result by
    1 / (1 + c) or 1 / (1 + c²); like the paper, we do not.

    Args:
        c: radius as a share of the mean gradient's length, 0 or more.
        options: see `Aggregation`.

    Raises:
        ValueError: c is negative or not finite.

    Example:
        >>> CAGrad(c=0.5)(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.1835, 1.2041, 1.2041])
    """

    def __init__(self, c: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        if not (c >= 0 and math.isfinite(c)):
            raise ValueError(f"c is {c}, wanted a finite number of 0 or more.")
        self.c = c

    def _solve(self, gramian: Array, rounding: float) -> Array:
        mean = np.full(len(gramian), 1 / len(gramian))
        radius = self.c * math.sqrt(max(0.0, mean @ gramian @ mean))
        if radius <= math.sqrt(rounding) * self.c:
            return mean if self.c == 0 else np.zeros(len(gramian))
        root = _root(gramian, rounding)
        matrix = np.vstack([math.sqrt(radius) * root, np.ones(len(gramian))])
        target = np.append(-root @ mean / math.sqrt(radius), 0.0)

        def unit(s: float) -> Array:
            target[-1] = s
            return _nnls(matrix, target)

        def excess(s: float) -> float:
            return float(np.linalg.norm(root @ unit(s))) - 1

        low, high = -1.0, 1.0
        while excess(low) > 0:
            low *= 4
        while excess(high) < 0:
            high *= 4
            if high > 1e12:  # the length stays below 1: gradients cancel
                return np.zeros(len(gramian))
        s = optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-14)
        weights: Array = mean + radius * unit(float(s))
        return weights


class IMTLG(Aggregation):
    """The combination, with weights that sum to 1, whose projections on all gradients are equal.

    gᵢ·d / ‖gᵢ‖ is the same for every task. Weights may be negative, and large where gradients are
    nearly dependent.

    Reference: L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao, W. Zhang, "Towards
    Impartial Multi-task Learning", ICLR 2021, eq. 4, in the form w ∝ G⁺ √diag G, which needs no
    choice of a first task.

    Example:
        >>> IMTLG()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.0767, 1.0000, 1.0000])
    """

    def _solve(self, gramian: Array, rounding: float) -> Array:
        v = _pseudo_inverse(gramian, rounding) @ np.sqrt(np.diag(gramian))
        # A sum of zero leaves no combination to scale.
        return v / v.sum() if abs(v.sum()) > rounding * np.abs(v).sum() else np.zeros(len(v))


class NashMTL(Aggregation):
    """The bargaining solution: the direction that maximises Σ log gᵢ·d in a ball.

    Its weights satisfy G w = 1 / w, so that every task gains alike, each in its own unit: rescaling
    a loss changes nothing, and ‖d‖² is the number of tasks. We minimise the convex
    ½ wᵀGw − Σ log wᵢ by Newton's method, damped where far from the solution, to rounding; the
    authors' iterations of convex programs stop early on ill-conditioned gradients.

    A task with a zero gradient gets the weight 0. Where gradients cancel there is no solution, the
    point is Pareto-stationary, and all weights are 0.

    Reference: A. Navon, A. Shamsian, I. Achituve, H. Maron, K. Kawaguchi, G. Chechik, E. Fetaya,
    "Multi-Task Learning as a Bargaining Game", ICML 2022, claim 3.1. The authors' code also
    bounds the norm of the direction by 1 and updates weights only now and then; for that, clip.

    Example:
        >>> d = NashMTL()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]]))
        >>> (d / d.norm()).round(decimals=4), round((d @ d).item(), 4)
        (tensor([0.0542, 0.7061, 0.7061]), 2.0)
    """

    _power = -1.0
    _STEPS = 200  # damped Newton steps; a solution takes ten to thirty

    def _solve(self, gramian: Array, rounding: float) -> Array:
        lengths = np.sqrt(np.diag(gramian))
        alive = lengths > rounding
        unit = gramian[np.ix_(alive, alive)] / np.outer(lengths[alive], lengths[alive])
        weights = np.zeros(len(gramian))
        weights[alive] = self._bargain(unit) / lengths[alive]
        return weights

    def _bargain(self, cosines: Array) -> Array:
        """Solve C w = 1 / w for unit gradients; zeros where there is no solution."""
        tasks = len(cosines)
        w = np.full(tasks, 1 / math.sqrt(tasks))
        for _ in range(self._STEPS):
            scaled = cosines * np.outer(w, w)  # in units of w every number is near 1
            residual = 1 - scaled.sum(1)
            if np.abs(residual).max() < 1e-13 * tasks:
                return w
            step = np.linalg.solve(scaled + np.eye(tasks), residual)
            decrement = math.sqrt(max(0.0, residual @ step))
            w = w * (1 + step / (1 + decrement if decrement > 0.25 else 1))
            if w.max() > 1e9:
                break
        return w if np.abs(1 - w * (cosines @ w)).max() < 1e-9 else np.zeros(tasks)


class AlignedMTL(Aggregation):
    """The mean after all singular values of the gradient matrix were set to the smallest.

    No task dominates and none is lost; but the result may still conflict with one.

    Reference: D. Senushkin, N. Patakin, A. Kuznetsov, A. Konushin, "Independent Component Alignment
    for Multi-Task Learning", CVPR 2023, eq. 10 and algorithm 1. Equal weights are 1 / n here, like
    a mean; some public code has a sum.

    Example:
        >>> AlignedMTL()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.2133, 0.9673, 0.9673])
    """

    def _solve(self, gramian: Array, rounding: float) -> Array:
        values, vectors = _eigen(gramian, rounding)
        balance = vectors * np.sqrt(values.min() / values) @ vectors.T
        weights: Array = balance.mean(1)
        return weights


class ConFIG(Aggregation):
    """The direction with equal cosines to all gradients, as long as their projections on it sum to.

    d̂ ∝ U⁺1 for unit gradients U, and d = (Σ gᵢ·d̂) d̂. We take the pseudo-inverse of the small
    matrix U Uᵀ instead of that of U. A zero gradient counts as a zero row of U.

    Reference: Q. Liu, M. Chu, N. Thuerey, "ConFIG: Towards Conflict-free Training of Physics
    Informed Neural Networks", ICLR 2025, eq. 2 to 4.

    Example:
        >>> ConFIG()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.1588, 2.0706, 2.0706])
    """

    def _solve(self, gramian: Array, rounding: float) -> Array:
        lengths = np.sqrt(np.diag(gramian))
        inverse = np.divide(1.0, lengths, out=np.zeros(len(lengths)), where=lengths > rounding)
        cosines = gramian * np.outer(inverse, inverse)
        direction = inverse * (_pseudo_inverse(cosines, rounding) @ np.sign(inverse))
        squared = direction @ gramian @ direction
        if squared <= rounding:
            return np.zeros(len(gramian))
        projections = gramian @ direction
        weights: Array = direction * (projections.sum() / squared)
        return weights


class UPGrad(Aggregation):
    """The mean of the gradients, each projected on the directions that conflict with no task.

    The only method here that conflicts with no task, does not weigh a task down for being large,
    and is a weighted combination with non-negative weights.

    The projection of gᵢ has weights v ⪰ eᵢ that minimise vᵀGv; with v = eᵢ + x that is a problem
    of non-negative least squares in x.

    Reference: P. Quinton, V. Rey, "Jacobian Descent for Multi-Objective Optimization",
    arXiv:2406.16232, 2024, section 3.2. The authors' library adds 1e-4 of the trace to the diagonal
    of G before it solves; we add nothing.

    Example:
        >>> UPGrad()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.2924, 1.9006, 1.9006])
    """

    def _solve(self, gramian: Array, rounding: float) -> Array:
        root = _root(gramian, rounding)
        extra = [_nnls(root, -column) for column in root.T]
        weights: Array = (np.eye(len(gramian)) + np.stack(extra)).mean(0)
        return weights


def _gramian(jacobian: Tensor) -> Tensor:
    """J Jᵀ, in single precision at least."""
    wide = jacobian.float() if jacobian.dtype in (torch.float16, torch.bfloat16) else jacobian
    return wide @ wide.T


def _gradient(loss: Tensor, inputs: Sequence[Tensor], *, retain: bool = True) -> Tensor:
    """``(parameters,)``; zeros where the loss does not depend on an input."""
    parts = torch.autograd.grad(loss, inputs, retain_graph=retain, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def _cut(shared: Sequence[Tensor], chunks: int) -> list[list[Tensor]]:
    """Consecutive groups of about equally many numbers, at most ``chunks``."""
    ends = np.cumsum([parameter.numel() for parameter in shared])
    group = np.minimum((ends - 1) * chunks // ends[-1], chunks - 1)
    return [[p for p, g in zip(shared, group, strict=True) if g == i] for i in np.unique(group)]


def _refuse_not_finite(gramian: Array) -> None:
    bad = np.flatnonzero(~np.isfinite(np.diag(gramian)))
    if len(bad) or not np.isfinite(gramian).all():
        raise ValueError(
            f"the gradients of tasks number {bad.tolist()} (from 0) are not finite, or too large "
            "to multiply: look for the loss that is infinite or not a number."
        )


def _eigen(gramian: Array, rounding: float) -> tuple[Array, Array]:
    """Eigenvalues above rounding, ``(rank,)``, and their vectors, ``(tasks, rank)``."""
    values, vectors = np.linalg.eigh(gramian)
    kept = values > max(rounding, 0.0) * values.max()
    return values[kept], vectors[:, kept]


def _root(gramian: Array, rounding: float) -> Array:
    """R, ``(rank, tasks)``, with RᵀR = G."""
    values, vectors = _eigen(gramian, rounding)
    root: Array = np.sqrt(values)[:, None] * vectors.T
    return root


def _pseudo_inverse(matrix: Array, rounding: float) -> Array:
    values, vectors = _eigen(matrix, rounding)
    inverse: Array = vectors / values @ vectors.T
    return inverse


def _nnls(matrix: Array, target: Array) -> Array:
    """Min ‖matrix x − target‖ over x ⪰ 0."""
    x: Array = optimize.nnls(matrix, target, maxiter=100 * matrix.shape[1])[0]
    return x
