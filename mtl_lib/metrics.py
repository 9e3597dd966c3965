"""How good is a generated image? Errors against a target, overlap of masks, gain over tasks."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

__all__ = ["delta_m", "iou", "mse", "psnr", "ssim"]


def mse(images: Tensor, targets: Tensor) -> float:
    """Mean squared error over all pixels.

    Args:
        images: ``(n, channels, height, width)``.
        targets: the same shape.

    Raises:
        ValueError: the shapes differ, or there is no image.
    """
    _check_pair(images, targets)
    return (images - targets).square().mean().item()


def psnr(images: Tensor, targets: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, averaged over images; higher is better.

    Args:
        images: ``(n, channels, height, width)`` in [0, 1].
        targets: the same shape and range.

    Raises:
        ValueError: the shapes differ, or there is no image.
    """
    _check_pair(images, targets)
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
    _check_pair(images, targets)
    value = structural_similarity_index_measure(images, targets, data_range=1.0)
    assert isinstance(value, Tensor)
    return value.item()


def iou(masks: Tensor, others: Tensor, threshold: float = 0.5) -> float:
    """Intersection over union of two sets of masks, averaged over images; 1 is equality.

    Two empty masks agree: they count as 1.

    Args:
        masks: ``(n, ...)``; a pixel above ``threshold`` is inside.
        others: the same shape.
        threshold: where inside begins.

    Raises:
        ValueError: the shapes differ, or there is no image.
    """
    _check_pair(masks, others)
    first, second = (masks > threshold).flatten(1), (others > threshold).flatten(1)
    overlap = (first & second).sum(1).double()
    union = (first | second).sum(1).double()
    return torch.where(union > 0, overlap / union.clamp(min=1), 1.0).mean().item()


def delta_m(
    multi: Mapping[str, float], single: Mapping[str, float], higher_is_better: Collection[str] = ()
) -> float:
    """Average relative gain of a multi-task model over single-task models; positive is better.

    ``(1/T) Σ (-1)^l (multi - single) / single`` with ``l = 1`` where lower is better.
    One number hides which task pays: print every task beside it.

    Args:
        multi: one metric a task of the multi-task model.
        single: the same metrics of the single-task models.
        higher_is_better: the tasks whose metric is better when higher; the others are errors.

    Raises:
        ValueError: the tasks differ, or a single-task metric is 0.

    Reference: K.-K. Maninis, I. Radosavovic, I. Kokkinos, "Attentive Single-Tasking of Multiple
    Tasks", CVPR 2019, eq. 4.
    """
    if set(multi) != set(single) or not multi or not set(higher_is_better) <= set(multi):
        raise ValueError(
            f"tasks differ: multi has {sorted(multi)}, single has {sorted(single)}, "
            f"higher_is_better has {sorted(higher_is_better)}: give the same tasks to all."
        )
    zero = [task for task, value in single.items() if value == 0]
    if zero:
        raise ValueError(f"single is 0 for {zero}: no relative gain exists, use another metric.")
    gains = [
        (multi[task] - single[task]) / single[task] * (1 if task in higher_is_better else -1)
        for task in multi
    ]
    return sum(gains) / len(gains)


def _check_pair(images: Tensor, targets: Tensor) -> None:
    if images.shape != targets.shape or images.numel() == 0:
        raise ValueError(
            f"images has shape {tuple(images.shape)}, targets {tuple(targets.shape)}: "
            "they must be equal and not empty."
        )
