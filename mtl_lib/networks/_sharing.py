"""How tasks share a network, and what a network costs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = [
    "CrossStitch",
    "HardSharing",
    "MMoE",
    "Sharing",
    "count_flops",
    "count_parameters",
    "split_sharing",
]


class Sharing(nn.Module, ABC):
    """What all ways of sharing have in common: one input, one head and one output for each task.

    They differ in the features that a head reads.
    """

    heads: nn.ModuleDict

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return tuple(self.heads)

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return ``{task: output}`` for all tasks, or those named.

        Raises:
            ValueError: a task that the network does not have.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        for task in wanted:
            self._check(task)
        features = self.features(x, wanted)
        return {task: self.heads[task](features[task]) for task in wanted}

    @abstractmethod
    def features(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return ``{task: what its head reads}``."""

    def shared_parameters(self) -> list[nn.Parameter]:
        """Everything that is not one task's own: several tasks contribute to its gradient."""
        own = {p for task in self.tasks for p in self.task_parameters(task)}
        return [p for p in self.parameters() if p not in own]

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """The parameters that only one task uses.

        Raises:
            ValueError: a task that the network does not have.
        """
        self._check(task)
        return list(self.heads[task].parameters())

    def _check(self, task: str) -> None:
        if task not in self.heads:
            raise ValueError(f"task {task!r} has no head: choose among {', '.join(self.tasks)}.")


class HardSharing(Sharing):
    """One trunk for all tasks and one head for each: y_i = head_i(trunk(x)).

    Reference: R. Caruana, "Multitask Learning", Machine Learning 28, 1997.

    Args:
        trunk: what all tasks share; it runs once for all of them.
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
        self.trunk = trunk
        self.heads = module_dict("heads", heads)

    def features(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the same features for each task."""
        return dict.fromkeys(tasks, self.trunk(x))


def split_sharing(
    blocks: Callable[[], Sequence[nn.Module]], heads: Mapping[str, nn.Module], depth: int
) -> HardSharing:
    """Share the first blocks of a network, and give each task its own copy of those that follow.

    Depth 0 is a network for each task, and sharing all blocks is hard sharing.

    Args:
        blocks: makes the blocks, with fresh parameters at every call.
        heads: ``{task: its output layers}``.
        depth: how many blocks to share.

    Raises:
        ValueError: no head, or a depth that the blocks do not have.

    Example:
        >>> def blocks():
        ...     return [nn.Linear(3, 8), nn.Linear(8, 8)]
        >>> heads = {"a": nn.Linear(8, 1), "b": nn.Linear(8, 1)}
        >>> [count_parameters(split_sharing(blocks, heads, depth)) for depth in (0, 1, 2)]
        [226, 194, 122]
    """
    trunk = blocks()
    if not 0 <= depth <= len(trunk):
        raise ValueError(f"depth is {depth}, wanted 0 to {len(trunk)}, the number of blocks.")
    branches = {task: nn.Sequential(*blocks()[depth:], head) for task, head in heads.items()}
    return HardSharing(nn.Sequential(*trunk[:depth]), branches)


class CrossStitch(Sharing):
    """A network for each task, whose features are mixed after every block.

    With h_j the features of task j's network after a block, those that go on are Σ_j α_ij h_j, a
    learned mixture of the features of all tasks. α = 1 on the diagonal and 0 elsewhere is a
    network for each task; equal entries everywhere give all tasks the same features.

    Reference: I. Misra, A. Shrivastava, A. Gupta, M. Hebert, "Cross-stitch Networks for Multi-task
    Learning", CVPR 2016, eq. 1. The paper has an α for each channel; ours has one for each block,
    so that any blocks will do.

    Args:
        columns: ``{task: blocks}``, as many for each task, with outputs of the same shape at the
            same place.
        heads: ``{task: its output layers}``, after the last mixture.
        own: α on the diagonal at the start; what is missing to 1 is divided among the others.

    Raises:
        ValueError: no head, other tasks in columns than in heads, or unequal numbers of blocks.

    Example:
        >>> tasks = ["a", "b"]
        >>> columns = {task: [nn.Linear(3, 8), nn.Linear(8, 8)] for task in tasks}
        >>> model = CrossStitch(columns, {task: nn.Linear(8, 1) for task in tasks})
        >>> model(torch.zeros(5, 3))["b"].shape, model.alpha.shape
        (torch.Size([5, 1]), torch.Size([2, 2, 2]))
    """

    def __init__(
        self,
        columns: Mapping[str, Sequence[nn.Module]],
        heads: Mapping[str, nn.Module],
        *,
        own: float = 0.9,
    ) -> None:
        super().__init__()
        counts = {task: len(blocks) for task, blocks in columns.items()}
        if columns.keys() != heads.keys() or len(set(counts.values())) > 1:
            raise ValueError(
                f"columns have {counts} blocks and heads are for {', '.join(heads) or 'no task'}: "
                "wanted the same tasks, with the same number of blocks each."
            )
        self.heads = module_dict("heads", heads)
        self.columns = nn.ModuleDict({task: nn.ModuleList(columns[task]) for task in heads})
        tasks = len(heads)
        alpha = torch.full((tasks, tasks), (1 - own) / max(1, tasks - 1))
        alpha.fill_diagonal_(own)
        self.alpha = nn.Parameter(alpha.repeat(max(counts.values()), 1, 1))

    def features(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return each task's last mixture; all networks run, whatever the tasks asked for."""
        mixed = [x] * len(self.heads)
        for alpha, blocks in zip(self.alpha, zip(*self.columns.values(), strict=True), strict=True):
            features = torch.stack([block(h) for block, h in zip(blocks, mixed, strict=True)])
            mixed = list(torch.tensordot(alpha, features, dims=1))
        return {task: h for task, h in zip(self.tasks, mixed, strict=True) if task in tasks}


class MMoE(Sharing):
    """Several trunks, the experts, of which each task's gate makes a mixture for each input.

    y_k = head_k(Σ_i g_k(x)_i expert_i(x)), where g_k = softmax(gate_k(x)).

    Reference: J. Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts", KDD 2018, eqs. 6 to 8, where a gate is linear.

    Args:
        experts: what all tasks share, with outputs of the same shape.
        gates: ``{task: x -> a score for each expert}``, ``(n, ...) -> (n, experts)``.
        heads: ``{task: its output layers}``.

    Raises:
        ValueError: no head, no expert, or other tasks in gates than in heads.

    Example:
        >>> tasks = ["a", "b"]
        >>> model = MMoE(
        ...     [nn.Linear(3, 8) for _ in range(4)],
        ...     {task: nn.Linear(3, 4) for task in tasks},
        ...     {task: nn.Linear(8, 1) for task in tasks},
        ... )
        >>> model(torch.zeros(5, 3))["b"].shape, model.weights(torch.zeros(5, 3), "a").shape
        (torch.Size([5, 1]), torch.Size([5, 4]))
    """

    def __init__(
        self,
        experts: Sequence[nn.Module],
        gates: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        if not experts or gates.keys() != heads.keys():
            raise ValueError(
                f"{len(experts)} experts, gates for {', '.join(gates)}, heads for "
                f"{', '.join(heads)}: wanted at least one expert, and a gate for each head."
            )
        self.experts = nn.ModuleList(experts)
        self.gates = nn.ModuleDict(gates)
        self.heads = module_dict("heads", heads)

    def weights(self, x: Tensor, task: str) -> Tensor:
        """Share of each expert in what a task's head reads: ``(n, experts)``, rows sum to 1.

        Raises:
            ValueError: a task that the network does not have.
        """
        self._check(task)
        return torch.softmax(self.gates[task](x), dim=1)

    def features(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return each task's mixture; the experts run once."""
        features = torch.stack([expert(x) for expert in self.experts], dim=1)
        return {
            task: torch.einsum("ne,ne...->n...", self.weights(x, task), features) for task in tasks
        }

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """The parameters of one task's gate and head.

        Raises:
            ValueError: a task that the network does not have.
        """
        self._check(task)
        return [*self.gates[task].parameters(), *self.heads[task].parameters()]


def module_dict(name: str, modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """One module for each task, and at least one task."""
    if not modules:
        raise ValueError(f"{name} is empty: give one module for each task.")
    return nn.ModuleDict(modules)


def count_parameters(*modules: nn.Module) -> int:
    """How many numbers the modules learn; a parameter that several of them share counts once."""
    return sum(p.numel() for p in {p for module in modules for p in module.parameters()})


def count_flops(module: Callable[..., Any], *inputs: Any) -> int:
    """How many floating-point operations a call takes, without its backward pass.

    A multiplication with the addition that follows counts as two. Counted are matrix products and
    convolutions, as `torch.utils.flop_counter` does; normalisation, activations and sums are not.

    Args:
        module: what to call.
        inputs: of the call; for the operations of one image, a batch of one.

    Example:
        >>> count_flops(nn.Linear(3, 8), torch.zeros(1, 3))
        48
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return int(counter.get_total_flops())
