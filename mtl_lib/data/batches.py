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

__all__ = ["Batches", "MixedBatches", "TaskBatches", "temperature_shares"]

_NO_ROWS = np.empty(0, np.int64)


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
        return self.stretch(step * self.size, self.size)

    def stretch(self, first: int, count: int) -> dict[str, Tensor]:
        """Give the ``count`` examples of the stream from number ``first`` on: ``(count, ...)``.

        Args:
            first: of the stream, counted from 0.
            count: 0 or more.
        """
        epochs = range(first // self.examples, (first + count - 1) // self.examples + 1)
        order = [self._order(epoch) for epoch in epochs]
        start = first % self.examples
        chosen = torch.from_numpy(np.concatenate([_NO_ROWS, *order])[start : start + count])
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


def temperature_shares(counts: Mapping[str, int], temperature: float = 1.0) -> dict[str, float]:
    """Share out the examples to be seen among tasks with n_i each: p_i = n_i^(1/T) / Σ n_j^(1/T).

    T = 1 is proportional to the data, T = ∞ the same for every task, and what lies between is a
    compromise. T below 1 favours the large tasks.

    References: N. Arivazhagan et al., "Massively Multilingual Neural Machine Translation in the
    Wild: Findings and Challenges", arXiv:1907.05019, 2019, and C. Raffel et al., "Exploring the
    Limits of Transfer Learning with a Unified Text-to-Text Transformer", JMLR 21 (140), 2020,
    section 3.5.2, temperature-scaled mixing. The latter also cap the counts, which is left to the
    caller here: pass ``min(n, cap)``.

    Args:
        counts: ``{task: examples}``, each above 0.
        temperature: T, above 0; ``math.inf`` for equal shares.

    Returns:
        ``{task: share}``, with the sum 1.

    Raises:
        ValueError: no task, a count below 1 or a temperature that is not above 0.

    Example:
        >>> temperature_shares({"face": 900, "body": 100}, temperature=2)
        {'face': 0.75, 'body': 0.25}
    """
    if not counts or min(counts.values()) < 1:
        raise ValueError(
            f"counts is {dict(counts)}, wanted at least one task and an example of each: leave "
            "out the tasks without data."
        )
    if not temperature > 0:
        raise ValueError(
            f"temperature is {temperature}, wanted more than 0: 1 for shares like the data, "
            "math.inf for equal ones."
        )
    relative = np.array(list(counts.values())) / max(counts.values())  # or powers may overflow
    powers = relative ** (1 / temperature)
    return dict(zip(counts, (powers / powers.sum()).tolist(), strict=True))


class MixedBatches:
    """Batches of equal size in which chance decides what task each example comes from.

    Unlike `TaskBatches`, where every task brings a batch in every step, the tasks share one batch:
    each of its places falls to task i with the probability that `temperature_shares` gives, and is
    filled with the next example of that task's shuffled stream. So a task may be absent from a
    batch, with no row under its name, and a small task at a high temperature repeats its examples
    more often than a large one.

    Like all sources it is a function of the step: what lies before a step is worked out, once, when
    that step is asked for.

    Args:
        data: ``{task: {name: (n_task, ...)}}``.
        size: examples a batch, of all tasks together.
        temperature: see `temperature_shares`.
        seed: of the choice of tasks and of the order in each, 0 or more.

    Raises:
        ValueError: no task, data or a size that `Batches` refuses, or a temperature that
            `temperature_shares` does.

    Example:
        >>> face, body = {"x": torch.zeros(900, 2)}, {"x": torch.ones(100, 2)}
        >>> batch = MixedBatches({"face": face, "body": body}, size=32, temperature=2)(0)
        >>> {task: len(part["x"]) for task, part in batch.items()}
        {'face': 24, 'body': 8}
    """

    def __init__(
        self,
        data: Mapping[str, Mapping[str, Tensor]],
        size: int,
        *,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.sources = {
            task: Batches(part, size, seed=seed + i) for i, (task, part) in enumerate(data.items())
        }
        counts = {task: source.examples for task, source in self.sources.items()}
        self.shares = temperature_shares(counts, temperature)
        self.size, self.seed = size, seed
        self._before = [np.zeros(len(counts), np.int64)]  # examples of each task before a step

    def __call__(self, step: int) -> dict[str, dict[str, Tensor]]:
        """Give ``{task: {name: (k_task, ...)}}`` of batch ``step``; the k add up to the size."""
        while len(self._before) < step + 2:
            self._before.append(self._before[-1] + self._places(len(self._before) - 1))
        first, counts = self._before[step], self._before[step + 1] - self._before[step]
        parts = zip(self.sources.items(), first.tolist(), counts.tolist(), strict=True)
        return {task: source.stretch(start, count) for (task, source), start, count in parts}

    def _places(self, step: int) -> np.ndarray:
        """How many places of a batch fall to each task; 1 keeps it apart from the permutations."""
        chance = np.random.default_rng((self.seed, step, 1))
        return chance.multinomial(self.size, list(self.shares.values()))
