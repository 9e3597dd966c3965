"""Aggregation: one direction from the gradients of many tasks.

Every method here needs only the inner products of the task gradients, the Gramian G = J Jᵀ. Each is
a function from G, ``(tasks, tasks)``, to weights w, ``(tasks,)``, and the direction is Jᵀ w.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from mtl_lib.balancing._balancer import (
    Balancer,
    check_losses,
    check_shared,
    collect,
    distribute,
    flat_gradient,
)
from mtl_lib.distributed import average, broadcast

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
            parameters and then one weighted gradient: memory of (tasks / chunks + 2) times at
            best, for up to (chunks × tasks + 2) passes. A chunk is at least one tensor, so that
            memory does not fall below (tasks × the share of the largest tensor + 2) times.

    Raises:
        ValueError: less than one chunk.
    """

    # How weights change when all gradients grow by a factor: with its power.
    _power = 0.0
    # Whether the direction is a mean over tasks, in which those with a zero gradient count.
    _averages = False
    # Whether one zero gradient makes the direction zero.
    _stops = False

    def __init__(self, *, chunks: int = 1) -> None:
        super().__init__()
        if chunks < 1:
            raise ValueError(f"chunks is {chunks}, wanted at least 1.")
        self.chunks = chunks

    @abstractmethod
    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        """Weights of gradients with these cosines, ``(tasks, tasks)``, and lengths, ``(tasks,)``.

        No length is 0, and the longest is 1. Keeping lengths apart keeps precision where they
        differ by many orders of magnitude. An eigenvalue below ``rounding`` times the largest is
        noise.
        """

    def forward(self, jacobian: Tensor) -> Tensor:
        """Return the direction, ``(tasks, parameters) -> (parameters,)``.

        Raises:
            ValueError: not a matrix of real floating numbers, no task, or an entry that is not
                finite.
        """
        _check_jacobian(jacobian)
        jacobian = jacobian.detach()
        return self._weights(_gramian(jacobian)).to(jacobian) @ jacobian

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
        return self._weights(gramian.detach())

    def _weights(self, gramian: Tensor) -> Tensor:
        """`weights` without its checks of shape and type."""
        matrix = gramian.cpu().numpy().astype(np.float64)
        _refuse_not_finite(matrix)
        lengths = np.sqrt(matrix.diagonal().clip(0))
        alive = lengths > 0  # a zero gradient has no say, and no angle to any other
        weights = np.zeros(len(lengths))
        if alive.all():
            weights = self._scaled(matrix, lengths, gramian.dtype)
        elif self._stops:
            weights = ~alive / (~alive).sum()
        elif alive.any():
            found = self._scaled(matrix[np.ix_(alive, alive)], lengths[alive], gramian.dtype)
            weights[alive] = found * (alive.mean() if self._averages else 1)
        return torch.from_numpy(weights).to(gramian)

    def _scaled(self, gramian: Array, lengths: Array, dtype: torch.dtype) -> Array:
        longest = float(lengths.max())
        rounding = 4 * len(lengths) * torch.finfo(dtype).eps
        cosines = gramian / (lengths[:, None] * lengths)
        weights: Array = self._solve(cosines, lengths / longest, rounding) * longest**self._power
        return weights

    def batched_backward(
        self,
        representation: Tensor,
        losses: Callable[[Tensor], Mapping[str, Tensor]],
        shared: Iterable[Tensor],
    ) -> dict[str, Tensor]:
        """Do what `backward` does, with one pass through the trunk for all tasks together.

        Each task's gradient goes back through its own head by itself, and then all of them through
        the trunk in one batch. The result is the same, unlike that of `through`, up to rounding.
        This saves the start of operations, not operations, and needs more memory. On a processor,
        measure before you choose it. Small decoders took from a few per cent less to a few more
        time than `backward` with 8 and 16 tasks, and with 8 a peak of 1.6 times the memory.

        Args:
            representation: what the heads read, any shape, with the graph that made it.
            losses: computes ``{task: scalar}`` from a representation, through the heads.
            shared: the parameters of the trunk.

        Returns:
            As `backward`.

        Example:
            >>> trunk, heads = nn.Linear(3, 4), {"a": nn.Linear(4, 1), "b": nn.Linear(4, 1)}
            >>> def losses(z):
            ...     return {task: head(z).square().mean() for task, head in heads.items()}
            >>> z = trunk(torch.ones(5, 3))
            >>> list(UPGrad().batched_backward(z, losses, trunk.parameters()))
            ['a', 'b']
        """
        shared, leaf = list(shared), representation.detach().requires_grad_()
        values = losses(leaf)
        check_losses(values)
        outer = collect(values, [leaf]).reshape(-1, *leaf.shape)
        parts = torch.autograd.grad(
            representation, shared, outer, is_grads_batched=True, materialize_grads=True
        )
        jacobian = torch.cat([part.flatten(1) for part in parts], dim=1)
        return dict(zip(values, self._follow(jacobian, shared), strict=True))

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """See `Balancer.backward`; ``shared`` is needed, and every loss must depend on it."""
        check_losses(losses)
        shared = list(shared)
        if self.chunks == 1:
            weights = self._follow(collect(losses, shared), shared)
        else:
            weights = self._backward_in_chunks(losses, shared)
        return dict(zip(losses, weights, strict=True))

    def _follow(self, jacobian: Tensor, shared: Sequence[Tensor]) -> Tensor:
        """Give the shared parameters their direction; returns the task weights."""
        jacobian = average(jacobian)  # before it is aggregated, which is not linear
        weights = broadcast(self.weights(_gramian(jacobian)))  # one draw for all processes
        distribute(weights.to(jacobian) @ jacobian, shared)
        return weights

    def _backward_in_chunks(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
        check_shared(shared)
        gramian: Tensor | None = None
        for chunk in _cut(shared, self.chunks):
            rows = chunk[0].new_empty(len(losses), sum(parameter.numel() for parameter in chunk))
            for row, loss in zip(rows, losses.values(), strict=True):
                row.copy_(flat_gradient(loss, chunk))
            part = _gramian(average(rows))
            gramian = part if gramian is None else gramian + part
        assert gramian is not None
        weights = broadcast(self.weights(gramian))
        before = [parameter.grad for parameter in shared]
        for parameter in shared:
            parameter.grad = None  # or backward would add to what was there, in place
        values = torch.stack(list(losses.values()))
        values.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        for parameter, gradient in zip(shared, before, strict=True):
            parameter.grad = gradient  # what the tasks' own parameters got stays
        direction = flat_gradient(weights.to(values) @ values, shared, retain=False)
        distribute(direction, shared)
        return weights


class Mean(Aggregation):
    """The mean of the task gradients: what the plain average of the losses does.

    Example:
        >>> Mean()(torch.tensor([[0.0, 2.0], [2.0, 0.0]])).tolist()
        [1.0, 1.0]
    """

    _averages = True

    def forward(self, jacobian: Tensor) -> Tensor:
        """See `Aggregation.forward`; the only method that needs no inner product."""
        _check_jacobian(jacobian)
        direction = jacobian.detach().T.mv(jacobian.new_full((len(jacobian),), 1 / len(jacobian)))
        if not math.isfinite(direction.sum()):
            _refuse_not_finite(_gramian(jacobian.detach()).cpu().numpy())
        return direction

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        return np.full(len(lengths), 1 / len(lengths))


class MGDA(Aggregation):
    """The shortest vector in the convex hull of the task gradients.

    If it is zero, the point is Pareto-stationary; otherwise every task's loss falls along it at
    least as fast as ‖d‖². Small gradients pull it towards themselves.

    The problem min wᵀGw on the simplex is solved exactly: min ‖Jᵀx‖² + (1ᵀx − 1)² over x ⪰ 0 has
    a solution proportional to it, and is one of non-negative least squares. A task with a zero
    gradient makes the direction zero.

    Reference: J.-A. Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective
    optimization", Comptes Rendus Mathématique 350, 2012; O. Sener, V. Koltun, "Multi-Task Learning
    as Multi-Objective Optimization", NeurIPS 2018, eq. 3, whose Frank-Wolfe iterations we replace.

    Example:
        >>> MGDA()(torch.tensor([[3.0, 0.0], [0.0, 3.0]])).tolist()
        [1.5, 1.5]
    """

    _stops = True

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        if len(lengths) == 2:  # in closed form: the foot of the perpendicular, or an end
            (first, second), inner = lengths**2, cosines[0, 1] * lengths[0] * lengths[1]
            apart = first + second - 2 * inner
            share = min(1.0, max(0.0, (second - inner) / apart)) if apart > 0 else 0.5
            return np.array([share, 1 - share])
        # In y = w × length: the shortest vector of a cone, cut where the weights sum to 1.
        matrix = np.vstack([_root(cosines, rounding), lengths.min() / lengths])
        y = _nnls(matrix, np.append(np.zeros(len(matrix) - 1), 1.0))
        return _shares(y * (lengths.min() / lengths))


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

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        if cosines.min() >= 0:
            return np.ones(len(lengths))
        rows = np.arange(len(lengths))
        orders = np.array([torch.randperm(len(lengths)).tolist() for _ in rows])
        projected = np.diag(lengths)  # row i: coefficients of task i over unit gradients
        for others in orders.T:  # all tasks at once, each with the next one of its own order
            inner = np.einsum("ij,ij->i", projected, cosines[others])
            projected[rows, others] -= np.minimum(inner, 0) * (others != rows)
        weights: Array = projected.sum(0) / lengths
        return weights


class CAGrad(Aggregation):
    """The direction near the mean gradient along which the worst task improves most.

    max over d of min over i of gᵢ·d, where ‖d − g₀‖ ≤ c ‖g₀‖ and g₀ is the mean. With c = 0 it is
    the mean; from c = 1 on it conflicts with no task.

    By duality d = g₀ + c ‖g₀‖ u with a unit vector u = Jᵀy, y ⪰ 0, and y satisfies the conditions
    of a non-negative least squares problem with one free number s, which a root search finds from
    ‖u‖ = 1. Where no such vector exists the point is Pareto-stationary, and the weights are zero.
    A task with a zero gradient counts in the mean and asks for nothing else.

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

    _averages = True

    def __init__(self, c: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        if not (c >= 0 and math.isfinite(c)):
            raise ValueError(f"c is {c}, wanted a finite number of 0 or more.")
        self.c = c

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        tasks, root = len(lengths), _root(cosines, rounding)
        mean = root @ lengths / tasks
        radius = self.c * float(np.linalg.norm(mean))
        if radius <= self.c * math.sqrt(rounding):
            return np.full(tasks, float(self.c == 0) / tasks)
        # In y × length, as for MGDA.
        matrix = np.vstack([math.sqrt(radius) * root, lengths.min() / lengths])
        target = np.append(-mean / math.sqrt(radius), 0.0)

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
                return np.zeros(tasks)
        s = float(optimize.brentq(excess, low, high, xtol=1e-15, rtol=1e-14))
        weights: Array = 1 / tasks + radius * unit(s) / lengths
        return weights


class IMTLG(Aggregation):
    """The combination, with weights that sum to 1, whose projections on all gradients are equal.

    gᵢ·d / ‖gᵢ‖ is the same for every task. Weights may be negative, and large where gradients are
    nearly dependent.

    Reference: L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao, W. Zhang, "Towards
    Impartial Multi-task Learning", ICLR 2021, eq. 2, in the form wᵢ ∝ (C⁺1)ᵢ / ‖gᵢ‖ with the matrix
    C of cosines, which needs no choice of a first task. A zero gradient gets the weight 0.

    Example:
        >>> IMTLG()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.0767, 1.0000, 1.0000])
    """

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        return _shares(_pseudo_inverse(cosines, rounding).sum(1) / lengths)


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

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        return self._bargain(cosines) / lengths

    def _bargain(self, cosines: Array) -> Array:
        """Solve C w = 1 / w for unit gradients; zeros where there is no solution."""
        tasks = len(cosines)
        w = np.full(tasks, 1 / math.sqrt(tasks))
        for _ in range(self._STEPS):
            scaled = cosines * np.outer(w, w)  # in units of w every number is near 1
            residual = 1 - scaled.sum(1)
            if np.abs(residual).max() < 1e-13 * tasks or w.max() > 1e7:
                break
            step = np.linalg.solve(scaled + np.eye(tasks), residual)
            decrement = math.sqrt(max(0.0, residual @ step))
            w = w * (1 + step / (1 + decrement if decrement > 0.25 else 1))
        return w if np.abs(1 - w * (cosines @ w)).max() < 1e-10 else np.zeros(tasks)


class AlignedMTL(Aggregation):
    """The mean after all singular values of the gradient matrix were set to the smallest.

    No task dominates and none is lost; but the result may still conflict with one.

    Reference: D. Senushkin, N. Patakin, A. Kuznetsov, A. Konushin, "Independent Component Alignment
    for Multi-Task Learning", CVPR 2023, eq. 5 and algorithm 1. Equal weights are 1 / n here, like
    a mean; some public code has a sum.

    Example:
        >>> AlignedMTL()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.2133, 0.9673, 0.9673])
    """

    _averages = True

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        values, vectors = _eigen(cosines * np.outer(lengths, lengths), rounding)
        balance: Array = vectors * np.sqrt(values.min() / values) @ vectors.T
        return np.asarray(balance.mean(1))


class ConFIG(Aggregation):
    """The direction with equal cosines to all gradients, as long as their projections on it sum to.

    d̂ ∝ U⁺1 for unit gradients U, and d = (Σ gᵢ·d̂) d̂. We take the pseudo-inverse of the small
    matrix U Uᵀ instead of that of U. A zero gradient counts as a zero row of U.

    Reference: Q. Liu, M. Chu, N. Thuerey, "ConFIG: Towards Conflict-free Training of Physics
    Informed Neural Networks", ICLR 2025.

    Example:
        >>> ConFIG()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.1588, 2.0706, 2.0706])
    """

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        unit = _pseudo_inverse(cosines, rounding).sum(1)  # over unit gradients
        products = cosines @ unit
        squared = float(unit @ products)
        if squared <= rounding:
            return np.zeros(len(lengths))
        weights: Array = unit / lengths * float(lengths @ products) / squared
        return weights


class UPGrad(Aggregation):
    """The mean of the gradients, each projected on the directions that conflict with no task.

    The only method here that conflicts with no task, does not weigh a task down for being large,
    and is a weighted combination with non-negative weights.

    The projection of gᵢ has weights v ⪰ eᵢ that minimise vᵀGv; with v = eᵢ + x that is a problem
    of non-negative least squares in x.

    Reference: P. Quinton, V. Rey, "Jacobian Descent for Multi-Objective Optimization",
    arXiv:2406.16232, third version, 2025, section 2.3. The authors' library adds 1e-4 of the trace
    to the diagonal of G before it solves; we add nothing.

    Example:
        >>> UPGrad()(torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])).round(decimals=4)
        tensor([0.2924, 1.9006, 1.9006])
    """

    _averages = True

    def _solve(self, cosines: Array, lengths: Array, rounding: float) -> Array:
        # Scaling a gradient scales its projection: solve for unit gradients.
        root, tasks = _root(cosines, rounding), len(lengths)
        projected = np.eye(tasks) + np.stack([_nnls(root, -column) for column in root.T])
        weights: Array = lengths @ projected / lengths / tasks
        return weights


def _check_jacobian(jacobian: Tensor) -> None:
    if jacobian.ndim != 2 or not jacobian.is_floating_point() or not len(jacobian):
        raise ValueError(
            f"jacobian has shape {tuple(jacobian.shape)} and dtype {jacobian.dtype}, wanted "
            "(tasks, parameters) with at least one task, real and floating: stack one "
            "gradient a row."
        )


def _gramian(jacobian: Tensor) -> Tensor:
    """J Jᵀ, in single precision at least."""
    wide = jacobian.float() if jacobian.dtype in (torch.float16, torch.bfloat16) else jacobian
    return wide @ wide.T


def _cut(shared: Sequence[Tensor], chunks: int) -> list[list[Tensor]]:
    """Consecutive groups of about equally many numbers, at most ``chunks``."""
    ends = np.cumsum([parameter.numel() for parameter in shared])
    group = np.minimum((ends - 1) * chunks // ends[-1], chunks - 1)
    return [[p for p, g in zip(shared, group, strict=True) if g == i] for i in np.unique(group)]


def _refuse_not_finite(gramian: Array) -> None:
    if not math.isfinite(gramian.sum()):
        bad = np.flatnonzero(~np.isfinite(gramian.diagonal()))
        raise ValueError(
            f"the gradients of tasks number {bad.tolist()} (from 0) are not finite, or too large "
            "to multiply: look for the loss that is infinite or not a number."
        )


def _eigen(gramian: Array, rounding: float) -> tuple[Array, Array]:
    """Eigenvalues above rounding, ``(rank,)``, and their vectors, ``(tasks, rank)``."""
    values, vectors = np.linalg.eigh(gramian)  # in ascending order
    noise = int(values.searchsorted(rounding * values[-1], side="right"))
    return values[noise:], vectors[:, noise:]


def _root(gramian: Array, rounding: float) -> Array:
    """R, ``(rank, tasks)``, with RᵀR = G."""
    values, vectors = _eigen(gramian, rounding)
    root: Array = np.sqrt(values)[:, None] * vectors.T
    return root


def _pseudo_inverse(matrix: Array, rounding: float) -> Array:
    values, vectors = _eigen(matrix, rounding)
    inverse: Array = vectors / values @ vectors.T
    return inverse


def _shares(weights: Array) -> Array:
    """Scaled to sum to 1; zeros where they cancel."""
    total = weights.sum()
    return weights / total if abs(total) > 1e-12 * np.abs(weights).sum() else np.zeros(len(weights))


def _nnls(matrix: Array, target: Array) -> Array:
    """Min ‖matrix x − target‖ over x ⪰ 0."""
    x: Array = optimize.nnls(matrix, target, maxiter=100 * matrix.shape[1])[0]
    return x
