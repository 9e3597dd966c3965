"""How tasks share a network."""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

__all__ = ["HardSharing", "count_parameters"]


class HardSharing(nn.Module):
    """One trunk for all tasks and one head for each: y_i = head_i(trunk(x)).

    Reference: R. Caruana, "Multitask Learning", Machine Learning 28, 1997, section 2.

    Args:
        trunk: what all tasks share.
        heads: ``{task: its own layers}``.

    Raises:
        ValueError: no head.

    Example:
        >>> model = HardSharing(nn.Linear(3, 8), {"a": nn.Linear(8, 1), "b": nn.Linear(8, 2)})
        >>> {task: tuple(y.shape) for task, y in model(torch.zeros(5, 3)).items()}
        {'a': (5, 1), 'b': (5, 2)}
    """

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not heads:
            raise ValueError("heads is empty: give one module for each task.")
        self.trunk = trunk
        self.heads = nn.ModuleDict(heads)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return tuple(self.heads)

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return ``{task: output}`` for all tasks, or those named; the trunk runs once.

        Raises:
            ValueError: a task that the network does not have.
        """
        features = self.trunk(x)
        return {
            task: self._head(task)(features) for task in (self.tasks if tasks is None else tasks)
        }

    def shared_parameters(self) -> list[nn.Parameter]:
        """The trunk's parameters, to which every task contributes a gradient."""
        return list(self.trunk.parameters())

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """The parameters of one task's head.

        Raises:
            ValueError: a task that the network does not have.
        """
        return list(self._head(task).parameters())

    def _head(self, task: str) -> nn.Module:
        if task not in self.heads:
            raise ValueError(f"task {task!r} has no head: choose among {', '.join(self.tasks)}.")
        return self.heads[task]


def count_parameters(*modules: nn.Module) -> int:
    """How many numbers the modules learn; a parameter that several of them share counts once."""
    return sum(p.numel() for p in {p for module in modules for p in module.parameters()})
