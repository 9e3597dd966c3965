"""Networks that read images: what is in the picture, and by which factors was it drawn?"""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from mtl_lib.networks._blocks import _check_multiple
from mtl_lib.networks._sharing import HardSharing

__all__ = ["Classifier", "FactorReader"]


class Classifier(HardSharing):
    """Small convolutional classifier: ``(n, channels, size, size) -> {"labels": (n, classes)}``.

    Its trunk makes the code on which sets of images are compared, ``model.trunk(images)``. Once
    trained, every number of the code has mean 0 and variance near 1 over the training images.

    Normalisation is by batch (S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015), which is
    fixed once the network is trained. Normalisation within each image, as in `Encoder`, would make
    it blind to brightness and contrast, which an image should be judged by.

    Args:
        channels: of the images.
        classes: how many.
        size: height and width of the images, a multiple of 4.
        code: numbers before the last layer.
        width: channels after the first convolution, a multiple of 8.
        dropout: share of the code that training hides from the last layer.

    Raises:
        ValueError: a size or width that is not such a multiple.

    Example:
        >>> Classifier(1, 10, size=28).scores(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        size: int,
        code: int = 48,
        width: int = 16,
        dropout: float = 0.0,
    ) -> None:
        trunk = _trunk(channels, code, size, width)
        super().__init__(trunk, {"labels": _read_out(code, classes, dropout)})

    def scores(self, images: Tensor) -> Tensor:
        """Logits, ``(n, classes)``."""
        scores: Tensor = self(images)["labels"]
        return scores

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``{"labels": cross-entropy}`` for a batch of ``"images"`` and ``"labels"``."""
        return {"labels": functional.cross_entropy(self.scores(batch["images"]), batch["labels"])}


class FactorReader(HardSharing):
    """Read a figurine's factors and headwear off its picture, two tasks with one trunk.

    ``(n, 3, size, size) -> {"factors": (n, factors), "classes": (n, classes)}``, the factors on
    their scale from 0 to 1, though the network may answer a little outside; the classes as logits.

    Args:
        factors: how many.
        classes: how many.
        size: height and width of the images, a multiple of 4.
        code: numbers before the heads.
        width: channels after the first convolution, a multiple of 8.

    Raises:
        ValueError: a size or width that is not such a multiple.

    Example:
        >>> FactorReader(10, 5, size=32)(torch.zeros(2, 3, 32, 32))["factors"].shape
        torch.Size([2, 10])
    """

    def __init__(
        self, factors: int, classes: int, *, size: int, code: int = 48, width: int = 16
    ) -> None:
        heads = {"factors": _read_out(code, factors), "classes": _read_out(code, classes)}
        super().__init__(_trunk(3, code, size, width), heads)

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch of ``"rgb"``, ``"factors"`` and ``"classes"``.

        ``{"factors": 10 times the mean squared error, "classes": cross-entropy}``: the factor 10
        brings both to the same order of magnitude.
        """
        answer = self(batch["rgb"])
        return {
            "factors": 10 * functional.mse_loss(answer["factors"], batch["factors"]),
            "classes": functional.cross_entropy(answer["classes"], batch["classes"]),
        }


def _trunk(channels: int, code: int, size: int, width: int) -> nn.Sequential:
    """Like `Encoder`, but normalised by batch: see `Classifier`."""
    _check_multiple("size", size, 4)
    return nn.Sequential(
        _block(channels, width, stride=2),
        _block(width, 2 * width, stride=2),
        _block(2 * width, 2 * width),
        nn.Flatten(),
        nn.Linear(2 * width * (size // 4) ** 2, code),
        nn.BatchNorm1d(code, affine=False),
    )


def _block(channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.SiLU())


def _read_out(code: int, numbers: int, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Dropout(dropout), nn.Linear(code, numbers))
