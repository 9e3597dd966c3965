"""The network behind ``metrics.fashion_features``: a small Fashion-MNIST classifier.

    python -m mtl_lib.recipes.classifier

It sees the 7 000 training images and neither validation nor test images: those have to be new to it
when it judges generators. Shifts, mirror images and dropout keep it from knowing the training
images by heart, or else two sets of them would look more alike than real images are. Settings were
chosen on validation images.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mtl_lib import metrics
from mtl_lib.data import fashion
from mtl_lib.data.batches import Batches
from mtl_lib.networks import Classifier
from mtl_lib.recipes._command import rounded, store
from mtl_lib.training import fit, repeatable

__all__ = ["NAME", "main", "measure", "train"]

NAME = "fashion_classifier"
_SEED = 0
_STEPS = 3000
_BATCH = 64
_LEARNING_RATE = 0.004
_DECAY = 0.02
_SHIFT = 2  # pixels
_DROPOUT = 0.3


def train(steps: int = _STEPS, seed: int = _SEED) -> Classifier:
    """Train the network.

    Args:
        steps: batches of 64 images.
        seed: of everything.
    """
    torch.manual_seed(seed)
    model = Classifier(1, len(fashion.CLASSES), size=28, dropout=_DROPOUT)
    optimizer = torch.optim.AdamW(
        model.parameters(), _LEARNING_RATE, weight_decay=_DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    batches = Batches(fashion.load("train"), _BATCH, seed=seed)

    def varied(step: int) -> dict[str, Tensor]:
        batch = batches(step)
        return {**batch, "images": _shifted(batch["images"])}

    fit(model, varied, steps=steps, optimizer=optimizer, schedule=schedule, title=NAME)
    return model.eval()


def measure(model: Classifier) -> dict[str, float]:
    """Accuracy on each split of the data.

    Args:
        model: what `train` gives.
    """
    return rounded({one: metrics.accuracy(model, fashion.load(one)) for one in fashion.SPLITS})


def main() -> None:
    """Train, measure and store."""
    repeatable(threads=1)
    card = {
        "model": "mtl_lib.networks.Classifier(1, 10, size=28)",
        "purpose": "features of garments, 48 an image, before the last layer",
        "data": 'fashion.load("train")',
        "licence": "MIT, like its data, Fashion-MNIST",
        "steps": _STEPS,
        "batch": _BATCH,
        "seed": _SEED,
        "recipe": "python -m mtl_lib.recipes.classifier",
    }
    store(train(), NAME, measure, card)


def _shifted(images: Tensor) -> Tensor:
    """Mirror half of the images, and move each by up to two pixels."""
    n, _, height, width = images.shape
    mirrored = torch.where(torch.rand(n, 1, 1, 1) < 0.5, images.flip(3), images)
    padded = functional.pad(mirrored, (_SHIFT,) * 4)
    top, left = torch.randint(2 * _SHIFT + 1, (2, n))
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    return padded[torch.arange(n)[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]


if __name__ == "__main__":
    main()
