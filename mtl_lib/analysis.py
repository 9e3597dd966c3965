"""What happens between tasks: angles of gradients, affinity, Pareto fronts; what a step needs."""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtl_lib.balancing import Balancer
from mtl_lib.balancing._balancer import check_losses, check_shared, flat_gradient
from mtl_lib.distributed import average
from mtl_lib.plotting import INK

__all__ = [
    "Watch",
    "conflict_timeline",
    "cosines",
    "hypervolume",
    "linear_cka",
    "magnitude_similarity",
    "pareto_mask",
    "peak_memory",
    "task_affinity",
    "task_gradients",
]


def task_gradients(losses: Mapping[str, Tensor], shared: Iterable[Tensor]) -> Tensor:
    """Compute each task's gradient, ``(tasks, parameters)``, and leave ``.grad`` and graph alone.

    Args:
        losses: ``{task: scalar}``, with their graph, which stays usable.
        shared: the tensors to differentiate by, in any shapes.

    Returns:
        One flat gradient a row, in the order of the losses; zeros where a loss does not depend on
        a tensor.

    Raises:
        ValueError: no loss, one that is not a scalar, or no shared tensor.

    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> task_gradients({"a": x.sum(), "b": x.prod()}, [x]).tolist()
        [[1.0, 1.0], [2.0, 1.0]]
    """
    check_losses(losses)
    shared = list(shared)
    check_shared(shared)
    return torch.stack([flat_gradient(loss, shared) for loss in losses.values()])


def cosines(jacobian: Tensor) -> Tensor:
    """Cosines between all pairs of gradients, ``(tasks, parameters) -> (tasks, tasks)``.

    A gradient of zero has the cosine 0 with all.

    Example:
        >>> cosines(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    lengths = jacobian.norm(dim=1, keepdim=True)
    unit = torch.where(lengths > 0, jacobian / lengths, 0.0)
    return (unit @ unit.T).clamp(-1, 1)


def magnitude_similarity(jacobian: Tensor) -> Tensor:
    """2 ‖gᵢ‖ ‖gⱼ‖ / (‖gᵢ‖² + ‖gⱼ‖²) of all pairs, ``(tasks, parameters) -> (tasks, tasks)``.

    1 for equally long gradients, near 0 where one dwarfs the other; 1 for two of zero.

    Reference: T. Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, definition 2.

    Example:
        >>> magnitude_similarity(torch.tensor([[1.0], [3.0]]))[0, 1].item()
        0.6000000238418579
    """
    squares = jacobian.square().sum(1)
    lengths = squares.sqrt()
    total = squares[:, None] + squares
    return torch.where(total > 0, 2 * lengths[:, None] * lengths / total, 1.0)


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment: how alike two layers are, from 0 to 1.

    ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) with Frobenius norms and centred columns. Rotating one of the layers, or
    scaling it as a whole, changes nothing. With few inputs and many features even unrelated layers
    look alike: show a floor beside it.

    Reference: S. Kornblith, M. Norouzi, H. Lee, G. Hinton, "Similarity of Neural Network
    Representations Revisited", ICML 2019, section 3.

    Args:
        x: features of n inputs, ``(n, d)``.
        y: features of the same inputs in the same order, ``(n, e)``.

    Raises:
        ValueError: not two matrices with the same number of rows, or a layer that is the same for
            all inputs.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
        >>> round(linear_cka(x, 3 * x.flip(1)), 4)
        1.0
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(
            f"x has shape {tuple(x.shape)}, y has {tuple(y.shape)}: wanted (n, d) and (n, e) for "
            "the same n inputs. Flatten maps with .flatten(1)."
        )
    x, y = (features.double() - features.double().mean(0) for features in (x, y))
    # Through the n × n Gram matrices, which are small where features are many.
    first, second = x @ x.T, y @ y.T
    scale = first.norm() * second.norm()
    if not scale > 0:
        raise ValueError("a layer has the same features for all inputs: nothing can be compared.")
    return float((first * second).sum() / scale)


def task_affinity(
    losses: Callable[[], Mapping[str, Tensor]], shared: Iterable[nn.Parameter], *, lr: float
) -> Tensor:
    """How much a step for one task lowers the loss of another: Z[i, j] = 1 − Lⱼ(θ − η gᵢ) / Lⱼ(θ).

    Positive where a step of plain gradient descent along task i's gradient helps task j. The
    parameters are as before afterwards.

    Reference: C. Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task Learning",
    NeurIPS 2021, the inter-task affinity.

    Args:
        losses: computes ``{task: scalar}`` with the present parameters, always of the same batch.
        shared: the parameters that a step moves.
        lr: η, the length of the step.

    Returns:
        ``(tasks, tasks)``: row i is the task that takes the step.

    Raises:
        ValueError: a loss is not positive, so that no relative change makes sense.

    Example:
        >>> x = nn.Parameter(torch.tensor([1.0, 1.0]))
        >>> z = task_affinity(lambda: {"a": x[0] ** 2, "b": x.square().sum()}, [x], lr=0.1)
        >>> [[round(value, 2) for value in row] for row in z.tolist()]
        [[0.36, 0.18], [0.36, 0.36]]
    """
    shared = list(shared)
    before = losses()
    start = torch.stack([loss.detach() for loss in before.values()])
    if not bool((start > 0).all()):
        raise ValueError(
            f"losses are {start.tolist()}, wanted positive ones, since the affinity is a relative "
            "change: add a constant, or use losses that are bounded by 0."
        )
    sizes = [parameter.numel() for parameter in shared]
    saved = [parameter.detach().clone() for parameter in shared]
    gradients, rows = task_gradients(before, shared), []
    with torch.no_grad():
        for gradient in gradients:
            for parameter, part in zip(shared, torch.split(gradient, sizes), strict=True):
                parameter.sub_(part.view_as(parameter), alpha=lr)
            after = torch.stack([loss.detach() for loss in losses().values()])
            rows.append(1 - after / start)
            for parameter, value in zip(shared, saved, strict=True):
                parameter.copy_(value)
    return torch.stack(rows)


class Watch(Balancer):
    """Any balancer, while the angles between the task gradients are written down.

    Args:
        balancer: does the work.
        every: steps from one look to the next; a look costs one more backward pass a task.

    Attributes:
        steps: numbers of the steps looked at.
        cosines: one matrix ``(tasks, tasks)`` for each, see `cosines`.
        magnitudes: likewise, see `magnitude_similarity`.
        tasks: their names.

    Example:
        >>> from mtl_lib.balancing import Fixed
        >>> x, watch = nn.Parameter(torch.ones(2)), Watch(Fixed(), every=1)
        >>> _ = watch.backward({"a": x[0], "b": -x[0]}, [x])
        >>> watch.cosines[0][0, 1].item()
        -1.0
    """

    def __init__(self, balancer: Balancer, *, every: int = 10) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every is {every}, wanted at least 1 step.")
        self.balancer, self.every = balancer, every
        self.tasks: tuple[str, ...] = ()
        self.steps: list[int] = []
        self.cosines: list[Tensor] = []
        self.magnitudes: list[Tensor] = []
        self._calls = 0

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """See `Balancer.backward`."""
        shared = list(shared)
        if self._calls % self.every == 0:
            jacobian = average(task_gradients(losses, shared))  # over processes
            self.tasks = tuple(losses)
            self.steps.append(self._calls)
            self.cosines.append(cosines(jacobian))
            self.magnitudes.append(magnitude_similarity(jacobian))
        self._calls += 1
        return self.balancer.backward(losses, shared)

    def after_step(self, losses: Callable[[], Mapping[str, Tensor]]) -> None:
        """See `Balancer.after_step`."""
        self.balancer.after_step(losses)

    def get_extra_state(self) -> dict[str, Any]:
        """What was written down, for the checkpoint."""
        names = ("tasks", "steps", "cosines", "magnitudes", "_calls")
        return {name: getattr(self, name) for name in names}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` gave."""
        for name, value in state.items():
            setattr(self, name, value)


def conflict_timeline(watch: Watch, *, axes: Axes | None = None) -> Axes:
    """Draw the cosine of every pair of tasks over training; below zero the two conflict.

    Args:
        watch: has seen at least one step.
        axes: where to draw; a new figure where left out.

    Raises:
        ValueError: nothing was watched, or only one task.
    """
    if not watch.cosines or len(watch.tasks) < 2:
        raise ValueError("watch has seen no pair of tasks: train with it as the balancer first.")
    axes = plt.subplots()[1] if axes is None else axes
    series = torch.stack(watch.cosines)
    for i, first in enumerate(watch.tasks):
        for j, second in enumerate(watch.tasks[:i]):
            axes.plot(watch.steps, series[:, i, j].tolist(), label=f"{second}, {first}")
    axes.axhline(0, color=INK, linewidth=1, linestyle="--")
    axes.set(xlabel="step", ylabel="cosine", ylim=(-1.05, 1.05))
    axes.legend()
    return axes


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the tensors that operations make, and takes off those that are gone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = 0
        self._storages: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {storage._cdata for storage in _storages(args, kwargs)}  # a view makes nothing new
        for storage in _storages(result):
            key, size = storage._cdata, storage.nbytes()
            if key not in before and key not in self._storages:
                self._storages[key] = size
                self.bytes += size
                weakref.finalize(storage, self._gone, key)
        self.peak = max(self.peak, self.bytes)
        return result

    def _gone(self, key: int) -> None:
        self.bytes -= self._storages.pop(key)


def _storages(*values: Any) -> list[torch.UntypedStorage]:
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
    return [tensor.untyped_storage() for tensor in tensors]


def peak_memory(call: Callable[[], object]) -> int:
    """Bytes of the tensors that a call makes, at the moment when most of them are alive.

    What was there before the call, such as parameters, is not counted. The number follows from
    shapes and types alone, so that it is the same in every run and on every machine; scratch space
    inside a kernel, and what an allocator rounds up or keeps, is not seen. The garbage collector of
    Python may let tensors in a reference cycle live on: they count as long as they do.

    Args:
        call: for example a training step; call it once before, so that an optimiser has its state.

    Example:
        >>> x = torch.zeros(1000)
        >>> peak_memory(lambda: (x + 1).exp().sum())
        8000
    """
    with _Alive() as alive:
        call()
    return int(alive.peak)


def pareto_mask(points: Tensor) -> Tensor:
    """Mark the points that no other one beats, ``(n, objectives) -> (n,)``; less is better.

    A point beats another if it is nowhere worse and somewhere better. Equal points do not beat each
    other.

    Example:
        >>> pareto_mask(torch.tensor([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0]])).tolist()
        [True, True, False]
    """
    _check_points(points)
    nowhere_worse = (points[:, None] <= points[None]).all(2)
    somewhere_better = (points[:, None] < points[None]).any(2)
    return ~(nowhere_worse & somewhere_better).any(0)


def hypervolume(points: Tensor, reference: Tensor) -> float:
    """Area or volume that the points dominate, up to a reference point; more is better.

    Args:
        points: ``(n, 2)`` or ``(n, 3)``, less is better; those beyond the reference do not count.
        reference: ``(2,)`` or ``(3,)``, worse than what is of interest.

    Raises:
        ValueError: wrong shapes, or numbers that are not finite.

    Reference: E. Zitzler, L. Thiele, "Multiobjective Evolutionary Algorithms: A Comparative Case
    Study and the Strength Pareto Approach", IEEE Trans. Evolutionary Computation 3(4), 1999. Three
    objectives are computed slice by slice.

    Example:
        >>> hypervolume(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.tensor([3.0, 3.0]))
        3.0
    """
    _check_points(points)
    if points.shape[1] not in (2, 3) or reference.shape != points.shape[1:]:
        raise ValueError(
            f"points has shape {tuple(points.shape)}, reference {tuple(reference.shape)}: wanted "
            "(n, 2) and (2,), or (n, 3) and (3,)."
        )
    inside = points[(points < reference).all(1)].double().cpu().numpy()
    limit = reference.double().cpu().numpy()
    if inside.shape[1] == 2:
        return _area(inside, limit)
    order = inside[inside[:, 2].argsort()]
    heights = np.append(order[:, 2], limit[2])
    slices = (_area(order[: i + 1, :2], limit[:2]) for i in range(len(order)))
    return float(sum(area * step for area, step in zip(slices, np.diff(heights), strict=True)))


def _area(points: np.ndarray, limit: np.ndarray) -> float:
    """Dominated area of ``(n, 2)``: steps of a staircase from left to right."""
    total, height = 0.0, float(limit[1])
    for x, y in points[np.lexsort((points[:, 1], points[:, 0]))]:
        if y < height:
            total += (limit[0] - x) * (height - y)
            height = float(y)
    return float(total)


def _check_points(points: Tensor) -> None:
    if points.ndim != 2 or not bool(points.isfinite().all()):
        raise ValueError(
            f"points has shape {tuple(points.shape)}, wanted (n, objectives), all finite: stack "
            "one point a row, and leave out runs that diverged."
        )
