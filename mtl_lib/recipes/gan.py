"""The GAN of chapter "What do auxiliary tasks do to a GAN?", trained longer than a page can wait.

    python -m mtl_lib.recipes.gan

It is wider, draws from more noise and sees each training image about forty-six times. Settings were
chosen on validation images; the card's measurements are on test images, beside those of real ones.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from mtl_lib import metrics
from mtl_lib.balancing import Fixed
from mtl_lib.data import fashion
from mtl_lib.data.batches import Batches
from mtl_lib.networks import GAN, AdversarialDiscriminator, AdversarialGenerator
from mtl_lib.recipes._command import arguments, rounded, store
from mtl_lib.training import fit, repeatable

__all__ = ["NAME", "generator", "main", "measure", "train"]

NAME = "fashion_gan"
_SEED = 0
_STEPS = 10_000
_BATCH = 32
_LEARNING_RATE = 0.004
_AVERAGING = 0.999
_NOISE = 64
_WIDTH = 48  # of the generator
_WEIGHTS = {"D real": 1.0, "D class": 1.0, "G real": 1.0, "G class": 0.1}
_JUDGED = 1000  # half of the test images


def generator() -> AdversarialGenerator:
    """The generator's architecture, for ``weights.load(generator(), NAME)``."""
    return AdversarialGenerator(1, len(fashion.CLASSES), size=28, noise=_NOISE, width=_WIDTH)


def train(steps: int = _STEPS, seed: int = _SEED, checkpoint: Path | None = None) -> GAN:
    """Train generator and discriminator.

    Args:
        steps: batches of 32 images.
        seed: of everything.
        checkpoint: see `mtl_lib.training.fit`.
    """
    validation = metrics.fashion_features(fashion.load("validation")["images"])
    labels = torch.arange(len(validation)) % len(fashion.CLASSES)
    torch.manual_seed(seed)
    discriminator = AdversarialDiscriminator(
        1, len(fashion.CLASSES), size=28, tasks=["class"], width=32, code=128
    )
    gan = GAN(generator(), discriminator, _AVERAGING)
    adam = gan.adam(_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.02, total_iters=steps)

    def validate() -> dict[str, float]:
        drawn = metrics.fashion_features(gan.average.draw(labels, seed))
        precision, recall = metrics.precision_recall(validation, drawn)
        return {"kid": metrics.kid(validation, drawn), "precision": precision, "recall": recall}

    fit(
        gan,
        Batches(fashion.load("train"), _BATCH, seed=seed),
        steps=steps,
        optimizer=adam,
        balancer=Fixed(_WEIGHTS),
        schedule=schedule,
        validate=validate,
        validate_every=1000,
        checkpoint=checkpoint,
        checkpoint_every=500,
        title=NAME,
    )
    return gan.eval()


def measure(network: AdversarialGenerator) -> dict[str, dict[str, float]]:
    """Compare 1 000 drawn images, and as many real ones, with 1 000 other real ones.

    All real images are test images: neither this network nor those that judge it have seen them.

    Args:
        network: the generator.

    Returns:
        ``{"drawn": numbers, "real": numbers}`` with KID, precision and recall on
        ``metrics.fashion_features``, and "class": the share of images that a classifier of its own,
        trained on real images, labels as they are labelled (GAN-test).
    """
    test = fashion.load("test")
    judge = metrics.train_classifier(fashion.load("train"), steps=1000)
    labels = torch.arange(_JUDGED) % len(fashion.CLASSES)
    sets = {
        "drawn": {"images": network.draw(labels, seed=_SEED), "labels": labels},
        "real": {name: values[_JUDGED:] for name, values in test.items()},
    }
    reference = metrics.fashion_features(test["images"][:_JUDGED])
    found = {}
    for name, data in sets.items():
        features = metrics.fashion_features(data["images"])
        recognised = {"class": metrics.accuracy(judge, data)}
        found[name] = rounded(metrics.resemblance(reference, features) | recognised)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and store the generator."""
    options = arguments("gan", _STEPS, argv)
    repeatable(threads=1)
    network = train(options.steps, checkpoint=options.checkpoint).average
    card = {
        "model": "mtl_lib.recipes.gan.generator()",
        "purpose": "garments of a wanted class",
        "data": 'fashion.load("train")',
        "licence": "MIT, like its data, Fashion-MNIST",
        "steps": options.steps,
        "batch": _BATCH,
        "seed": _SEED,
        "recipe": "python -m mtl_lib.recipes.gan",
    }
    store(network, NAME, measure, card, options.folder)


if __name__ == "__main__":
    main()
