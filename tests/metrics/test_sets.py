import numpy as np
import pytest
import torch
from scipy import linalg, stats
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from mtl_lib import metrics

TWO_SETS = [metrics.fid, metrics.kid, metrics.precision_recall]


def points(n, d=5, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64)


def mixed(n, d, seed):
    """Correlated features with a mean."""
    return points(n, d, seed) @ points(d, d, seed + 1) + points(1, d, seed + 2)


def test_fid_equals_torchmetrics():
    real, fake = mixed(200, 6, seed=0), mixed(150, 6, seed=10)
    oracle = _compute_fid(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov())
    assert metrics.fid(real, fake) == pytest.approx(oracle.item(), rel=1e-9)


def test_fid_equals_the_formula_with_scipys_matrix_root():
    real, fake = mixed(100, 4, seed=3), mixed(90, 4, seed=7)
    first, second = np.cov(real.T.numpy()), np.cov(fake.T.numpy())
    root = linalg.sqrtm(first @ second).real
    shift = ((real.mean(0) - fake.mean(0)) ** 2).sum().item()
    oracle = shift + np.trace(first + second - 2 * root)
    assert metrics.fid(real, fake) == pytest.approx(oracle, rel=1e-9)


def test_fid_of_gaussians_approaches_its_closed_form():
    """Independent axes: the sum of squared differences of means and of standard deviations."""
    real = points(200_000, 3)
    fake = points(200_000, 3, seed=1) * torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([1.0, 0, 0])
    closed = 1 + (2 - 1) ** 2 + (1 - 0.5) ** 2
    assert metrics.fid(real, fake) == pytest.approx(closed, abs=0.03)  # 5 standard errors


def test_fid_of_fewer_images_than_features_is_finite_and_zero_for_equals():
    real = points(10, 30)
    # Eigenvalues that should be 0 are near 1e-15; their roots add up.
    assert metrics.fid(real, real) == pytest.approx(0, abs=1e-5)
    assert np.isfinite(metrics.fid(real, points(12, 30, seed=4)))


def test_kid_equals_torchmetrics():
    real, fake = mixed(40, 6, seed=0), mixed(40, 6, seed=10)
    assert metrics.kid(real, fake) == pytest.approx(poly_mmd(real, fake).item(), rel=1e-9)


def test_kid_equals_its_definition_pair_by_pair_for_unequal_numbers():
    real, fake = mixed(6, 3, seed=0), mixed(4, 3, seed=10)

    def k(a, b):
        return float((a @ b / 3 + 1) ** 3)

    within = [
        np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
        for x in (real, fake)
    ]
    across = np.mean([k(a, b) for a in real for b in fake])
    assert metrics.kid(real, fake) == pytest.approx(sum(within) - 2 * across, rel=1e-9)


def test_kid_between_equals_is_zero_on_average_at_every_size_and_fid_is_not():
    for n in (10, 40):
        pairs = [(points(n, seed=2 * s), points(n, seed=2 * s + 1)) for s in range(300)]
        kids = np.array([metrics.kid(*pair) for pair in pairs])
        fids = np.array([metrics.fid(*pair) for pair in pairs])
        assert abs(kids.mean()) < 4 * stats.sem(kids)
        assert fids.mean() > 20 * stats.sem(fids)


def test_precision_and_recall_equal_a_search_pair_by_pair():
    real, fake = points(40, 3), points(30, 3, seed=5, scale=1.5)

    def share(inside, of, k):
        found = 0
        for x in inside:
            for i, center in enumerate(of):
                others = sorted(float((center - y).norm()) for j, y in enumerate(of) if j != i)
                if (x - center).norm() <= others[k - 1]:
                    found += 1
                    break
        return found / len(inside)

    for k in (1, 3):
        expected = (share(fake, real, k), share(real, fake, k))
        assert metrics.precision_recall(real, fake, k) == pytest.approx(expected)


def test_precision_sees_fakes_that_are_like_nothing_and_recall_sees_what_is_missing():
    left, right = points(50, 2), points(50, 2, seed=1) + 100
    both = torch.cat([left, right])
    half = metrics.precision_recall(both, left + 1e-9)
    assert half.precision == 1
    assert half.recall == pytest.approx(0.5)
    strange = metrics.precision_recall(left + 1e-9, both)
    assert strange.precision == pytest.approx(0.5)
    assert strange.recall == 1


def test_equal_sets_have_full_precision_and_recall_and_far_ones_none():
    real = points(60)
    assert metrics.precision_recall(real, real) == (1, 1)
    assert metrics.precision_recall(real, real + 1000) == (0, 0)


@pytest.mark.parametrize("k", [0, 5, 9])
def test_more_neighbours_than_images_are_refused(k):
    with pytest.raises(ValueError, match=f"k is {k}"):
        metrics.precision_recall(points(20), points(5), k)


def test_data_copying_equals_the_mann_whitney_statistic():
    train, held_out, fake = (points(n, 3, seed=n) for n in (50, 40, 30))
    far, near = (torch.cdist(x, train).min(1).values.numpy() for x in (held_out, fake))
    oracle = stats.mannwhitneyu(far, near).statistic / (len(far) * len(near))
    assert metrics.data_copying(train, held_out, fake) == pytest.approx(oracle)


def test_data_copying_is_one_for_copies_a_half_for_real_images_and_zero_for_far_ones():
    train, held_out = points(50), points(40, seed=1)
    assert metrics.data_copying(train, held_out, train) == 1
    assert metrics.data_copying(train, held_out, held_out) == 0.5
    assert metrics.data_copying(train, held_out, held_out + 1000) == 0


def test_memorised_counts_near_copies_and_nothing_in_between():
    train = torch.tensor([[0.0, 0.0], [4.0, 0.0], [100.0, 0.0]])
    on_the_line = torch.tensor([[0.0, 0.0], [0.9, 0.0], [1.1, 0.0], [2.0, 0.0], [99.0, 0.0]])
    assert metrics.memorized(train, on_the_line) == pytest.approx(3 / 5)
    assert metrics.memorized(train, on_the_line, ratio=0.5) == pytest.approx(4 / 5)


def test_memorisation_is_measured_on_images_as_on_flat_vectors():
    train, fake = points(20, 16).view(20, 1, 4, 4), points(9, 16, seed=3).view(9, 1, 4, 4)
    flat = train.flatten(1), fake.flatten(1)
    assert metrics.memorized(train, fake, ratio=0.9) == metrics.memorized(*flat, ratio=0.9) > 0
    assert metrics.data_copying(train, fake, fake) == metrics.data_copying(*flat, flat[1])


def test_single_precision_is_enough_for_the_features():
    real, fake = mixed(200, 6, seed=0), mixed(150, 6, seed=10)
    for metric in (metrics.fid, metrics.kid):
        rounded = metric(real.float(), fake.float())  # inputs are rounded at 6e-8
        assert rounded == pytest.approx(metric(real, fake), rel=1e-5)


@pytest.mark.parametrize("metric", TWO_SETS)
def test_sets_that_cannot_be_compared_are_refused(metric):
    with pytest.raises(ValueError, match=r"fake has shape \(1, 5\).*at least 2"):
        metric(points(20), points(1))
    with pytest.raises(ValueError, match=r"real \(20, 5\), fake \(20, 4\)"):
        metric(points(20), points(20, 4))
    with pytest.raises(ValueError, match="fake has entries that are not finite"):
        metric(points(20), points(20) / 0)
    with pytest.raises(ValueError, match="real has shape"):
        metric(torch.zeros(20), points(20))


def test_a_ratio_of_distances_needs_two_training_images():
    with pytest.raises(ValueError, match="at least 2"):
        metrics.memorized(points(1), points(5))


def test_resemblance_is_kid_precision_and_recall():
    torch.manual_seed(0)
    real, fake = torch.randn(2, 50, 4)
    precision, recall = metrics.precision_recall(real, fake)
    wanted = {"kid": metrics.kid(real, fake), "precision": precision, "recall": recall}
    assert metrics.resemblance(real, fake) == wanted
