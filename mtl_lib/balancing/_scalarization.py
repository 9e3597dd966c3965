"""Scalarization: one loss from many."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mtl_lib.balancing._balancer import Balancer, check_losses

__all__ = ["Fixed", "Scalarization"]


class Scalarization(Balancer):
    """A balancer that turns the losses into one loss and follows its gradient.

    By the chain rule, the gradient of ``total(L1, ..., Ln)`` is the sum of the tasks' gradients,
    each times ``d total / d Li``. These factors are the weights that `backward` reports.
    """

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the total loss, a scalar, from ``{task: scalar}``."""

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[nn.Parameter] = ()
    ) -> dict[str, Tensor]:
        """See `Balancer.backward`; the parameters of the tasks are scaled like the shared ones."""
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
        self.weights = None if weights is None else {t: float(w) for t, w in weights.items()}
        if weights is not None and not weights:
            raise ValueError("weights is empty: give one for each task, or leave the argument out.")
        for task, weight in (self.weights or {}).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(
                    f"weights[{task!r}] is {weight}, wanted a finite number of 0 or more."
                )

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
