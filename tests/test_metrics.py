import pytest
import torch
from torchmetrics.functional.classification import binary_jaccard_index

from mtl_lib import metrics

PAIRED = [metrics.mse, metrics.psnr, metrics.ssim, metrics.iou]


def noisy_pair(noise=0.1, n=5):
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(n, 3, 16, 16, generator=generator)
    shift = noise * torch.randn(targets.shape, generator=generator)
    return (targets + shift).clamp(0, 1), targets


def test_mse_of_a_constant_shift_is_its_square():
    targets = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    assert metrics.mse(targets + 0.5, targets) == pytest.approx(0.25)


def test_psnr_follows_its_closed_form():
    targets = torch.zeros(2, 1, 8, 8)
    shifted = torch.stack([torch.full((1, 8, 8), 0.1), torch.full((1, 8, 8), 0.01)])
    assert metrics.psnr(shifted, targets) == pytest.approx((20 + 40) / 2, abs=1e-3)


def test_ssim_is_one_for_equal_images_and_falls_with_noise():
    values = [metrics.ssim(*noisy_pair(noise)) for noise in (0.0, 0.05, 0.2)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2]


def test_iou_equals_torchmetrics_image_by_image():
    masks, others = torch.rand(2, 20, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    oracle = [
        binary_jaccard_index((a > 0.5).int(), (b > 0.5).int())
        for a, b in zip(masks, others, strict=True)
    ]
    assert metrics.iou(masks, others) == pytest.approx(torch.stack(oracle).mean().item())


def test_iou_is_one_for_equal_or_empty_masks_and_zero_for_disjoint_ones():
    left = torch.zeros(1, 1, 4, 4)
    left[..., :2] = 1
    assert metrics.iou(left, left) == 1
    assert metrics.iou(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)) == 1
    assert metrics.iou(left, 1 - left) == 0


def test_delta_m_counts_a_lower_error_and_a_higher_score_as_gains():
    single, multi = {"depth": 2.0, "parts": 0.5}, {"depth": 1.0, "parts": 0.6}
    assert metrics.delta_m(multi, single, higher_is_better=["parts"]) == pytest.approx(0.35)
    assert metrics.delta_m(single, single) == 0


@pytest.mark.parametrize(
    ("multi", "single", "higher"),
    [
        ({"a": 1.0}, {"b": 1.0}, []),
        ({}, {}, []),
        ({"a": 1.0}, {"a": 1.0}, ["b"]),
    ],
)
def test_delta_m_refuses_tasks_that_differ(multi, single, higher):
    with pytest.raises(ValueError, match="tasks differ"):
        metrics.delta_m(multi, single, higher)


def test_delta_m_refuses_a_reference_of_zero():
    with pytest.raises(ValueError, match=r"0 for \['a'\]"):
        metrics.delta_m({"a": 1.0}, {"a": 0.0})


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize("shape", [(5, 3, 16, 8), (0, 3, 16, 16)])
def test_wrong_shapes_are_refused(metric, shape):
    with pytest.raises(ValueError, match="equal and not empty"):
        metric(torch.zeros(shape), torch.zeros(5, 3, 16, 16) if shape[0] else torch.zeros(shape))
