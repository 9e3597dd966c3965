"""The diffusion model of the book's garments, Fashion-MNIST at 28 pixels, told the class.

    python -m mtl_lib.recipes.diffusion

A quarter of an hour on one processor core. The learning rate falls to nearly zero, which does what
averages of the parameters do elsewhere. Settings are those of the chapter on diffusion, with a
wider network.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from mtl_lib import metrics
from mtl_lib.data import fashion
from mtl_lib.data.batches import Batches
from mtl_lib.networks import Diffusion, UNet
from mtl_lib.recipes._command import arguments, rounded, store
from mtl_lib.training import best_device, fit, repeatable

__all__ = ["NAME", "draw", "main", "measure", "new", "train"]

NAME = "diffusion"
_SEED = 0
_STEPS = 12_000
_BATCH = 32
_LEARNING_RATE = 0.002
_FORGET = 0.1
_DRAWN = 1000  # as many as there are validation images, which give the floor
_CHUNK = 500  # drawn at a time


def new() -> Diffusion:
    """The model with fresh parameters, as the stored weights need it."""
    return Diffusion(UNet(1, conditions=len(fashion.CLASSES), width=40), forget=_FORGET)


def train(
    steps: int = _STEPS,
    seed: int = _SEED,
    checkpoint: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> Diffusion:
    """Train the network.

    Args:
        steps: batches of 32 images.
        seed: of everything.
        checkpoint: file to write, and to go on from where it exists.
        device: where to train.
    """
    torch.manual_seed(seed)
    model = new().to(device)
    optimizer = torch.optim.Adam(model.parameters(), _LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    fit(
        model,
        Batches(fashion.load("train"), _BATCH, seed=seed),
        steps=steps,
        optimizer=optimizer,
        schedule=schedule,
        clip=1.0,
        checkpoint=checkpoint,
        checkpoint_every=200,
        title=NAME,
    )
    return model.eval()


def draw(model: Diffusion, labels: torch.Tensor, *, seed: int = 0, steps: int = 25) -> torch.Tensor:
    """Draw one garment for each label, ``(n,) -> (n, 1, 28, 28)`` in [0, 1].

    Args:
        model: the network.
        labels: classes.
        seed: of the noise.
        steps: of the sampler.
    """
    noise = torch.randn(len(labels), 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    parts = zip(torch.split(noise, _CHUNK), torch.split(labels, _CHUNK), strict=True)
    return torch.cat([model.sample(some, told, steps=steps) for some, told in parts])


def measure(model: Diffusion, drawn: int = _DRAWN) -> dict[str, dict[str, float]]:
    """`metrics.resemblance` of what is drawn, and of validation images, to test images.

    Validation images are real and new to all networks, so they give the floor.

    Args:
        model: the network, on the processor.
        drawn: how many images to draw; at most the number of validation images.

    Returns:
        ``{"drawn": numbers, "real": numbers}``.
    """
    test = fashion.load("test")
    truth = metrics.fashion_features(test["images"][:drawn])
    sets = {
        "drawn": draw(model, test["labels"][:drawn]),
        "real": fashion.load("validation")["images"][:drawn],
    }
    return {
        name: rounded(metrics.resemblance(truth, metrics.fashion_features(images)))
        for name, images in sets.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and store."""
    options = arguments(NAME, _STEPS, argv)
    repeatable(threads=1)
    model = train(options.steps, checkpoint=options.checkpoint, device=best_device()).cpu()
    card = {
        "model": "mtl_lib.recipes.diffusion.new()",
        "purpose": "draws garments of a class that is asked for, 28 pixels",
        "data": 'fashion.load("train")',
        "licence": "MIT, like its data, Fashion-MNIST",
        "steps": options.steps,
        "batch": _BATCH,
        "seed": _SEED,
        "recipe": f"python -m mtl_lib.recipes.{NAME}",
    }
    drawn = min(_DRAWN, 10 * options.steps)
    store(model, NAME, lambda network: measure(network, drawn), card, options.folder)


if __name__ == "__main__":
    main()
