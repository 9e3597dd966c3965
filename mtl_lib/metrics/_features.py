"""Features on which sets of images are compared, from networks that the book trained itself."""

from functools import cache

import torch
from torch import Tensor

from mtl_lib import weights
from mtl_lib.data import figurines
from mtl_lib.networks import Classifier, FactorReader

__all__ = ["fashion_features", "figurine_factors", "figurine_features"]

_CHUNK = 1000  # images at a time, so that memory does not depend on their number


@torch.no_grad()
def fashion_features(images: Tensor) -> Tensor:
    """Describe garments by what a small Fashion-MNIST classifier makes of them before it decides.

    The network was trained on ``fashion.load("train")`` alone; see ``mtl_lib.recipes.classifier``.
    Distances between these features are not comparable with published ones, which rest on a large
    network trained on photographs.

    Args:
        images: ``(n, 1, 28, 28)`` in [0, 1].

    Returns:
        ``(n, 48)``.

    Raises:
        ValueError: images of another shape.
        CorruptDataError: the stored network is missing or altered.
    """
    if images.shape[1:] != (1, 28, 28):
        raise ValueError(
            f"images has shape {tuple(images.shape)}, wanted (n, 1, 28, 28): resize them, or use "
            "the features of another network."
        )
    network = _fashion_network().to(images.device)
    return torch.cat([network.trunk(some) for some in torch.split(images, _CHUNK)])


@torch.no_grad()
def figurine_features(rgb: Tensor, view: str) -> Tensor:
    """Describe figurines by what the network that reads their factors makes of them.

    The network was trained on shaded people of 32 pixels that no chapter draws; see
    ``mtl_lib.recipes.factor_reader``.

    Args:
        rgb: ``(n, 3, 32, 32)`` in [0, 1], shaded.
        view: one of ``figurines.VIEWS``; each has a network of its own.

    Returns:
        ``(n, 48)``.

    Raises:
        ValueError: images of another shape, or an unknown view.
        CorruptDataError: the stored network is missing or altered.
    """
    network = _figurine_network(rgb, view)
    return torch.cat([network.trunk(some) for some in torch.split(rgb, _CHUNK)])


@torch.no_grad()
def figurine_factors(rgb: Tensor, view: str) -> Tensor:
    """Read the factors off figurines: who is in the picture?

    Face and body of one person should give the same factors, as far as both views show them. A
    portrait does not show the pose of the arms; the cards, ``weights.card("figurine_face")`` and
    ``weights.card("figurine_body")``, say how well each factor is read from real pictures.

    Args:
        rgb: ``(n, 3, 32, 32)`` in [0, 1], shaded.
        view: one of ``figurines.VIEWS``.

    Returns:
        ``(n, 10)``, columns as in ``figurines.FACTORS``, on the scale from 0 to 1 of the factors;
        an answer may lie a little outside.

    Raises:
        ValueError: images of another shape, or an unknown view.
        CorruptDataError: the stored network is missing or altered.

    Example:
        >>> people = figurines.dataset({"body": 100})["body"]
        >>> error = figurine_factors(people["rgb"], "body") - people["factors"]
        >>> bool(error.abs().median() < 0.03)
        True
    """
    network = _figurine_network(rgb, view)
    return torch.cat([network(some)["factors"] for some in torch.split(rgb, _CHUNK)])


def _figurine_network(rgb: Tensor, view: str) -> FactorReader:
    if view not in figurines.VIEWS:
        raise ValueError(f"view is {view!r}, wanted one of {', '.join(figurines.VIEWS)}.")
    if rgb.shape[1:] != (3, 32, 32):
        raise ValueError(
            f"rgb has shape {tuple(rgb.shape)}, wanted (n, 3, 32, 32): draw figurines with "
            "size=32, the only one that the network knows."
        )
    return _figurine_networks()[view].to(rgb.device)


@cache
def _figurine_networks() -> dict[str, FactorReader]:
    factors, classes = len(figurines.FACTORS), len(figurines.CLASSES)
    with torch.random.fork_rng(devices=[]):  # measuring must not change what is drawn next
        return {
            view: weights.load(FactorReader(factors, classes, size=32), f"figurine_{view}")
            for view in figurines.VIEWS
        }


@cache
def _fashion_network() -> Classifier:
    with torch.random.fork_rng(devices=[]):
        return weights.load(Classifier(1, 10, size=28), "fashion_classifier")
