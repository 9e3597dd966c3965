"""Scalarization: one loss from many."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mtl_lib.balancing._balancer import Balancer, check_losses, check_tasks, collect, distribute
from mtl_lib.distributed import average, broadcast

__all__ = [
    "DWA",
    "FAMO",
    "RLW",
    "Fixed",
    "GeometricMean",
    "GradNorm",
    "Scalarization",
    "SmoothTchebycheff",
    "Uncertainty",
]


class Scalarization(Balancer):
    """A balancer that turns the losses into one loss and follows its gradient.

    By the chain rule, the gradient of ``total(L1, ..., Ln)`` is the sum of the tasks' gradients,
    each times ``d total / d Li``. These factors are the weights that `backward` reports. They scale
    the parameters of the tasks like the shared ones.
    """

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the total loss, a scalar, from ``{task: scalar}``."""

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """See `Balancer.backward`."""
        check_losses(losses)
        leaves = {task: loss.detach().requires_grad_() for task, loss in losses.items()}
        self(leaves).backward()  # the balancer's own parameters get their gradients here
        weights = {
            task: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            for task, leaf in leaves.items()
        }
        torch.autograd.backward(list(losses.values()), list(weights.values()))
        return weights


class Fixed(Scalarization):
    """The weighted sum of the article, L = Σ λᵢ Lᵢ, with weights that stay as they are.

    Args:
        weights: ``{task: λ}``, finite and not negative; every loss counts once where left out.

    Raises:
        ValueError: no task, or a weight that is negative or not finite.

    Example:
        >>> losses = {"face": torch.tensor(1.0), "body": torch.tensor(0.5)}
        >>> Fixed({"face": 1, "body": 4})(losses).item()
        3.0
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.weights = None if weights is None else _checked_weights(weights)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return Σ λᵢ Lᵢ.

        Raises:
            ValueError: the tasks are not those of the weights.
        """
        check_losses(losses)
        weights = dict.fromkeys(losses, 1.0) if self.weights is None else self.weights
        if weights.keys() != losses.keys():
            raise ValueError(
                f"losses has the tasks {sorted(losses)}, weights has {sorted(weights)}: "
                "give the balancer one weight for each loss, under the same name."
            )
        return torch.stack([weights[task] * loss for task, loss in losses.items()]).sum()

    def extra_repr(self) -> str:
        """Show the weights in the module's printed form."""
        return "all 1" if self.weights is None else str(self.weights)


class Uncertainty(Scalarization):
    """Σ ½ e^{−sᵢ} Lᵢ + ½ sᵢ, with a learned log variance sᵢ for each task.

    Minimised over sᵢ = log Lᵢ it is ½ Σ (1 + log Lᵢ), which may be negative: what falls is the
    product of the losses. Give ``parameters()`` to the optimiser, in a group without weight decay,
    which would pull every variance to 1.

    Reference: A. Kendall, Y. Gal, R. Cipolla, "Multi-Task Learning Using Uncertainty to Weigh
    Losses for Scene Geometry and Semantics", CVPR 2018, eq. 7, with s = log σ² as its authors
    advise.

    Args:
        tasks: their names.

    Raises:
        ValueError: no task, or a name twice.

    Example:
        >>> balancer = Uncertainty(["face", "body"])
        >>> balancer({"face": torch.tensor(2.0), "body": torch.tensor(4.0)}).item()
        3.0
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        super().__init__()
        self.tasks = _checked_names(tasks)
        self.log_variance = nn.Parameter(torch.zeros(len(self.tasks)))

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the total loss.

        Raises:
            ValueError: the tasks are not those of the balancer.
        """
        s, values = self.log_variance, _stacked(losses, self.tasks)
        return 0.5 * ((-s).exp() * values + s).sum()


class RLW(Scalarization):
    """Random weights, anew in each step: softmax of independent standard normal numbers.

    Reference: B. Lin, F. Ye, Y. Zhang, I. W. Tsang, "Reasonable Effectiveness of Random Weighting:
    A Litmus Test for Multi-Task Learning", TMLR 2022, section 3. Whatever claims to balance tasks
    should beat it.

    Example:
        >>> weights = RLW().backward({"a": torch.ones((), requires_grad=True)})
        >>> weights["a"].item()
        1.0
    """

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the total loss with fresh weights, which sum to 1."""
        values = _stacked(losses, losses)
        draw = broadcast(torch.randn(len(values)).to(values))
        return torch.softmax(draw, 0) @ values


class GeometricMean(Scalarization):
    """(Π Lᵢ)^{1/n}: its gradient does not change when the unit of a loss does.

    Computed from logarithms, where a product would over- or underflow.

    Reference: S. Chennupati, G. Sistu, S. Yogamani, S. Rawashdeh, "MultiNet++: Multi-Stream Feature
    Aggregation and Geometric Loss Strategy for Multi-Task Learning", CVPR Workshops 2019.

    Example:
        >>> GeometricMean()({"a": torch.tensor(2.0), "b": torch.tensor(8.0)}).item()
        4.0
    """

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the geometric mean.

        Raises:
            ValueError: a loss is not positive.
        """
        values = _stacked(losses, losses)
        _refuse_not_positive(losses)
        return values.log().mean().exp()


class SmoothTchebycheff(Scalarization):
    """μ log Σ exp(λᵢ (Lᵢ − zᵢ) / μ): a smooth largest weighted distance to an ideal point.

    For small μ its minimisers reach every point of a Pareto front, concave parts included, which a
    weighted sum cannot. Where the largest term counts alone, only its task is trained.

    Reference: X. Lin, X. Zhang, Z. Yang, F. Liu, Z. Wang, Q. Zhang, "Smooth Tchebycheff
    Scalarization for Multi-Objective Optimization", ICML 2024.

    Args:
        weights: ``{task: λ}``, finite and not negative; 1 / n for each of n tasks where left out.
        ideal: ``{task: z}``, the best loss that each task could have alone; 0 where left out.
        mu: smoothness, above 0, in the unit of the weighted losses.

    Raises:
        ValueError: weights that are negative or not finite, or μ that is not above 0.

    Example:
        >>> balancer = SmoothTchebycheff({"a": 1.0, "b": 1.0}, mu=0.01)
        >>> round(balancer({"a": torch.tensor(2.0), "b": torch.tensor(1.0)}).item(), 3)
        2.0
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        *,
        ideal: Mapping[str, float] | None = None,
        mu: float = 0.1,
    ) -> None:
        super().__init__()
        if not (mu > 0 and math.isfinite(mu)):
            raise ValueError(f"mu is {mu}, wanted a finite number above 0.")
        self.weights = None if weights is None else _checked_weights(weights)
        self.ideal, self.mu = dict(ideal or {}), mu

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the total loss.

        Raises:
            ValueError: the tasks are not those of the weights, or an ideal value is of none.
        """
        weights = self.weights or dict.fromkeys(losses, 1 / max(1, len(losses)))
        check_tasks(losses, weights)
        check_tasks(losses, {*losses, *self.ideal})
        terms = [weights[t] * (loss - self.ideal.get(t, 0.0)) for t, loss in losses.items()]
        return self.mu * torch.logsumexp(torch.stack(terms) / self.mu, 0)


class DWA(Scalarization):
    """Dynamic weight average: a task whose loss falls slowly gets more weight.

    wᵢ = n softmax(rᵢ / T), where rᵢ is the task's mean loss over the last window of steps, divided
    by that of the window before. Weights are 1 during the first two windows.

    Reference: S. Liu, E. Johns, A. J. Davison, "End-to-End Multi-Task Learning with Attention",
    CVPR 2019, eq. 7. A window is an epoch there.

    Args:
        tasks: their names.
        window: steps, for example those of an epoch.
        temperature: T, above 0; a large one makes weights alike.

    Raises:
        ValueError: no task or a name twice, a window below 1, or T that is not above 0.
    """

    totals: Tensor
    means: Tensor
    calls: Tensor

    def __init__(self, tasks: Iterable[str], *, window: int, temperature: float = 2.0) -> None:
        super().__init__()
        if window < 1 or not temperature > 0:
            raise ValueError(
                f"window is {window} and temperature is {temperature}: wanted at least 1 step and "
                "a number above 0."
            )
        self.tasks = _checked_names(tasks)
        self.window, self.temperature = window, temperature
        self.register_buffer("totals", torch.zeros(len(self.tasks)))
        self.register_buffer("means", torch.ones(2, len(self.tasks)))  # the last window's first
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def task_weights(self) -> Tensor:
        """The weights of the next step, ``(tasks,)``."""
        if int(self.calls) < 2 * self.window:
            return torch.ones_like(self.totals)
        ratios = self.means[0] / self.means[1]
        return len(self.tasks) * torch.softmax(ratios / self.temperature, 0)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the total loss.

        Raises:
            ValueError: the tasks are not those of the balancer.
        """
        values = _stacked(losses, self.tasks)
        return self.task_weights().to(values) @ values

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """See `Balancer.backward`; remembers the losses."""
        weights = super().backward(losses, shared)
        self.totals += _stacked(losses, self.tasks).detach().to(self.totals)
        self.calls += 1
        if int(self.calls) % self.window == 0:
            self.means = torch.stack([self.totals / self.window, self.means[0]])
            self.totals = torch.zeros_like(self.totals)
        return weights


class GradNorm(Scalarization):
    """Learned weights that make the gradients of all tasks equally long, slow tasks longer.

    With Gᵢ = ‖∇ wᵢLᵢ‖ over the shared parameters and rᵢ the task's share of its first loss, divided
    by the mean over tasks, the weights follow the gradient of the sum of abs(Gᵢ − Ḡ rᵢ^α), where
    Ḡ rᵢ^α counts as a constant, and are scaled to sum to n after each step. rᵢ is large for a task
    that learned *little*, hence the positive exponent. Give ``parameters()`` to the optimiser.

    The paper takes the norms over the last shared layer only, to save time; here they are taken
    over everything in ``shared``, which gets its gradients in the same pass.

    Reference: Z. Chen, V. Badrinarayanan, C.-Y. Lee, A. Rabinovich, "GradNorm: Gradient
    Normalization for Adaptive Loss Balancing in Deep Multitask Networks", ICML 2018, eq. 2 and
    algorithm 1.

    Args:
        tasks: their names.
        alpha: how much longer the gradients of slow tasks shall be.

    Raises:
        ValueError: no task or a name twice.
    """

    first: Tensor

    def __init__(self, tasks: Iterable[str], *, alpha: float = 1.5) -> None:
        super().__init__()
        self.tasks = _checked_names(tasks)
        self.alpha = alpha
        self.task_weights = nn.Parameter(torch.ones(len(self.tasks)))
        self.register_buffer("first", torch.full((len(self.tasks),), math.nan))

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return Σ wᵢ Lᵢ.

        Raises:
            ValueError: the tasks are not those of the balancer.
        """
        values = _stacked(losses, self.tasks)
        return self.task_weights.detach().to(values) @ values

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """See `Balancer.backward`; one pass a task, and ``shared`` is needed."""
        check_losses(losses)
        shared, values = list(shared), _stacked(losses, self.tasks).detach()
        if self.first.isnan().any():
            self.first = values.clone()
        weights = self.task_weights.detach().to(values)
        weighted = {t: w * losses[t] for t, w in zip(self.tasks, weights, strict=True)}
        gradients = average(collect(weighted, shared))  # over processes
        distribute(gradients.sum(0), shared)
        norms = gradients.norm(dim=1)
        rates = values / self.first.to(values)
        targets = norms.mean() * (rates / rates.mean()) ** self.alpha
        self.task_weights.grad = ((norms - targets).sign() * norms / weights).to(self.task_weights)
        return dict(zip(self.tasks, weights.clone(), strict=True))

    @torch.no_grad()
    def after_step(self, losses: Callable[[], Mapping[str, Tensor]]) -> None:
        """Scale the weights to sum to the number of tasks; a step too long must not flip one."""
        positive = self.task_weights.clamp(min=1e-3)
        self.task_weights.copy_(positive * (len(self.tasks) / positive.sum()))


class FAMO(Scalarization):
    """Fast adaptive multitask optimization: weights from how much each step lowered each loss.

    The step follows Σ zᵢ log Lᵢ / c with z = softmax(ξ) and c = Σ zᵢ / Lᵢ. After it, ξ takes a step
    of Adam along the change of the log losses, which needs a second evaluation of the losses and no
    gradient of single tasks. Losses must be positive.

    Reference: B. Liu, Y. Feng, P. Stone, Q. Liu, "FAMO: Fast Adaptive Multitask Optimization",
    NeurIPS 2023, algorithm 1. Public code uses decays of 0.01, 1e-3 and 1e-5; ours is an argument.

    Args:
        tasks: their names.
        lr: learning rate of ξ.
        decay: weight decay of ξ, which pulls weights together.

    Raises:
        ValueError: no task or a name twice.
    """

    logits: Tensor

    def __init__(self, tasks: Iterable[str], *, lr: float = 0.025, decay: float = 0.01) -> None:
        super().__init__()
        self.tasks = _checked_names(tasks)
        self.register_buffer("logits", torch.zeros(len(self.tasks), requires_grad=True))
        self._adam = torch.optim.Adam([self.logits], lr=lr, weight_decay=decay)
        self._before: Tensor | None = None

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the total loss.

        Raises:
            ValueError: the tasks are not those of the balancer, or a loss is not positive.
        """
        values = _stacked(losses, self.tasks)
        _refuse_not_positive(losses)
        z = torch.softmax(self.logits.detach(), 0).to(values)
        return z @ values.log() / (z / values).sum().detach()

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """See `Balancer.backward`; remembers the losses for `after_step`."""
        weights = super().backward(losses, shared)
        self._before = _stacked(losses, self.tasks).detach().log()
        return weights

    def after_step(self, losses: Callable[[], Mapping[str, Tensor]]) -> None:
        """Move the weights towards tasks whose log loss fell less than that of the others."""
        if self._before is None:
            return
        with torch.no_grad():
            found = losses()
            _refuse_not_positive(found)
            fallen = self._before - _stacked(found, self.tasks).log()
        z = torch.softmax(self.logits, 0)
        (self.logits.grad,) = torch.autograd.grad(z, self.logits, fallen.to(z))
        self._adam.step()
        self._before = None

    def get_extra_state(self) -> dict[str, Any]:
        """The state of ξ's optimiser, for the checkpoint."""
        return self._adam.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` gave."""
        self._adam.load_state_dict(state)


def _checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    checked = {task: float(weight) for task, weight in weights.items()}
    if not checked:
        raise ValueError("weights is empty: give one for each task, or leave the argument out.")
    for task, weight in checked.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weights[{task!r}] is {weight}, wanted a finite number of 0 or more.")
    return checked


def _checked_names(tasks: Iterable[str]) -> tuple[str, ...]:
    names = tuple(tasks)
    if not names or len(set(names)) != len(names) or isinstance(tasks, str):
        raise ValueError(
            f"tasks is {tasks!r}, wanted one name or more, all different: give a list such as "
            "['face', 'body']."
        )
    return names


def _stacked(losses: Mapping[str, Tensor], tasks: Sequence[str] | Mapping[str, Tensor]) -> Tensor:
    """The losses in the order of the tasks, ``(tasks,)``."""
    check_losses(losses)
    check_tasks(losses, tasks)
    return torch.stack([losses[task] for task in tasks])


def _refuse_not_positive(losses: Mapping[str, Tensor]) -> None:
    for task, loss in losses.items():
        if not loss.item() > 0:
            raise ValueError(
                f"losses[{task!r}] is {loss.item()}, wanted a positive number, since this method "
                "takes its logarithm: add a constant to the loss, or use another method."
            )
