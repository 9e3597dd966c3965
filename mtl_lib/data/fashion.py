"""Real clothes: Fashion-MNIST, with the silhouette and the edges of every garment.

The 10 000-image test file of Fashion-MNIST travels inside the package, so every chapter runs
offline. It is split once into training, validation and test images; the full 70 000 images come
through torchvision when asked for.

Reference: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms", arXiv:1708.07747, 2017.
"""

import gzip
import hashlib
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

__all__ = [
    "CLASSES",
    "SPLITS",
    "CorruptDataError",
    "edges",
    "load",
    "load_full",
    "modalities",
    "silhouette",
]

CLASSES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

SPLITS = {"train": 7000, "validation": 1000, "test": 2000}

_FOLDER = Path(__file__).parent / "assets" / "fashion_mnist"
_SPLIT_SEED = 2017  # the year of the data set; changing it changes every stored result

# SHA-256 of the *decompressed* files: it does not depend on who compressed them.
_FILES = {
    "images": (
        "t10k-images-idx3-ubyte.gz",
        16,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "labels": (
        "t10k-labels-idx1-ubyte.gz",
        8,
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


_BORDER = ((0, 0), (0, 0), (1, 1), (1, 1))  # closing needs room, or it erodes the frame


class CorruptDataError(RuntimeError):
    """A data file that travels with the package is missing, truncated or altered."""


def load(split: str = "train") -> dict[str, Tensor]:
    """Load one split of the 10 000 images that travel with the package.

    The split is a fixed random permutation, the same on every machine: 7 000 images to train on,
    1 000 to choose settings with, 2 000 to report on.

    Args:
        split: ``"train"``, ``"validation"`` or ``"test"``.

    Returns:
        ``{"images": (n, 1, 28, 28) float32 in [0, 1], "labels": (n,) int64}``.

    Raises:
        ValueError: the split is unknown.
        CorruptDataError: a file is missing, truncated or altered.

    Example:
        >>> load("validation")["images"].shape
        torch.Size([1000, 1, 28, 28])
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, wanted one of {', '.join(SPLITS)}: choose one.")
    images, labels = _all_images()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    names = list(SPLITS)
    start = sum(SPLITS[name] for name in names[: names.index(split)])
    chosen = torch.from_numpy(order[start : start + SPLITS[split]])
    return {"images": images[chosen], "labels": labels[chosen]}


def load_full(root: str | Path, *, train: bool = True, download: bool = False) -> dict[str, Tensor]:
    """Load the full Fashion-MNIST (60 000 training or 10 000 test images) through torchvision.

    Beware: ``load`` draws all its splits from the 10 000 *test* images of the full set.
    A model trained on ``load("train")`` has seen images of ``load_full(root, train=False)``.

    Args:
        root: folder that holds, or will hold, torchvision's copy.
        train: the 60 000 training images, or else the 10 000 test images.
        download: let torchvision fetch the 30 MB first.

    Returns:
        The same keys and ranges as :func:`load`.

    Raises:
        FileNotFoundError: the files are not under ``root`` and ``download`` is false.
    """
    from torchvision.datasets import FashionMNIST

    try:
        data = FashionMNIST(str(root), train=train, download=download)
    except RuntimeError as error:
        raise FileNotFoundError(
            f"no Fashion-MNIST under root={str(root)!r} ({error}). "
            "Pass download=True to fetch it once (30 MB), or use load(), which needs no file."
        ) from error
    return {"images": data.data[:, None].float() / 255, "labels": data.targets.long()}


def modalities(images: Tensor) -> dict[str, Tensor]:
    """Give three pictures of every garment: itself, its silhouette and its edges.

    Args:
        images: garments, ``(n, 1, h, w)`` in [0, 1].

    Returns:
        ``{"garment": images, "silhouette": 0 or 1, "edges": [0, 1]}``, each ``(n, 1, h, w)``.
    """
    return {"garment": images, "silhouette": silhouette(images), "edges": edges(images)}


def silhouette(images: Tensor, threshold: float = 0.05) -> Tensor:
    """Mark the pixels that belong to the garment: brighter than the background, small gaps closed.

    Args:
        images: garments on a black background, ``(n, 1, h, w)`` in [0, 1].
        threshold: brightness from which a pixel is garment, in [0, 1].

    Returns:
        1 inside, 0 outside, ``(n, 1, h, w)``, the same floating type and device as ``images``.

    Raises:
        ValueError: wrong shape.
    """
    _check_images(images)
    cross = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.bool)
    bright = (images > threshold).cpu().numpy()
    closed = ndimage.binary_closing(np.pad(bright, _BORDER), cross[None, None].numpy())
    return torch.from_numpy(closed[:, :, 1:-1, 1:-1]).to(images)


def edges(images: Tensor) -> Tensor:
    """Draw the outlines and seams of a garment: the Sobel gradient magnitude.

    Args:
        images: garments, ``(n, 1, h, w)`` in [0, 1].

    Returns:
        ``(n, 1, h, w)`` in [0, 1]; 1 is a gradient of half the brightness range a pixel, or more.

    Raises:
        ValueError: wrong shape.
    """
    _check_images(images)
    ramp = torch.tensor([-1.0, 0.0, 1.0])
    smooth = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.stack([smooth[:, None] * ramp, ramp[:, None] * smooth])[:, None].to(images)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    gradient = torch.nn.functional.conv2d(padded, kernel)
    magnitude: Tensor = gradient.norm(dim=1, keepdim=True)
    return magnitude.clamp(max=1)


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(
            f"images has shape {tuple(images.shape)}, wanted (n, 1, height, width): "
            "add the missing axes with images[None] or images[:, None]."
        )


@cache
def _all_images() -> tuple[Tensor, Tensor]:
    images = _read("images").reshape(-1, 1, 28, 28)
    labels = _read("labels")
    return torch.from_numpy(images).float() / 255, torch.from_numpy(labels).long()


def _read(kind: str) -> np.ndarray:
    """Read one idx file, verified by checksum, without its header: flat uint8."""
    name, header, checksum = _FILES[kind]
    path = _FOLDER / name
    cure = "Restore it: check the file out again, or reinstall mtl_lib."
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise CorruptDataError(f"{path} is missing. {cure}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptDataError(f"{path} is truncated or altered ({error}). {cure}") from error
    seen = hashlib.sha256(raw).hexdigest()
    if seen != checksum:
        raise CorruptDataError(
            f"{path} is altered: its content has SHA-256 {seen}, wanted {checksum}. {cure}"
        )
    return np.frombuffer(raw, np.uint8, offset=header).copy()
