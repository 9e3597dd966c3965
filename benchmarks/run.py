"""Time the library's pieces on this machine.

    python benchmarks/run.py

Contenders of one comparison run in turns, so that a busy moment of the machine hits all of them,
and are reported as ratios with their spread.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from mtl_lib.balancing import Fixed
from mtl_lib.data import figurines
from mtl_lib.data.batches import Batches
from mtl_lib.networks import Decoder, Encoder, HardSharing, ImageHead
from mtl_lib.training import fit

__all__ = ["interleaved", "main"]

ROUNDS = 7


def interleaved(contenders: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of every contender in every round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _spread(values: list[float], digits: int = 0) -> str:
    middle, low, high = (f"{f(values):,.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({low} to {high})"


class _Model(HardSharing):
    def __init__(self, tasks: int) -> None:
        trunk = nn.Sequential(Encoder(1, 16, size=28), Decoder(16, size=28))
        super().__init__(trunk, {f"task {i}": ImageHead(16, 1) for i in range(tasks)})

    def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {t: functional.mse_loss(y, batch["x"]) for t, y in self(batch["x"]).items()}


def _drawing() -> None:
    """Pairs of portrait and body, all modalities, a second."""
    pairs = 2048
    print("Drawing figurines: pairs of images with all modalities a second, median (min to max)")
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        factors = figurines.sample_factors(pairs, seed=0)["face"]

        def draw(factors: torch.Tensor = factors) -> None:
            for view in figurines.VIEWS:
                figurines.draw(factors, view, size=32)

        seconds = interleaved({"draw": draw})["draw"]
        print(f"  32 px, {threads} threads: {_spread([pairs / s for s in seconds])}")


def _loop() -> None:
    """The price of `fit` over a bare loop."""
    torch.set_num_threads(1)
    steps, batches = 20, Batches({"x": torch.rand(512, 1, 28, 28)}, 32)

    def plain(model: _Model, optimizer: torch.optim.Optimizer) -> None:
        for step in range(steps):
            losses = model.losses(batches(step))
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()

    print("Training: time of fit over that of a bare loop, median (min to max) of rounds")
    for tasks in (1, 3, 8):
        model = _Model(tasks)
        adam = torch.optim.Adam(model.parameters(), fused=True)
        seconds = interleaved(
            {
                "plain": lambda model=model, adam=adam: plain(model, adam),
                "fit": lambda model=model, adam=adam: fit(
                    model, batches, steps=steps, optimizer=adam, balancer=Fixed()
                ),
            }
        )
        ratios = [a / b for a, b in zip(seconds["fit"], seconds["plain"], strict=True)]
        step = 1000 * statistics.median(seconds["plain"]) / steps
        print(f"  {tasks} tasks: {_spread(ratios, 2)}; a step of the bare loop takes {step:.1f} ms")


def main() -> None:
    """Run all of it and print."""
    os.environ["MTL_QUIET"] = "1"
    _drawing()
    _loop()


if __name__ == "__main__":
    main()
