import pytest
import torch

from mtl_lib.networks import Classifier, FactorReader


@pytest.mark.parametrize("size", [16, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_classifier_scores_classes_from_its_code(size, channels):
    model = Classifier(channels, 7, size=size, code=12).eval()
    images = torch.rand(4, channels, size, size)
    code = model.trunk(images)
    assert code.shape == (4, 12)
    torch.testing.assert_close(model.heads["labels"](code), model.scores(images))
    assert model.scores(images).shape == (4, 7)


def test_a_code_has_mean_zero_and_unit_variance_over_the_batch_that_trains_it():
    torch.manual_seed(0)
    code = Classifier(1, 10, size=16).trunk(torch.rand(200, 1, 16, 16))
    torch.testing.assert_close(code.mean(0), torch.zeros(48), atol=1e-5, rtol=0)
    # The normalisation adds 1e-5 to the variance.
    torch.testing.assert_close(code.var(0, unbiased=False), torch.ones(48), atol=2e-2, rtol=0)


def test_once_trained_an_image_does_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    model = Classifier(1, 10, size=16).double().eval()
    images = torch.rand(6, 1, 16, 16, dtype=torch.float64)
    alone = torch.cat([model.scores(image[None]) for image in images])
    torch.testing.assert_close(model.scores(images), alone, atol=1e-12, rtol=0)


def test_a_trained_classifier_sees_contrast():
    torch.manual_seed(0)
    model = Classifier(1, 10, size=16)
    images = torch.rand(50, 1, 16, 16)
    for _ in range(60):  # the running means forget their start
        model(images)
    model.eval()
    assert (model.trunk(images) - model.trunk(images / 2)).abs().mean() > 0.05


def test_a_classifier_knows_nothing_at_first():
    torch.manual_seed(0)
    batch = {"images": torch.rand(100, 1, 16, 16), "labels": torch.arange(100) % 10}
    loss = Classifier(1, 10, size=16).losses(batch)["labels"]
    assert loss.item() == pytest.approx(2.303, abs=0.3)  # the logarithm of ten classes


def test_a_reader_has_a_loss_for_factors_and_one_for_classes():
    model = FactorReader(10, 5, size=16)
    batch = {
        "rgb": torch.rand(6, 3, 16, 16),
        "factors": torch.rand(6, 10),
        "classes": torch.arange(6) % 5,
    }
    answer = model(batch["rgb"])
    assert answer["factors"].shape == (6, 10)
    assert answer["classes"].shape == (6, 5)
    losses = model.losses(batch)
    assert list(losses) == ["factors", "classes"]
    error = (answer["factors"] - batch["factors"]).square().mean()
    assert losses["factors"].item() == pytest.approx(10 * error.item(), rel=1e-5)


def test_sizes_that_do_not_fit_are_refused():
    for make in (lambda: Classifier(1, 10, size=30), lambda: FactorReader(10, 5, size=30)):
        with pytest.raises(ValueError, match="size is 30, wanted a multiple of 4"):
            make()
