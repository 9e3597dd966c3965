import pytest
import torch

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


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize("shape", [(5, 3, 16, 8), (0, 3, 16, 16)])
def test_wrong_shapes_are_refused(metric, shape):
    with pytest.raises(ValueError, match="equal and not empty"):
        metric(torch.zeros(shape), torch.zeros(5, 3, 16, 16) if shape[0] else torch.zeros(shape))
