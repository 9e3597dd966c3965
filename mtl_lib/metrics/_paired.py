"""Images against the images that were asked for."""

from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

__all__ = ["check_pair", "mse", "psnr", "ssim"]


def mse(images: Tensor, targets: Tensor) -> float:
    """Mean squared error over all pixels.

    Args:
        images: ``(n, channels, height, width)``.
        targets: the same shape.

    Raises:
        ValueError: the shapes differ, or there is no image.
    """
    check_pair(images, targets)
    return (images - targets).square().mean().item()


def psnr(images: Tensor, targets: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, averaged over images; higher is better.

    Args:
        images: ``(n, channels, height, width)`` in [0, 1].
        targets: the same shape and range.

    Raises:
        ValueError: the shapes differ, or there is no image.
    """
    check_pair(images, targets)
    value = peak_signal_noise_ratio(
        images, targets, data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean"
    )
    return float(value)


def ssim(images: Tensor, targets: Tensor) -> float:
    """Structural similarity index, averaged over images; 1 is equality, higher is better.

    Args:
        images: ``(n, channels, height, width)`` in [0, 1], at least 11 pixels high and wide.
        targets: the same shape and range.

    Raises:
        ValueError: the shapes differ, or there is no image.

    Reference: Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from
    error visibility to structural similarity", IEEE Trans. Image Processing 13(4), 2004, eq. 13.
    """
    check_pair(images, targets)
    value = structural_similarity_index_measure(images, targets, data_range=1.0)
    assert isinstance(value, Tensor)
    return value.item()


def check_pair(images: Tensor, targets: Tensor) -> None:
    """Refuse shapes that differ or hold no image."""
    if images.shape != targets.shape or images.numel() == 0:
        raise ValueError(
            f"images has shape {tuple(images.shape)}, targets {tuple(targets.shape)}: "
            "they must be equal and not empty."
        )
