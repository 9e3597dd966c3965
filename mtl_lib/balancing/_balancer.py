"""What every balancing method has in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mtl_lib.distributed import processes

__all__ = [
    "Balancer",
    "check_losses",
    "check_shared",
    "check_tasks",
    "collect",
    "distribute",
    "flat_gradient",
    "through",
]


class Balancer(nn.Module, ABC):
    """A rule that turns the losses of several tasks into gradients.

    It is a module, so that what it learns stands in ``parameters()``, for the optimiser, and what
    it remembers in ``state_dict()``, for the checkpoint.
    """

    @abstractmethod
    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """Add gradients to ``.grad`` of everything that the losses depend on.

        Args:
            losses: ``{task: scalar}``, with the graph that made them, which is used up.
            shared: the parameters that all tasks share. Methods that only weigh losses do not
                look at them.

        Returns:
            ``{task: weight}``, scalars without a graph: the factor of each task's gradient in this
            step.

        Raises:
            ValueError: no loss, one that is not a scalar, or tasks that the method does not know.
        """

    def after_step(self, losses: Callable[[], Mapping[str, Tensor]]) -> None:
        """Look at what the optimiser's step did; called after it, and nothing by default.

        Args:
            losses: computes the losses of the same batch with the new parameters.
        """


def check_losses(losses: Mapping[str, Tensor]) -> None:
    """Refuse anything but ``{task: scalar}``."""
    if not losses:
        raise ValueError("losses is empty: give one scalar tensor for each task.")
    for task, loss in losses.items():
        if loss.ndim:
            raise ValueError(
                f"losses[{task!r}] has shape {tuple(loss.shape)}, wanted a scalar: "
                "take its mean, or the sum, and mind that the choice is a weight."
            )


def check_tasks(losses: Mapping[str, Tensor], tasks: Collection[str]) -> None:
    """Refuse losses of other tasks than a balancer was made for."""
    if set(losses) != set(tasks):
        raise ValueError(
            f"losses has the tasks {sorted(losses)}, the balancer has {sorted(tasks)}: "
            "make the balancer for the tasks of the model, under the same names."
        )


def check_shared(shared: Sequence[Tensor]) -> None:
    """Refuse to work on no parameters."""
    if not shared:
        raise ValueError(
            "shared is empty: give the parameters that all tasks share, for example "
            "model.shared_parameters()."
        )


def flat_gradient(loss: Tensor, inputs: Sequence[Tensor], *, retain: bool = True) -> Tensor:
    """``(parameters,)``; zeros where the loss does not depend on an input."""
    parts = torch.autograd.grad(loss, inputs, retain_graph=retain, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def collect(losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
    """Compute each task's gradient once: ``(tasks, parameters)``, in the order of both arguments.

    Everything that is not shared gets the gradient of its own task added to ``.grad`` in the same
    pass. What ``.grad`` of the shared tensors held before is left as it was.

    Raises:
        ValueError: no shared parameter, or a task that does not depend on any.
    """
    check_shared(shared)
    before = [parameter.grad for parameter in shared]
    sizes = [parameter.numel() for parameter in shared]
    jacobian = shared[0].new_zeros(len(losses), sum(sizes))
    try:
        for number, (task, loss) in enumerate(losses.items(), start=1):
            for parameter in shared:
                parameter.grad = None
            loss.backward(retain_graph=number < len(losses))  # type: ignore[no-untyped-call]
            if all(parameter.grad is None for parameter in shared):
                raise ValueError(
                    f"the loss of task {task!r} does not depend on any shared parameter: leave "
                    "the task out of the balancer, or check what `shared` holds."
                )
            row = torch.split(jacobian[number - 1], sizes)
            for part, parameter in zip(row, shared, strict=True):
                if parameter.grad is not None:
                    part.view_as(parameter).copy_(parameter.grad)
    finally:
        for parameter, gradient in zip(shared, before, strict=True):
            parameter.grad = gradient
    return jacobian


def distribute(direction: Tensor, shared: Sequence[Tensor]) -> None:
    """Add a direction, ``(parameters,)``, to ``.grad`` of the shared parameters."""
    sizes = [parameter.numel() for parameter in shared]
    for part, parameter in zip(torch.split(direction, sizes), shared, strict=True):
        gradient = part.view_as(parameter)
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def through(
    balancer: Balancer,
    representation: Tensor,
    losses: Callable[[Tensor], Mapping[str, Tensor]],
) -> dict[str, Tensor]:
    """Balance the gradients of a shared *representation* instead of those of the parameters.

    Each task's gradient goes back only through its own head, and the trunk is passed once instead
    of once a task. This is an approximation: angles and lengths between gradients of the
    representation are not those between gradients of the parameters, so that what a method
    guarantees, it guarantees for the representation alone. For MGDA the norm that it minimises is,
    up to a constant factor, an upper bound of the exact one (O. Sener, V. Koltun, "Multi-Task
    Learning as Multi-Objective Optimization", NeurIPS 2018, section 3.3, MGDA-UB).

    Args:
        balancer: any; aggregations profit most.
        representation: what the heads read, any shape, with the graph that made it.
        losses: computes ``{task: scalar}`` from a representation, through the heads.

    Returns:
        As `Balancer.backward`.

    Raises:
        RuntimeError: several processes train together. Each has the representation of its own
            examples, and an average over them has no meaning.

    Example:
        >>> from mtl_lib.balancing import UPGrad
        >>> trunk, heads = nn.Linear(3, 4), {"a": nn.Linear(4, 1), "b": nn.Linear(4, 1)}
        >>> def losses(z):
        ...     return {task: head(z).square().mean() for task, head in heads.items()}
        >>> weights = through(UPGrad(), trunk(torch.ones(5, 3)), losses)
        >>> list(weights), trunk.weight.grad.shape
        (['a', 'b'], torch.Size([4, 3]))
    """
    if processes() > 1:
        raise RuntimeError(
            f"through() balances the representation of one process, and {processes()} train "
            "together: use balancer.backward, which averages task gradients over all."
        )
    leaf = representation.detach().requires_grad_()
    weights = balancer.backward(losses(leaf), [leaf])
    torch.autograd.backward(representation, leaf.grad)
    return weights
