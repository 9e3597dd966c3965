"""Sampling persons: factors, headwear, and the two knobs of relatedness.

NumPy and SciPy in double precision: their streams and special functions treat each element alike,
so that a person does not depend on how many others are drawn.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from mtl_lib.data._figurines_person import CLASSES, FACTORS

__all__ = [
    "check_count",
    "check_factors",
    "check_fraction",
    "class_probabilities",
    "classes_of_views",
    "factors_of_views",
    "rotate_factors",
    "rotation",
    "sample_classes",
    "sample_factors",
]

_FACTORS, _CLASSES = 0, 1  # what a random stream is for
_PLANES_SEED = 179  # of the planes of rotation; this one mixes well, no entry is above 0.58
_FARTHEST = 5.0  # standard deviations; beyond, the uniform factor is 0 or 1 in single precision


def sample_factors(n: int, *, seed: int, rho: float = 1.0) -> dict[str, Tensor]:
    """Draw the factors of n persons for both views.

    A Gaussian copula joins the views: with a, b independent standard normal scores, the portrait's
    factors are Phi(a), the body's Phi(rho a + sqrt(1 - rho^2) b). Every factor is uniform on [0, 1]
    for every rho; rho is the correlation of the normal scores.

    Args:
        n: Number of persons. Person i does not depend on it.
        seed: A non-negative integer.
        rho: In [0, 1]: 1 is the same person in both views, 0 two strangers.

    Returns:
        For each of `VIEWS`, (n, len(FACTORS)) float32 in [0, 1].

    Raises:
        ValueError: If n or seed is negative or rho outside of [0, 1].

    Example:
        >>> factors = sample_factors(4, seed=0)
        >>> factors["face"].shape, bool((factors["face"] == factors["body"]).all())
        (torch.Size([4, 10]), True)
    """
    return factors_of_views(n, rho, seed)


def factors_of_views(n: int, rho: float, seed: int, stream: int = 0) -> dict[str, Tensor]:
    """`sample_factors` from one of the independent streams of a seed."""
    face, body = _copula(n, len(FACTORS), rho, (seed, _FACTORS, stream))
    return {"face": _uniform(face), "body": _uniform(body)}


def _copula(
    n: int, width: int, rho: float, entropy: tuple[int, int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two (n, width) tables of normal scores, with correlation rho between them."""
    check_count("n", n)
    check_count("seed", entropy[0])
    check_fraction("rho", rho)
    # A person is one row of the stream, so that asking for more rows keeps the first ones.
    scores = np.random.default_rng(entropy).standard_normal((n, 2, width))
    face, other = scores[:, 0], scores[:, 1]
    return face, rho * face + np.sqrt(1.0 - rho * rho) * other


def _uniform(scores: NDArray[np.float64]) -> Tensor:
    # Phi of SciPy works element by element: unlike a vectorised one, it cannot depend on n.
    return torch.from_numpy(special.ndtr(scores).astype(np.float32))


@cache
def _quarter_turn() -> NDArray[np.float64]:
    """A = Q blockdiag(J, ...) Q^T with J = [[0, -1], [1, 0]]: skew, orthogonal, A A = -I."""
    size = len(FACTORS)
    random = np.random.default_rng(_PLANES_SEED).standard_normal((size, size))
    basis: list[NDArray[np.float64]] = []
    for vector in random:  # Gram-Schmidt, twice for accuracy: no library's sign convention
        for _ in range(2):
            for other in basis:
                vector = vector - (vector @ other) * other
        basis.append(vector / np.sqrt(vector @ vector))
    turn = np.zeros((size, size))
    for first, second in zip(basis[0::2], basis[1::2], strict=True):
        turn += np.outer(second, first) - np.outer(first, second)
    return turn


def rotation(phi: float) -> Tensor:
    """Return the orthogonal matrix R(phi) that `rotate_factors` applies to normal scores.

    R(phi) = cos(phi pi/2) I + sin(phi pi/2) A, the exponential of (phi pi/2) A, where A turns by a
    right angle in each of five fixed random planes that mix all factors. At phi = 1 the diagonal is
    zero: every factor has become a mixture of the nine others. It is neither -I nor a signed
    permutation, which a network would undo at no cost.

    Args:
        phi: In [0, 1], the angle in units of a right angle.

    Returns:
        (F, F) float64, F = len(FACTORS).

    Raises:
        ValueError: If phi is outside of [0, 1].

    Example:
        >>> bool((rotation(0.0) == torch.eye(10)).all())
        True
    """
    check_fraction("phi", phi)
    angle = 0.5 * np.pi * phi
    return torch.from_numpy(np.cos(angle) * np.eye(len(FACTORS)) + np.sin(angle) * _quarter_turn())


def rotate_factors(factors: Tensor, phi: float) -> Tensor:
    """Turn factors so that they mean something else: the knob of structural relatedness.

    The factors are mapped to normal scores, multiplied by `rotation(phi)` and mapped back. As a
    rotation keeps independent normal scores independent and normal, factors that were uniform and
    independent still are, for every phi.

    Args:
        factors: (n, F) in [0, 1], on any device; the work is done on the processor in double
            precision.
        phi: In [0, 1]; at 0 the result equals `factors` bit for bit. Otherwise normal scores
            beyond 5, factors within 3e-7 of 0 or 1, are first drawn in to 5.

    Returns:
        (n, F) in [0, 1], of the dtype and on the device of `factors`.

    Raises:
        ValueError: If phi is outside of [0, 1] or `factors` are not what `draw` takes.

    Example:
        >>> twice = rotate_factors(rotate_factors(torch.full((1, 10), 0.25), 1.0), 1.0)
        >>> round(twice[0, 0].item(), 3)  # two right angles: u becomes 1 - u
        0.75
    """
    matrix = rotation(phi).numpy()
    check_factors(factors)
    if phi == 0:
        return factors.clone()
    scores = special.ndtri(factors.detach().cpu().double().numpy()).clip(-_FARTHEST, _FARTHEST)
    turned = np.zeros_like(scores)
    # Column by column: a matrix product may round differently for another number of rows.
    for column, row in zip(scores.T, matrix.T, strict=True):
        turned += column[:, None] * row
    return torch.from_numpy(special.ndtr(turned)).to(factors)


def class_probabilities(imbalance: float = 1.0) -> Tensor:
    """Return the long-tailed probabilities of `CLASSES`, (C,) float64, falling geometrically.

    Args:
        imbalance: How many times the first class is as frequent as the last, at least 1 (balanced).

    Raises:
        ValueError: If imbalance is below 1 or not finite.

    Example:
        >>> [round(p, 2) for p in class_probabilities(16.0).tolist()]
        [0.52, 0.26, 0.13, 0.06, 0.03]
    """
    if not (np.isfinite(imbalance) and imbalance >= 1):
        raise ValueError(
            f"imbalance = {imbalance}: wanted a finite number of at least 1, the frequency of the "
            "most frequent class over that of the rarest. Pass 1.0 for balanced classes."
        )
    steps = torch.arange(len(CLASSES), dtype=torch.float64) / (len(CLASSES) - 1)
    weights = float(imbalance) ** -steps
    return weights / weights.sum()


def sample_classes(n: int, *, seed: int, imbalance: float = 1.0) -> Tensor:
    """Draw the headwear of n persons, independent of their factors.

    Args:
        n: Number of persons. Person i does not depend on it.
        seed: A non-negative integer.
        imbalance: See `class_probabilities`.

    Returns:
        (n,) int64, indices into `CLASSES`.

    Raises:
        ValueError: If n or seed is negative or imbalance below 1.

    Example:
        >>> sample_classes(3, seed=0).shape
        torch.Size([3])
    """
    return classes_of_views(n, 1.0, imbalance, seed)["face"]


def classes_of_views(
    n: int, rho: float, imbalance: float, seed: int, stream: int = 0
) -> dict[str, Tensor]:
    """For each view (n,) classes, joined by the same copula as the factors."""
    edges = class_probabilities(imbalance).cumsum(0)[:-1].numpy()
    face, body = _copula(n, 1, rho, (seed, _CLASSES, stream))
    return {
        view: torch.from_numpy(np.searchsorted(edges, special.ndtr(scores[:, 0]), side="right"))
        for view, scores in (("face", face), ("body", body))
    }


def check_count(name: str, value: int) -> None:
    if value < 0:
        raise ValueError(f"{name} = {value} is negative. Pass 0 or a positive integer.")


def check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} = {value}: wanted a number from 0 to 1.")


def check_factors(factors: Tensor) -> None:
    wanted = len(FACTORS)
    if factors.ndim != 2 or factors.shape[1] != wanted:
        raise ValueError(
            f"factors have shape {tuple(factors.shape)}: wanted (n, {wanted}), one column for each "
            "of FACTORS. Use factors[None] for a single person."
        )
    if not factors.is_floating_point():
        raise ValueError(
            f"factors have dtype {factors.dtype}: wanted a floating one. Call factors.float()."
        )
    # Not (min < 0 or max > 1): that would let NaN pass.
    if len(factors) and not bool(((factors >= 0) & (factors <= 1)).all()):
        low, high = factors.min().item(), factors.max().item()
        raise ValueError(
            f"factors go from {low:.4g} to {high:.4g}: wanted numbers from 0 to 1, without NaN. "
            "Clamp them, or map scores to (0, 1) with torch.special.ndtr."
        )
