"""A set of labelled images, judged by a classifier that learns from it or is asked about it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mtl_lib.data.batches import Batches
from mtl_lib.networks import Classifier
from mtl_lib.training import fit

__all__ = ["accuracy", "gan_test", "gan_train", "train_classifier"]

_BATCH = 32
_LEARNING_RATE = 0.005
_CHUNK = 1000  # images classified at a time


def train_classifier(data: Mapping[str, Tensor], *, steps: int = 300, seed: int = 0) -> Classifier:
    """Train a small classifier from scratch: about a second on one thread with 28-pixel images.

    Args:
        data: ``"images"`` ``(n, channels, size, size)`` with a size that is a multiple of 4, and
            ``"labels"`` ``(n,)`` integers from 0 on.
        steps: batches of 32 images.
        seed: of the initial network and of the order of images.

    Raises:
        ValueError: images or labels of a wrong shape or kind.
    """
    images, labels = _checked(data)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classes = int(labels.max()) + 1
        model = Classifier(images.shape[1], classes, size=images.shape[-1], code=32, width=8)
    model.to(images.device)
    adam = torch.optim.Adam(model.parameters(), _LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, _LEARNING_RATE, total_steps=steps)
    batches = Batches({"images": images, "labels": labels}, _BATCH, seed=seed)
    fit(model, batches, steps=steps, optimizer=adam, schedule=schedule)
    return model.eval()


@torch.no_grad()
def accuracy(classifier: Classifier, data: Mapping[str, Tensor]) -> float:
    """Share of images that a classifier labels as they are labelled.

    Args:
        classifier: of `train_classifier`, or any module that has ``scores(images)``.
        data: ``"images"`` and ``"labels"``, as in `train_classifier`.

    Raises:
        ValueError: images or labels of a wrong shape or kind.
    """
    images, labels = _checked(data)
    predicted = [classifier.scores(some).argmax(1) for some in torch.split(images, _CHUNK)]
    return (torch.cat(predicted) == labels).double().mean().item()


def gan_train(
    real: Mapping[str, Tensor], fake: Mapping[str, Tensor], *, steps: int = 300, seed: int = 0
) -> float:
    """Accuracy on real images of a classifier trained on fakes; sees variety that is missing.

    Compare it with a classifier trained on as many real images: that is the value to reach.

    Args:
        real: labelled images that the generator was *not* trained on; see `train_classifier`.
        fake: labelled images; the labels are those that the generator was asked for.
        steps: see `train_classifier`.
        seed: see `train_classifier`.

    Raises:
        ValueError: images or labels of a wrong shape or kind.

    Reference: K. Shmelkov, C. Schmid, K. Alahari, "How good is my GAN?", ECCV 2018.
    """
    return accuracy(train_classifier(fake, steps=steps, seed=seed), real)


def gan_test(
    real: Mapping[str, Tensor], fake: Mapping[str, Tensor], *, steps: int = 300, seed: int = 0
) -> float:
    """Accuracy on fakes of a classifier trained on real images; does not see missing variety.

    To judge several sets of fakes, train once with `train_classifier` and call `accuracy` on each.

    Args:
        real: labelled images to train the classifier on.
        fake: labelled images; the labels are those that the generator was asked for.
        steps: see `train_classifier`.
        seed: see `train_classifier`.

    Raises:
        ValueError: images or labels of a wrong shape or kind.

    Reference: K. Shmelkov, C. Schmid, K. Alahari, "How good is my GAN?", ECCV 2018.
    """
    return accuracy(train_classifier(real, steps=steps, seed=seed), fake)


def _checked(data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    images, labels = data["images"], data["labels"]
    right = images.ndim == 4 and labels.shape == images.shape[:1] and len(labels) > 0
    if not right or labels.is_floating_point():
        raise ValueError(
            f"images has shape {tuple(images.shape)}, labels {tuple(labels.shape)} and dtype "
            f"{labels.dtype}, wanted (n, channels, size, size) and (n,) integers with n > 0."
        )
    return images, labels
