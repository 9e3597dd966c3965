"""Several tasks at once: do their images agree, and what did they gain?"""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from mtl_lib.metrics._paired import check_pair

__all__ = ["delta_m", "depth_parts_iou", "iou", "shuffled"]


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
    check_pair(masks, others)
    first, second = (masks > threshold).flatten(1), (others > threshold).flatten(1)
    overlap = (first & second).sum(1).double()
    union = (first | second).sum(1).double()
    return torch.where(union > 0, overlap / union.clamp(min=1), 1.0).mean().item()


def depth_parts_iou(depth: Tensor, parts: Tensor, *, wall: float = 0.975) -> float:
    """How far the depth and the parts of figurines outline the same person; 1 is full agreement.

    The overlap of "nearer than the wall" with "any part but the background", averaged over images.
    It asks whether two images belong together, not whether either is good: two blank walls agree
    perfectly. And chance alone agrees a good deal, since people stand in the middle: two real
    people, the depth of one and the parts of the other, reach about 0.8 as portraits and 0.7 as
    bodies. So show two numbers beside it, that of real pairs (1 for the drawn images) and that of
    pairs mixed up by `shuffled`.

    Args:
        depth: ``(n, 1, height, width)``; a person is nearer than 0.95, the wall behind is at 1.
        parts: ``(n, height, width)`` integers, 0 the background; of scores take ``argmax(1)``.
        wall: depth from which a pixel is wall; the default is half-way.

    Raises:
        ValueError: shapes that do not belong together, no image, or parts that are not integers.

    Example:
        >>> from mtl_lib.data import figurines
        >>> people = figurines.dataset({"body": 50}, size=16, modalities=("depth", "parts"))["body"]
        >>> depth_parts_iou(people["depth"], people["parts"])
        1.0
        >>> round(shuffled(depth_parts_iou, people["depth"], people["parts"]), 1)
        0.7
    """
    if parts.is_floating_point() or depth.ndim != 4 or depth[:, 0].shape != parts.shape:
        raise ValueError(
            f"depth has shape {tuple(depth.shape)}, parts has shape {tuple(parts.shape)} and dtype "
            f"{parts.dtype}, wanted (n, 1, height, width) and (n, height, width) integers: "
            "take scores.argmax(1) for the parts."
        )
    return iou((depth[:, 0] < wall).float(), (parts > 0).float())


def shuffled(metric: Callable[[Tensor, Tensor], float], first: Tensor, second: Tensor) -> float:
    """What a metric of agreement says about images that do not belong together.

    Every image of ``first`` meets its neighbour's image in ``second``, so no pair is a true one.
    Chance gives this much: a generator has to exceed it before its images can be called coherent.
    For the chance *within a class*, pass images of one class, and average over classes.

    Args:
        metric: of two sets of images, such as `iou` or `depth_parts_iou`.
        first: ``(n, ...)`` with n > 1.
        second: ``(n, ...)``.

    Raises:
        ValueError: fewer than two images, or unequal numbers of them.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(
            f"first has {len(first)} images and second {len(second)}, wanted as many, at least 2: "
            "with fewer no pair can be mixed up."
        )
    return metric(first, second.roll(1, dims=0))


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
    Tasks", CVPR 2019, where it is the average per-task drop.
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
