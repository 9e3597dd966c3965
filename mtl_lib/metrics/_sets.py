"""One set of images against another, where no image has a partner."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = [
    "PrecisionRecall",
    "data_copying",
    "fid",
    "kid",
    "memorized",
    "precision_recall",
    "resemblance",
]


class PrecisionRecall(NamedTuple):
    """Two shares in [0, 1].

    Args:
        precision: of the fakes, those that look like a real image.
        recall: of the real images, those that look like a fake.
    """

    precision: float
    recall: float


def fid(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance between two Gaussians fitted to features; 0 is equality, lower is better.

    ``‖μ₁ - μ₂‖² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½)``. Its expectation falls with the number of images,
    also where both sets are drawn from the same distribution, so compare only values from equal
    numbers, and with that of two real sets.

    The letter I stands for the Inception network of the paper. With features of another network the
    formula is the same and the numbers are not comparable with those of papers.

    Args:
        real: features ``(n, d)``, n > 1; more than d of them, or a covariance is singular.
        fake: features ``(m, d)``, m > 1.

    Raises:
        ValueError: shapes that do not fit, fewer than two images, or a feature that is not finite.

    Reference: M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs Trained by a
    Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017, eq. 6. We take
    the trace of the root from eigenvalues of ``Σ₁^½ Σ₂ Σ₁^½``, which is symmetric and similar to
    ``Σ₁ Σ₂``, so that nothing complex appears.

    Example:
        >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
        >>> round(fid(x, x + 2), 6)  # three means moved by 2, the covariances equal
        12.0
    """
    real, fake = _checked(real=real, fake=fake)
    shift = (real.mean(0) - fake.mean(0)).square().sum()
    first, second = (features.T.cov().reshape(2 * features.shape[1:]) for features in (real, fake))
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float(shift + first.trace() + second.trace() - 2 * shared)


def kid(real: Tensor, fake: Tensor) -> float:
    """Kernel distance between two sets of features: 0 on average for equals, lower is better.

    The squared maximum mean discrepancy with the kernel ``(x·y / d + 1)³``, estimated without bias:
    pairs of an image with itself are left out. So it can be negative, and its expectation does not
    depend on the number of images, which FID's does. The whole sets are used at once; papers often
    report the mean over random subsets, which has the same expectation.

    Args:
        real: features ``(n, d)``, n > 1.
        fake: features ``(m, d)``, m > 1.

    Raises:
        ValueError: shapes that do not fit, fewer than two images, or a feature that is not finite.

    Reference: M. Bińkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", ICLR
    2018, section 4; the estimator is eq. 4 of that paper.

    Example:
        >>> real = torch.tensor([[0.0], [0.0]])
        >>> kid(real, real + 1)  # kernels 1 within real, 8 within fake, 1 across
        7.0
    """
    real, fake = _checked(real=real, fake=fake)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: Tensor) -> Tensor:
        pairs = kernel(a, a)
        return (pairs.sum() - pairs.trace()) / (len(a) * (len(a) - 1))

    return (within(real) + within(fake) - 2 * kernel(real, fake).mean()).item()


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Share of fakes among the real images, and of real images among the fakes; higher is better.

    Around every image of one set lies a ball that just reaches the k-th nearest other image of that
    set. An image of the other set counts if it is in any of the balls. Noise and blur lower both,
    missing variety lowers recall alone, and a set that is merely copied loses nothing.

    Args:
        real: features ``(n, d)``, n > k.
        fake: features ``(m, d)``, m > k. The sizes of the balls depend on the numbers of images, so
            compare only values from equal numbers.
        k: neighbours.

    Raises:
        ValueError: shapes that do not fit, not more than k images, or a feature that is not finite.

    Reference: T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved Precision and
    Recall Metric for Assessing Generative Models", NeurIPS 2019.

    Example:
        >>> real = torch.tensor([[0.0], [1.0], [2.0], [9.0], [10.0], [11.0]])
        >>> precision_recall(real, torch.tensor([[0.1], [0.9], [1.1]]), k=1)
        PrecisionRecall(precision=1.0, recall=0.3333333333333333)
    """
    real, fake = _checked(real=real, fake=fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(
            f"k is {k} with {len(real)} real and {len(fake)} fake images, wanted at least 1 and "
            "fewer than the images of either set: lower k or give more images."
        )
    return PrecisionRecall(_covered(fake, real, k), _covered(real, fake, k))


def resemblance(real: Tensor, fake: Tensor) -> dict[str, float]:
    """KID, precision and recall at once, ``{"kid": ..., "precision": ..., "recall": ...}``.

    Show beside it what other real images get in the place of the fake ones.

    Args:
        real: features ``(n, d)``, n > 3.
        fake: features ``(m, d)``, m > 3.

    Raises:
        ValueError: as `kid` and `precision_recall`.

    Example:
        >>> real = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
        >>> resemblance(real, real + 100)["precision"]
        0.0
    """
    return {"kid": kid(real, fake), **precision_recall(real, fake)._asdict()}


def data_copying(train: Tensor, held_out: Tensor, fake: Tensor) -> float:
    """Chance that a fake is nearer to the training images than a held-out real image is.

    Near 0.5: fakes keep the distance that real images keep. Towards 1: they are copies. Below 0.5:
    they are further away from the data than real images are, as blurred or noisy ones may be. Every
    image is represented by the distance to its nearest training image, and a tie counts half.

    Args:
        train: what the generator was trained on, ``(n, ...)``: images, or their features.
        held_out: real images that it was not trained on, ``(l, ...)``.
        fake: ``(m, ...)``.

    Raises:
        ValueError: shapes that do not fit, an empty set, or a number that is not finite.

    Reference: C. Meehan, K. Chaudhuri, S. Dasgupta, "A Non-Parametric Test to Detect Data-Copying
    in Generative Models", AISTATS 2020. The paper tests this chance against 0.5 by the Mann-Whitney
    statistic, and cell by cell of a partition; we report the chance itself, over all images, since
    it does not grow with their number.

    Example:
        >>> train, held_out = torch.tensor([[0.0], [4.0]]), torch.tensor([[1.0], [3.0]])
        >>> data_copying(train, held_out, train), data_copying(train, held_out, held_out)
        (1.0, 0.5)
    """
    train, held_out, fake = _checked(1, train=train, held_out=held_out, fake=fake)
    theirs, ours = (torch.cdist(x, train).min(1).values for x in (held_out, fake))
    difference = theirs - ours[:, None]
    return float(((difference > 0).double() + 0.5 * (difference == 0)).mean())


def memorized(train: Tensor, fake: Tensor, ratio: float = 1 / 3) -> float:
    """Share of fakes that are much nearer to one training image than to any other.

    Counts a fake whose nearest training image is closer than ``ratio`` times the second nearest.
    It needs no held-out images, but real images have a share of their own, so show that beside it;
    and copies of an image that the training set has twice are not counted.

    Args:
        train: what the generator was trained on, ``(n, ...)`` with n > 1: images, or features.
        fake: ``(m, ...)``.
        ratio: of the two distances.

    Raises:
        ValueError: shapes that do not fit, too few images, or a number that is not finite.

    Reference: X. Gu, C. Du, T. Pang, C. Li, M. Lin, Y. Wang, "On Memorization in Diffusion Models",
    TMLR, 2025, who take the ratio 1/3.

    Example:
        >>> memorized(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.1], [0.5], [1.0]]))
        0.6666666666666666
    """
    train, fake = _checked(1, train=train, fake=fake)
    if len(train) < 2:
        raise ValueError("train has 1 image, wanted at least 2: a ratio needs two distances.")
    nearest, second = torch.cdist(fake, train).topk(2, largest=False).values.T
    return float((nearest < ratio * second).double().mean())


def _covered(points: Tensor, by: Tensor, k: int) -> float:
    """Share of points inside the ball of any of ``by``; k + 1, for each is its own nearest."""
    radius = torch.cdist(by, by).kthvalue(k + 1, dim=1).values
    return (torch.cdist(points, by) <= radius).any(1).double().mean().item()


def _checked(fewest: int = 2, **sets: Tensor) -> list[Tensor]:
    """Check sets of points and give them as ``(n, d)`` in double precision."""
    for name, points in sets.items():
        if points.ndim < 2 or len(points) < fewest:
            raise ValueError(
                f"{name} has shape {tuple(points.shape)}, wanted at least {fewest} images, one a "
                "row: (n, features) or (n, channels, height, width)."
            )
        if not points.isfinite().all():
            raise ValueError(f"{name} has entries that are not finite: look at those images.")
    flat = [points.detach().flatten(1).double() for points in sets.values()]
    if len({points.shape[1] for points in flat}) > 1:
        shapes = ", ".join(f"{name} {tuple(points.shape)}" for name, points in sets.items())
        raise ValueError(f"the shapes are {shapes}: wanted the same for all but the first axis.")
    return flat
