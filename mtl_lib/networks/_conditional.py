"""One set of convolutions for all tasks, and a scale and a shift of each task's own."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_lib.networks._blocks import _GROUPS, _check_multiple
from mtl_lib.networks._sharing import Sharing, module_dict

__all__ = ["ConditionalNorm", "ConditionalSharing", "FiLM"]


class FiLM(nn.Module):
    """Scale and shift features by what a vector says: γ(c) h + β(c), channel by channel.

    γ and β are linear in c. They start at 1 and 0 for every c, so that the layer begins as the
    identity. The vector may be an embedding of the task, ``nn.Embedding(tasks, code)``, one learned
    vector for each.

    Reference: E. Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI
    2018, eqs. 1 and 2; γ = 1 + Δγ as in eq. 3, in its appendix on details of the model.

    Args:
        channels: of the features.
        code: numbers in a vector c.

    Example:
        >>> film, embedding = FiLM(8, 4), nn.Embedding(3, 4)
        >>> film(torch.zeros(2, 8, 5, 5), embedding(torch.tensor([0, 2]))).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(self, channels: int, code: int) -> None:
        super().__init__()
        self.affine = nn.Linear(code, 2 * channels)
        nn.init.zeros_(self.affine.weight)
        nn.init.zeros_(self.affine.bias)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """``(n, channels, ...), (n, code) -> (n, channels, ...)``."""
        scale, shift = self.affine(c).chunk(2, dim=1)
        return _scaled(h, 1 + scale, shift)


class ConditionalNorm(nn.Module):
    """Group normalisation with a scale and a shift for each condition: γ_s (h − μ) / σ + β_s.

    A condition is a task or a style. All start at γ = 1, β = 0. Each γ_s and β_s is a parameter of
    its own, so that one condition can be learned while all else stays.

    Reference: V. Dumoulin, J. Shlens, M. Kudlur, "A Learned Representation for Artistic Style",
    ICLR 2017, eq. 5, where every channel is a group (``groups=channels``, instance normalisation).

    Args:
        channels: of the features, a multiple of ``groups``.
        conditions: how many.
        groups: of channels; each is normalised by itself, image by image.

    Raises:
        ValueError: no condition, or channels that are not a multiple of the groups.

    Example:
        >>> norm = ConditionalNorm(16, conditions=3)
        >>> norm(torch.rand(2, 16, 4, 4), torch.tensor([0, 2])).shape
        torch.Size([2, 16, 4, 4])
    """

    def __init__(self, channels: int, conditions: int, groups: int = _GROUPS) -> None:
        super().__init__()
        _check_multiple("channels", channels, groups)
        if conditions < 1:
            raise ValueError(f"conditions is {conditions}, wanted at least 1.")
        self.groups = groups
        self.scale = nn.ParameterList(torch.ones(channels) for _ in range(conditions))
        self.shift = nn.ParameterList(torch.zeros(channels) for _ in range(conditions))

    def forward(self, h: Tensor, condition: Tensor | int) -> Tensor:
        """Normalise ``(n, channels, ...)``, given each image's condition.

        Args:
            h: features.
            condition: indices ``(n,)``, or one for all images, which is faster.

        Raises:
            ValueError: neither a number nor one int64 index an image.
        """
        if isinstance(condition, int):
            scale, shift = self.condition_parameters(condition)
            return functional.group_norm(h, self.groups, scale, shift)
        if condition.shape != h.shape[:1] or condition.dtype != torch.int64:
            raise ValueError(
                f"condition has shape {tuple(condition.shape)} and dtype {condition.dtype}, wanted "
                f"({len(h)},) int64: give the index of a condition for each image."
            )
        scales, shifts = (torch.stack([*rows])[condition] for rows in (self.scale, self.shift))
        return _scaled(functional.group_norm(h, self.groups), scales, shifts)

    def condition_parameters(self, condition: int) -> list[nn.Parameter]:
        """γ and β of one condition."""
        return [self.scale[condition], self.shift[condition]]

    def add_condition(self) -> None:
        """Add one more condition, which starts at the mean of those there are."""
        for rows in (self.scale, self.shift):
            rows.append(nn.Parameter(torch.stack([*rows]).detach().mean(0)))


class ConditionalSharing(Sharing):
    """One trunk that is told the task, and one head for each: y_i = head_i(trunk(x, i)).

    Unlike that of `HardSharing`, the trunk runs once for every task.

    Args:
        trunk: layers in their order. Each `ConditionalNorm` among them gets the features and the
            task's index, all others the features; of the norms, condition i is task i.
        heads: ``{task: its output layers}``. Several tasks may have one and the same module for a
            head; its parameters are then shared.

    Raises:
        ValueError: no head.

    Example:
        >>> trunk = [nn.Linear(3, 8), ConditionalNorm(8, conditions=2), nn.ReLU()]
        >>> model = ConditionalSharing(trunk, {"a": nn.Linear(8, 1), "b": nn.Linear(8, 2)})
        >>> {task: tuple(y.shape) for task, y in model(torch.zeros(5, 3)).items()}
        {'a': (5, 1), 'b': (5, 2)}
    """

    def __init__(self, trunk: Iterable[nn.Module], heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*trunk)
        self.heads = module_dict("heads", heads)

    def features(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Return the features for each task, from one run of the trunk for each."""
        return {task: self._told(x, self.tasks.index(task)) for task in tasks}

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """The task's scales and shifts, and its head's parameters unless others use that head.

        Raises:
            ValueError: a task that the network does not have.
        """
        self._check(task)
        index = self.tasks.index(task)
        norms = [p for norm in self._norms() for p in norm.condition_parameters(index)]
        others = {head for other, head in self.heads.items() if other != task}
        head = self.heads[task]
        return norms if head in others else norms + list(head.parameters())

    def _norms(self) -> list[ConditionalNorm]:
        return [layer for layer in self.trunk if isinstance(layer, ConditionalNorm)]

    def _told(self, x: Tensor, index: int) -> Tensor:
        for layer in self.trunk:
            x = layer(x, index) if isinstance(layer, ConditionalNorm) else layer(x)
        return x


def _scaled(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Scale and shift of shape (n, channels), the same at all positions of a map."""
    shape = (*scale.shape, *(1 for _ in h.shape[2:]))
    return torch.addcmul(shift.view(shape), scale.view(shape), h)
