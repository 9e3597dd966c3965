"""Time the library's pieces on this machine, side by side with torchjd.

    python benchmarks/run.py [drawing] [loop] [aggregation] [step]

Contenders of one comparison run in turns, so that a busy moment of the machine hits all of them,
and are reported as ratios with their spread.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchjd import aggregation as theirs
from torchjd.autojac import jac_to_grad, mtl_backward

from mtl_lib import balancing
from mtl_lib.balancing import Balancer, Fixed, through
from mtl_lib.data import figurines
from mtl_lib.data.batches import Batches
from mtl_lib.networks import Decoder, Encoder, HardSharing, ImageHead
from mtl_lib.training import fit

__all__ = ["interleaved", "main"]

ROUNDS = 7
AGGREGATIONS: dict[str, tuple[Callable[[], Any], Callable[[int], Any]]] = {
    "Mean": (balancing.Mean, lambda m: theirs.Mean()),
    "MGDA": (balancing.MGDA, lambda m: theirs.MGDA()),
    "PCGrad": (balancing.PCGrad, lambda m: theirs.PCGrad()),
    "CAGrad": (balancing.CAGrad, lambda m: theirs.CAGrad(c=0.5)),
    "IMTLG": (balancing.IMTLG, lambda m: theirs.IMTLG()),
    "NashMTL": (balancing.NashMTL, lambda m: theirs.NashMTL(n_tasks=m)),
    "AlignedMTL": (balancing.AlignedMTL, lambda m: theirs.AlignedMTL()),
    "ConFIG": (balancing.ConFIG, lambda m: theirs.ConFIG()),
    "UPGrad": (balancing.UPGrad, lambda m: theirs.UPGrad()),
}
if find_spec("ecos") is None:  # torchjd's solver for it
    del AGGREGATIONS["NashMTL"]


def interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, enough: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of every contender in every round, after one round that does not count.

    A contender that takes less than ``enough`` seconds is called several times a round.
    """
    calls = {}
    for name, run in contenders.items():
        run()
        start = time.perf_counter()
        run()
        calls[name] = max(1, round(enough / max(1e-9, time.perf_counter() - start)))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                run()
            seconds[name].append((time.perf_counter() - start) / calls[name])
    return seconds


def _spread(values: Sequence[float], digits: int = 0) -> str:
    middle, low, high = (f"{f(values):,.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} ({low} to {high})"


def _ratio(seconds: Mapping[str, Sequence[float]], one: str, other: str) -> str:
    return _spread([a / b for a, b in zip(seconds[one], seconds[other], strict=True)], 2)


class _Model(HardSharing):
    def __init__(self, tasks: int, size: int = 28, width: int = 16) -> None:
        trunk = nn.Sequential(
            Encoder(1, 16, size=size, width=width), Decoder(16, size=size, width=width)
        )
        super().__init__(trunk, {f"task{i}": ImageHead(width, 1) for i in range(tasks)})

    def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self.from_features(self.trunk(batch["x"]), batch["x"])

    def from_features(self, z: torch.Tensor, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Tasks that differ: each sees the image shifted by another number of pixels."""
        return {
            task: functional.mse_loss(head(z), x.roll(i, dims=3))
            for i, (task, head) in enumerate(self.heads.items())
        }


def drawing() -> None:
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


def loop() -> None:
    """The price of `fit` over a bare loop."""
    steps, batches = 20, Batches({"x": torch.rand(512, 1, 28, 28)}, 32)

    def plain(model: _Model, optimizer: torch.optim.Optimizer) -> None:
        for step in range(steps):
            losses = model.losses(batches(step))
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()

    print("Training loop: time of fit over that of a bare loop, median (min to max)")
    for tasks in (1, 3, 8):
        model = _Model(tasks)
        adam = torch.optim.Adam(model.parameters(), fused=True)
        contenders = {
            "plain": lambda model=model, adam=adam: plain(model, adam),
            "fit": lambda model=model, adam=adam: fit(
                model, batches, steps=steps, optimizer=adam, balancer=Fixed()
            ),
        }
        seconds = interleaved(contenders)
        step = 1000 * statistics.median(seconds["plain"]) / steps
        print(f"  {tasks} tasks: {_ratio(seconds, 'fit', 'plain')}; a bare step {step:.1f} ms")


def aggregation() -> None:
    """Each aggregation over torchjd's, on Jacobians."""
    print("Aggregation: our time over torchjd's, median (min to max), and our milliseconds")
    for m in (2, 4, 10, 40):
        for n in (10_000, 1_000_000):
            jacobian = torch.randn(m, n, generator=torch.Generator().manual_seed(0))
            jacobian += 0.02 * jacobian.roll(1, 0)
            for name, (ours, other) in AGGREGATIONS.items():
                mine, his = ours(), other(m)
                contenders = {
                    "ours": lambda mine=mine, j=jacobian: mine(j),
                    "torchjd": lambda his=his, j=jacobian: his(j),
                }
                seconds = interleaved(contenders, enough=0.01)
                time_ours = 1000 * statistics.median(seconds["ours"])
                print(
                    f"  {name:<10} m = {m:>2}, n = {n:>7}: {_ratio(seconds, 'ours', 'torchjd')}; "
                    f"{time_ours:.2f} ms",
                    flush=True,
                )


def step() -> None:
    """A whole training step: plain, with every balancer, and with torchjd."""
    print("Training step of a convolutional trunk, batch of 32, over the plain backward pass")
    for tasks in (2, 4, 8):
        _steps_with(tasks)


def _steps_with(tasks: int) -> None:
    torch.manual_seed(0)
    model, x = _Model(tasks, width=24), torch.rand(32, 1, 28, 28)
    names, shared = list(model.tasks), model.shared_parameters()
    heads = [model.task_parameters(task) for task in names]
    makers: dict[str, Callable[[], Balancer]] = {
        **{name: ours for name, (ours, _) in AGGREGATIONS.items()},
        "Fixed": Fixed,
        "Uncertainty": lambda: balancing.Uncertainty(names),
        "DWA": lambda: balancing.DWA(names, window=10),
        "GradNorm": lambda: balancing.GradNorm(names),
        "FAMO": lambda: balancing.FAMO(names),
        "RLW": balancing.RLW,
        "GeometricMean": balancing.GeometricMean,
        "SmoothTchebycheff": balancing.SmoothTchebycheff,
    }

    def plain() -> None:
        model.zero_grad()
        torch.stack(list(model.losses({"x": x}).values())).sum().backward()

    def balanced(balancer: Balancer) -> None:
        model.zero_grad()
        balancer.backward(model.losses({"x": x}), shared)
        balancer.after_step(lambda: model.losses({"x": x}))

    def represented(balancer: Balancer) -> None:
        model.zero_grad()
        through(balancer, model.trunk(x), lambda z: model.from_features(z, x))

    def batched(aggregation: balancing.Aggregation) -> None:
        model.zero_grad()
        aggregation.batched_backward(model.trunk(x), lambda z: model.from_features(z, x), shared)

    def torchjd(aggregator: Any, chunk: int | None) -> None:
        model.zero_grad()
        z = model.trunk(x)
        mtl_backward(
            list(model.from_features(z, x).values()),
            features=z,
            tasks_params=heads,
            shared_params=shared,
            parallel_chunk_size=chunk,
        )
        jac_to_grad(shared, aggregator)

    contenders: dict[str, Callable[[], object]] = {"plain": plain}
    for name, make in makers.items():
        contenders[name] = partial(balanced, make())
    contenders["UPGrad, batched"] = partial(batched, balancing.UPGrad())
    contenders["UPGrad, representation"] = partial(represented, balancing.UPGrad())
    contenders["UPGrad, 4 chunks"] = partial(balanced, balancing.UPGrad(chunks=4))
    for name, (_, other) in AGGREGATIONS.items():
        contenders[f"torchjd {name}, one by one"] = partial(torchjd, other(tasks), 1)
    contenders["torchjd UPGrad, default"] = partial(torchjd, theirs.UPGrad(), None)
    seconds = interleaved(contenders)
    print(f"  {tasks} tasks, plain step {1000 * statistics.median(seconds['plain']):.1f} ms")
    for name in contenders:
        against = f"torchjd {name}, one by one"
        line = f"    {name:<32} {_ratio(seconds, name, 'plain')}"
        if against in seconds:
            line += f"; over torchjd's {_ratio(seconds, name, against)}"
        if name != "plain":
            print(line)


def main() -> None:
    """Command line."""
    parts = {part.__name__: part for part in (drawing, loop, aggregation, step)}
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; default: all")
    chosen = parser.parse_args().parts or list(parts)
    if unknown := set(chosen) - set(parts):
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Choose among {', '.join(parts)}.")
    os.environ["MTL_QUIET"] = "1"
    torch.set_num_threads(1)
    for name in chosen:
        parts[name]()


if __name__ == "__main__":
    main()
