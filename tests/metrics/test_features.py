import pytest
import torch

from mtl_lib import metrics, weights
from mtl_lib.data import fashion, figurines
from mtl_lib.metrics import _features


def test_garments_get_features_of_unit_scale():
    features = metrics.fashion_features(fashion.load("train")["images"][:2000])
    assert features.shape == (2000, 48)
    assert features.mean().abs() < 0.1
    assert 0.5 < features.std(0).mean() < 2


def test_features_of_a_garment_do_not_depend_on_the_others():
    images = fashion.load("test")["images"][:1100]  # more than one chunk
    together = metrics.fashion_features(images)
    alone = metrics.fashion_features(images[1050:1051])
    # Another batch size adds in another order: rounding of single precision.
    torch.testing.assert_close(together[1050:1051], alone, atol=1e-4, rtol=1e-4)


def test_features_see_contrast_and_brightness():
    images = fashion.load("test")["images"][:1000]
    real = metrics.fashion_features(fashion.load("validation")["images"])
    undamaged = metrics.fid(real, metrics.fashion_features(images))
    assert metrics.fid(real, metrics.fashion_features(images / 2)) > 3 * undamaged


@pytest.mark.parametrize("view", figurines.VIEWS)
def test_factors_are_read_as_well_as_the_card_says(view):
    people = figurines.dataset({view: 1000}, split="test", seed=7)[view]
    read = metrics.figurine_factors(people["rgb"], view)
    error = (read - people["factors"]).square().mean(0) / people["factors"].var(0)
    promised = weights.card(f"figurine_{view}")["measured"]
    for name, share in zip(figurines.FACTORS, (1 - error).tolist(), strict=True):
        assert share == pytest.approx(promised[name], abs=0.02)


def test_portrait_and_body_of_one_person_agree_and_strangers_do_not():
    people = figurines.dataset({"face": 300, "body": 300}, split="test")
    face, body = (metrics.figurine_factors(people[v]["rgb"], v) for v in ("face", "body"))
    seen = [i for i, name in enumerate(figurines.FACTORS) if name != "arm_pose"]
    distance = (face - body)[:, seen].abs().mean()
    strangers = (face - body.roll(1, dims=0))[:, seen].abs().mean()
    assert distance < 0.2 * strangers


@pytest.mark.parametrize("view", figurines.VIEWS)
def test_figurines_get_features(view):
    people = figurines.dataset({view: 20})[view]["rgb"]
    assert metrics.figurine_features(people, view).shape == (20, 48)


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"wanted \(n, 1, 28, 28\)"):
        metrics.fashion_features(torch.zeros(3, 1, 32, 32))
    for read in (metrics.figurine_features, metrics.figurine_factors):
        with pytest.raises(ValueError, match=r"wanted \(n, 3, 32, 32\)"):
            read(torch.zeros(3, 3, 16, 16), "face")
        with pytest.raises(ValueError, match="view is 'profile'"):
            read(torch.zeros(3, 3, 32, 32), "profile")


@pytest.mark.parametrize("load", [_features._fashion_network, _features._figurine_networks])
def test_loading_a_network_leaves_the_random_state_alone(load):
    load.cache_clear()
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    load()
    assert torch.equal(before, torch.random.get_rng_state())
