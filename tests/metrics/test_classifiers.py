import pytest
import torch

from mtl_lib import metrics
from mtl_lib.data import fashion

STEPS = 40


@pytest.fixture(scope="module")
def real():
    return {name: values[:500] for name, values in fashion.load("validation").items()}


@pytest.fixture(scope="module")
def fake():
    """As good as a generator gets: other real garments."""
    return {name: values[500:] for name, values in fashion.load("validation").items()}


def without_half_of_the_classes(data):
    return {name: values[data["labels"] < 5] for name, values in data.items()}


def with_wrong_labels(data):
    return {**data, "labels": (data["labels"] + 1) % 10}


def test_a_classifier_learns_real_garments_in_a_few_steps(real, fake):
    assert metrics.accuracy(metrics.train_classifier(real, steps=STEPS), fake) > 0.6


def test_gan_train_sees_missing_classes_and_gan_test_does_not(real, fake):
    missing = without_half_of_the_classes(fake)
    assert metrics.gan_train(real, missing, steps=STEPS) < 0.55  # half of the classes at most
    assert metrics.gan_test(real, missing, steps=STEPS) > 0.6


@pytest.mark.parametrize("measure", [metrics.gan_train, metrics.gan_test])
def test_both_see_wrong_labels(measure, real, fake):
    assert measure(real, with_wrong_labels(fake), steps=STEPS) < 0.2


def test_gan_train_and_gan_test_exchange_the_roles(real, fake):
    assert metrics.gan_train(real, fake, steps=STEPS) == metrics.gan_test(fake, real, steps=STEPS)


def test_accuracy_is_the_share_of_right_answers(real):
    class Always:
        def scores(self, images):
            return torch.eye(10)[torch.full((len(images),), 3)]

    expected = (real["labels"] == 3).double().mean().item()
    assert metrics.accuracy(Always(), real) == pytest.approx(expected)


def test_training_repeats_with_its_seed_and_leaves_the_random_state_alone(real):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    models = [metrics.train_classifier(real, steps=3, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (model.scores(real["images"][:5]) for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("measure", [metrics.gan_train, metrics.gan_test])
def test_labels_that_do_not_fit_the_images_are_refused(measure, real):
    for labels in (real["labels"][:-1], real["labels"].float()):
        with pytest.raises(ValueError, match="labels"):
            measure({**real, "labels": labels}, {**real, "labels": labels}, steps=STEPS)
