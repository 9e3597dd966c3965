"""Train the networks of chapters/02_concepts/02_shared_parameters.ipynb to the end.

    python benchmarks/long_sharing.py [--steps STEPS] [--seeds SEEDS]

The chapter compares them after few steps. Here the learning rate stays for the first half of the
steps and falls to zero in the second.
"""

import argparse
import statistics
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_lib.data import figurines
from mtl_lib.data.batches import Batches
from mtl_lib.networks import Decoder, HardSharing, ImageHead, conv_block, split_sharing
from mtl_lib.training import repeatable

__all__ = ["main", "train"]

SIZE = 16
CHANNELS = {"rgb": 3, "depth": 1, "normals": 3}
INPUTS = len(figurines.FACTORS) + len(figurines.CLASSES)
SHARE_OF_OPERATIONS = 1_140_608 / 2_389_632  # hard sharing's of separate networks', by the chapter

# name: blocks shared, width, numbers after the first layer, learning rate, share of the steps
CONTENDERS = {
    "separate": (0, 16, 64, 0.01, 1.0),
    "separate, with the operations of hard": (0, 16, 64, 0.01, SHARE_OF_OPERATIONS),
    "separate, 8 channels": (0, 8, 46, 0.02, 1.0),
    "hard": (4, 16, 64, 0.01, 1.0),
    "hard, 32 channels": (4, 32, 84, 0.005, 1.0),
}


def make(depth: int, width: int, hidden: int) -> HardSharing:
    """Return the chapter's network, with the first ``depth`` of its four blocks shared."""

    def blocks() -> list[nn.Module]:
        layers = list(Decoder(hidden, size=SIZE, width=width))
        first = nn.Sequential(nn.Linear(INPUTS, hidden), nn.SiLU())
        unfold = [nn.Sequential(*layers[:4]), nn.Sequential(*layers[4:])]
        return [first, *unfold, conv_block(width, width)]

    heads = {task: ImageHead(width, count) for task, count in CHANNELS.items()}
    return split_sharing(blocks, heads, depth)


def portraits(count: int, split: str, seed: int) -> dict[str, Tensor]:
    """Return the inputs ``x`` and the three images of as many people."""
    made = figurines.dataset(
        {"face": count}, size=SIZE, split=split, seed=seed, modalities=list(CHANNELS)
    )["face"]
    worn = functional.one_hot(made["classes"], len(figurines.CLASSES))
    images = {task: made[task] for task in CHANNELS}
    images["normals"] = (images["normals"] + 1) / 2
    return {"x": torch.cat([2 * made["factors"] - 1, worn], dim=1), **images}


def unexplained(
    network: nn.Module, batch: Mapping[str, Tensor], variance: Mapping[str, Tensor]
) -> Tensor:
    """Mean squared error of each task over its variance: ``(tasks,)``."""
    images = network(batch["x"])
    return torch.stack([functional.mse_loss(images[t], batch[t]) / variance[t] for t in CHANNELS])


def train(name: str, seed: int, steps: int) -> list[float]:
    """Train a contender, and return its error on test people for each task."""
    *shape, rate, share = CONTENDERS[name]
    steps = max(2, round(steps * share))
    data, test = portraits(2000, "train", seed), portraits(300, "test", seed)
    variance = {task: data[task].var(0, correction=0).mean() for task in CHANNELS}
    torch.manual_seed(seed)
    network = make(*map(int, shape))
    adam = torch.optim.Adam(network.parameters(), lr=rate, fused=True)
    falls = torch.optim.lr_scheduler.LambdaLR(adam, lambda i: min(1.0, 2 * (1 - i / steps)))
    batches = Batches(data, 16, seed=seed)
    for step in range(steps):
        adam.zero_grad()
        unexplained(network, batches(step), variance).sum().backward()
        adam.step()
        falls.step()
    with torch.no_grad():
        errors: list[float] = unexplained(network, test, variance).tolist()
    return errors


def main() -> None:
    """Print the errors of every contender, means over seeds, and the range of their mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    repeatable(1)
    columns = "".join(f" {task} |" for task in CHANNELS)
    print(f"| after {options.steps} steps | mean | lowest to highest seed |{columns}")
    print("|---" * (3 + len(CHANNELS)) + "|")
    for name in CONTENDERS:
        found = [train(name, seed, options.steps) for seed in range(options.seeds)]
        means = [statistics.mean(errors) for errors in found]
        tasks = "".join(f" {statistics.mean(e):.3f} |" for e in zip(*found, strict=True))
        spread = f"{min(means):.3f}–{max(means):.3f}"
        print(f"| {name} | {statistics.mean(means):.3f} | {spread} |{tasks}", flush=True)


if __name__ == "__main__":
    main()
