"""From the number of a step to a batch.

A source of batches is a function of the step. Because it keeps no position of its own, training
that was interrupted goes on with exactly the batches that it would have seen.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Batches", "TaskBatches"]


class Batches:
    """Shuffled batches of data held in memory, without end.

    Every example comes once before any comes twice: the stream is one random permutation of the
    data after another, cut into batches of equal size. A batch may be larger than the data.

    Args:
        data: ``{name: (n, ...)}``, all with the same n > 0.
        size: examples a batch.
        seed: of the permutations, 0 or more.

    Raises:
        ValueError: no data, unequal lengths, a size below 1 or a negative seed.

    Example:
        >>> batches = Batches({"x": torch.arange(6)}, size=4)
        >>> batches(0)["x"].shape, sorted(torch.cat([batches(i)["x"] for i in range(3)]).tolist())
        (torch.Size([4]), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    """

    def __init__(self, data: Mapping[str, Tensor], size: int, *, seed: int = 0) -> None:
        lengths = {name: len(values) for name, values in data.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(
                f"data has {lengths or 'no'} examples, wanted the same number, above 0, under "
                "every name: cut the longer ones."
            )
        if size < 1 or seed < 0:
            raise ValueError(
                f"size is {size} and seed is {seed}: wanted at least 1 example a batch and a seed "
                "of 0 or more."
            )
        self.data, self.size, self.seed = dict(data), size, seed
        self.examples = next(iter(lengths.values()))
        # A batch touches one epoch or two; more where it is larger than the data.
        self._order = lru_cache(maxsize=2)(self._permutation)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Give batch number ``step``, counted from 0: ``{name: (size, ...)}``."""
        first, last = step * self.size, (step + 1) * self.size
        epochs = range(first // self.examples, (last - 1) // self.examples + 1)
        order = np.concatenate([self._order(epoch) for epoch in epochs])
        start = first - epochs.start * self.examples
        chosen = torch.from_numpy(order[start : start + self.size])
        return {name: values[chosen.to(values.device)] for name, values in self.data.items()}

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.examples)


class TaskBatches:
    """One batch for each task, where tasks bring data of their own.

    Args:
        sources: ``{task: source of batches}``.

    Raises:
        ValueError: no source.

    Example:
        >>> face, body = (Batches({"x": torch.zeros(9, 2)}, size=4) for _ in range(2))
        >>> list(TaskBatches({"face": face, "body": body})(0))
        ['face', 'body']
    """

    def __init__(self, sources: Mapping[str, Callable[[int], Any]]) -> None:
        if not sources:
            raise ValueError("sources is empty: give at least one task with its batches.")
        self.sources = dict(sources)

    def __call__(self, step: int) -> dict[str, Any]:
        """Give ``{task: batch number step}``."""
        return {task: source(step) for task, source in self.sources.items()}
