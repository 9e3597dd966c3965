"""Tests of the figurines: what is promised about pictures, factors and data sets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from torch import Tensor

from mtl_lib.data import figurines

SIZES = (16, 33, 64, 128)
views = pytest.mark.parametrize("view", figurines.VIEWS)


def people(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Independent factors, with the extremes among them, and every class."""
    factors = figurines.sample_factors(n, seed=seed)["face"]
    factors[0], factors[1] = 0.0, 1.0
    return factors, torch.arange(n) % len(figurines.CLASSES)


def scores(factors: Tensor) -> np.ndarray:
    """Normal scores of uniform factors."""
    return special.ndtri(factors.double().numpy().clip(1e-9, 1 - 1e-9))


# Pictures


@views
@pytest.mark.parametrize("size", SIZES)
def test_depth_is_nearer_than_the_background_exactly_where_there_is_a_part(
    view: str, size: int
) -> None:
    factors, classes = people(40)
    images = figurines.draw(factors, view, size=size, classes=classes)
    assert torch.equal(images["depth"][:, 0] < 1, images["parts"] > 0)
    assert images["depth"].min() > 0


@views
@pytest.mark.parametrize("size", SIZES)
def test_normals_are_unit_vectors_and_face_the_viewer_on_the_background(
    view: str, size: int
) -> None:
    factors, classes = people(20)
    images = figurines.draw(factors, view, size=size, classes=classes)
    normals = images["normals"]
    # Three squares, a root and a division in single precision: a few units of 1.2e-7.
    assert torch.allclose(normals.norm(dim=1), torch.ones(()), atol=1e-6)
    assert (normals[:, 2] > 0).all()
    background = (images["parts"] == 0)[:, None].expand_as(normals)
    facing = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand_as(normals)
    assert torch.equal(normals[background], facing[background])


@views
def test_normals_are_those_of_the_depth(view: str) -> None:
    size = 128
    factors, classes = people(40)
    images = figurines.draw(factors, view, size=size, classes=classes)
    depth = images["depth"][:, 0]
    dx = (depth[:, 1:-1, 2:] - depth[:, 1:-1, :-2]) * size / 4  # two pixels are 4 / size wide
    dy = (depth[:, 2:, 1:-1] - depth[:, :-2, 1:-1]) * size / 4
    expected = torch.nn.functional.normalize(torch.stack([dx, dy, torch.ones_like(dx)], 1), dim=1)
    cosine = (expected * images["normals"][:, :, 1:-1, 1:-1]).sum(1)
    # Differences make sense where the pixel and its four neighbours belong to one shape.
    smooth = (images["edges"][:, 0] == 0) & (images["parts"] > 0)
    inner = smooth[:, 1:-1, 1:-1] & smooth[:, 1:-1, 2:] & smooth[:, 1:-1, :-2]
    inner &= smooth[:, 2:, 1:-1] & smooth[:, :-2, 1:-1]
    assert inner.sum() > 40_000
    # Central differences are exact on a paraboloid. They err where its curvature jumps (the round
    # end of a limb) and on quartic shapes: by at most a curvature of 20 over half
    # a pixel, 8 degrees.
    angles = cosine[inner].clamp(-1, 1).acos().rad2deg()
    assert angles.max() < 9
    assert angles.mean() < 0.3


@views
def test_every_part_is_visible_in_the_view_that_has_it(view: str) -> None:
    factors, classes = people(60)
    seen = set(figurines.draw(factors, view, classes=classes)["parts"].unique().tolist())
    missing = {"legs", "shoes"} if view == "face" else set()
    assert {figurines.PARTS[i] for i in seen} == set(figurines.PARTS) - missing


@views
def test_headwear_is_labelled_exactly_for_those_who_wear_it(view: str) -> None:
    factors, classes = people(60)
    parts = figurines.draw(factors, view, classes=classes, modalities=("parts",))["parts"]
    worn = (parts == figurines.PARTS.index("headwear")).flatten(1).any(1)
    assert torch.equal(worn, classes > 0)


@views
def test_styles_change_the_colours_and_nothing_else(view: str) -> None:
    factors, classes = people(20)
    pictures = {
        style: figurines.draw(factors, view, style=style, classes=classes)
        for style in figurines.STYLES
    }
    shaded = pictures.pop("shaded")
    for picture in pictures.values():
        assert (picture["rgb"] - shaded["rgb"]).abs().mean() > 0.02
        for name in ("depth", "normals", "parts", "edges"):
            assert torch.equal(picture[name], shaded[name])


@views
def test_the_negative_is_the_inverted_shaded_picture(view: str) -> None:
    factors, classes = people(20)
    shaded, negative = (
        figurines.draw(factors, view, style=style, classes=classes, modalities=("rgb",))["rgb"]
        for style in ("shaded", "negative")
    )
    assert torch.equal(negative, 1 - shaded)


@views
def test_edges_are_where_parts_meet_and_never_outside_of_the_person(view: str) -> None:
    factors, classes = people(20)
    images = figurines.draw(factors, view, size=64, classes=classes)
    edges, parts = images["edges"][:, 0], images["parts"]
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    assert not edges[parts == 0].any()
    borders = parts[:, :, 1:] != parts[:, :, :-1]
    assert (edges[:, :, 1:] + edges[:, :, :-1])[borders].min() == 1  # one pixel of the two: thin


@views
@pytest.mark.parametrize("style", figurines.STYLES)
def test_pictures_have_the_promised_shapes_types_and_ranges(view: str, style: str) -> None:
    factors, classes = people(6)
    images = figurines.draw(factors, view, size=17, style=style, classes=classes)
    channels = {"rgb": (3,), "depth": (1,), "normals": (3,), "parts": (), "edges": (1,)}
    assert {name: tuple(image.shape) for name, image in images.items()} == {
        name: (6, *c, 17, 17) for name, c in channels.items()
    }
    assert images.pop("parts").dtype == torch.int64
    for name, image in images.items():
        assert image.dtype == torch.float32
        assert image.max() <= 1 + 1e-6 * (name == "normals")  # normals: rounding of the length
        assert image.min() >= (-1 if name == "normals" else 0)


@settings(max_examples=20, deadline=None)
@given(
    first=st.integers(0, 29),
    count=st.integers(1, 30),
    chunk=st.integers(1, 40),
    view=st.sampled_from(figurines.VIEWS),
    style=st.sampled_from(figurines.STYLES),
    size=st.sampled_from((16, 32, 45)),
)
def test_a_picture_does_not_depend_on_the_batch_it_is_drawn_in(
    first: int, count: int, chunk: int, view: str, style: str, size: int
) -> None:
    factors, classes = people(30)
    some = slice(first, first + count)
    whole = figurines.draw(factors, view, size=size, style=style, classes=classes)
    alone = figurines.draw(
        factors[some], view, size=size, style=style, classes=classes[some], chunk=chunk
    )
    for name, image in whole.items():
        assert torch.equal(alone[name], image[some]), name


@views
@pytest.mark.parametrize("modality", figurines.MODALITIES)
def test_a_modality_does_not_depend_on_which_others_are_drawn(view: str, modality: str) -> None:
    factors, classes = people(10)
    alone = figurines.draw(factors, view, classes=classes, modalities=(modality,))
    assert set(alone) == {modality}
    assert torch.equal(alone[modality], figurines.draw(factors, view, classes=classes)[modality])


@pytest.mark.parametrize("factor", figurines.FACTORS)
def test_every_factor_changes_the_picture(factor: str) -> None:
    low = torch.full((1, len(figurines.FACTORS)), 0.4)
    high = low.clone()
    low[0, figurines.FACTORS.index(factor)], high[0, figurines.FACTORS.index(factor)] = 0.1, 0.9
    # A portrait does not show the arms.
    for view in figurines.VIEWS if factor != "arm_pose" else ("body",):
        a, b = (figurines.draw(f, view, modalities=("rgb",))["rgb"] for f in (low, high))
        assert ((a - b).abs() > 0.05).float().mean() > 0.01, view


def test_age_shows_in_the_proportions() -> None:
    ages = torch.full((2, len(figurines.FACTORS)), 0.5)
    ages[:, figurines.FACTORS.index("age")] = torch.tensor([0.0, 0.5])
    parts = figurines.draw(ages, "body", size=64, modalities=("parts",))["parts"]
    child, adult = (parts > 0).any(2).sum(1).tolist()
    assert child < 0.9 * adult
    eyes = (parts == figurines.PARTS.index("eyes")).sum((1, 2))
    assert eyes[0] > eyes[1]


def test_no_persons_give_empty_pictures() -> None:
    images = figurines.draw(torch.zeros(0, len(figurines.FACTORS)), "face", size=16)
    assert images["normals"].shape == (0, 3, 16, 16)


# Factors


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8, 1.0])
def test_factors_are_uniform_for_every_rho(rho: float) -> None:
    for factors in figurines.sample_factors(4000, seed=1, rho=rho).values():
        # Ten columns at a fixed seed: the least of ten p-values is below 0.001 once in a hundred.
        p = [stats.kstest(column, "uniform").pvalue for column in factors.double().numpy().T]
        assert min(p) > 1e-3


@pytest.mark.parametrize("phi", [0.1, 0.5, 1.0])
def test_factors_are_uniform_and_uncorrelated_for_every_phi(phi: float) -> None:
    factors = figurines.sample_factors(4000, seed=2)["face"]
    turned = figurines.rotate_factors(factors, phi)
    assert min(stats.kstest(c, "uniform").pvalue for c in turned.double().numpy().T) > 1e-3
    correlation = np.corrcoef(scores(turned).T) - np.eye(len(figurines.FACTORS))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(4000)  # 45 pairs: 4.5 sigma is beyond chance


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_rho_is_the_correlation_of_the_normal_scores(rho: float) -> None:
    factors = figurines.sample_factors(20_000, seed=3, rho=rho)
    face, body = scores(factors["face"]), scores(factors["body"])
    measured = [np.corrcoef(face[:, k], body[:, k])[0, 1] for k in range(face.shape[1])]
    assert np.allclose(measured, rho, atol=4.5 / np.sqrt(20_000))


def test_rho_one_is_the_same_person() -> None:
    factors = figurines.sample_factors(100, seed=4, rho=1.0)
    assert torch.equal(factors["face"], factors["body"])


def test_phi_zero_is_the_identity_bit_for_bit() -> None:
    factors, _ = people(50)
    assert torch.equal(figurines.rotate_factors(factors, 0.0), factors)
    assert torch.equal(figurines.rotation(0.0), torch.eye(len(figurines.FACTORS)).double())


@given(phi=st.floats(0, 1))
def test_the_rotation_is_orthogonal_by_the_stated_angle(phi: float) -> None:
    matrix = figurines.rotation(phi)
    eye = torch.eye(len(matrix), dtype=torch.float64)
    assert torch.allclose(matrix @ matrix.T, eye, atol=1e-12)
    # A plane turned by an angle has the eigenvalues exp(+-i angle), all five planes alike.
    angles = torch.linalg.eigvals(matrix).angle().abs()
    assert torch.allclose(angles, torch.full_like(angles, phi * np.pi / 2), atol=1e-6)


def test_the_farthest_rotation_mixes_all_factors() -> None:
    matrix = figurines.rotation(1.0)
    assert matrix.diagonal().abs().max() < 1e-12
    assert matrix.abs().max() < 0.75  # far from a signed permutation, whose entries are 0 and 1
    assert ((matrix.abs() > 0.05).sum(1) >= 6).all()


@settings(max_examples=20, deadline=None)
@given(phi=st.floats(0.01, 1), seed=st.integers(0, 1000))
def test_rotating_back_recovers_the_factors(phi: float, seed: int) -> None:
    factors = figurines.sample_factors(20, seed=seed)["face"].double()
    turned = scores(figurines.rotate_factors(factors, phi))
    back = special.ndtr(turned @ figurines.rotation(phi).numpy())
    assert np.allclose(back, factors.numpy(), atol=1e-6)


def test_two_right_angles_turn_a_factor_into_its_opposite() -> None:
    factors = figurines.sample_factors(100, seed=5)["face"].double()
    twice = figurines.rotate_factors(figurines.rotate_factors(factors, 1.0), 1.0)
    assert torch.allclose(twice, 1 - factors, atol=1e-6)


# Classes and data sets


def test_class_imbalance_is_the_ratio_of_the_first_class_to_the_last() -> None:
    probabilities = figurines.class_probabilities(20.0)
    assert np.isclose(probabilities[0] / probabilities[-1], 20.0)
    ratios = probabilities[1:] / probabilities[:-1]
    assert torch.allclose(ratios, ratios[:1].expand_as(ratios))
    assert torch.allclose(figurines.class_probabilities(), torch.tensor(0.2).double())


@pytest.mark.parametrize("imbalance", [1.0, 10.0])
def test_classes_follow_their_probabilities(imbalance: float) -> None:
    n = 20_000
    counts = figurines.sample_classes(n, seed=6, imbalance=imbalance).bincount(minlength=5)
    expected = figurines.class_probabilities(imbalance) * n
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-3


def test_growing_a_data_set_keeps_its_beginning() -> None:
    options = {"size": 16, "rho": 0.5, "phi": 0.7, "imbalance": 3.0, "seed": 7}
    small = figurines.dataset({"face": 5, "body": 3}, **options)
    large = figurines.dataset({"face": 9, "body": 40}, **options)
    for view, n in (("face", 5), ("body", 3)):
        for name, value in small[view].items():
            assert torch.equal(value, large[view][name][:n]), (view, name)


def test_a_data_set_is_a_function_of_its_arguments() -> None:
    first, again, other = (
        figurines.dataset({"face": 4, "body": 4}, size=16, seed=seed) for seed in (1, 1, 2)
    )
    for view in figurines.VIEWS:
        assert all(torch.equal(first[view][k], again[view][k]) for k in first[view])
        assert not torch.equal(first[view]["factors"], other[view]["factors"])


def test_splits_share_no_person() -> None:
    rows = torch.cat(
        [
            figurines.dataset({"face": 200}, size=16, split=split)["face"]["factors"]
            for split in figurines.SPLITS
        ]
    )
    assert len(rows.unique(dim=0)) == 600


def test_the_views_of_a_data_set_show_the_same_persons() -> None:
    data = figurines.dataset({"face": 6, "body": 9}, size=16, imbalance=2.0, seed=8)
    assert torch.equal(data["face"]["factors"], data["body"]["factors"][:6])
    assert torch.equal(data["face"]["classes"], data["body"]["classes"][:6])


def test_strangers_do_not_share_their_headwear() -> None:
    data = figurines.dataset({"face": 2000, "body": 2000}, size=16, rho=0.0, modalities=("edges",))
    same = (data["face"]["classes"] == data["body"]["classes"]).double().mean()
    assert abs(same - 0.2) < 4.5 * np.sqrt(0.2 * 0.8 / 2000)


def test_phi_rotates_the_body_that_is_drawn_and_not_the_factors_that_are_seen() -> None:
    plain, turned = (
        figurines.dataset({"face": 4, "body": 4}, size=16, phi=phi) for phi in (0.0, 1.0)
    )
    for view in figurines.VIEWS:
        assert torch.equal(plain[view]["factors"], turned[view]["factors"])
    assert torch.equal(plain["face"]["rgb"], turned["face"]["rgb"])
    expected = figurines.draw(
        figurines.rotate_factors(turned["body"]["factors"], 1.0),
        "body",
        size=16,
        classes=turned["body"]["classes"],
    )
    assert torch.equal(turned["body"]["rgb"], expected["rgb"])


# Errors

ONE = torch.full((1, len(figurines.FACTORS)), 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figurines.draw(ONE, "side"), "view = 'side'.*face, body"),
        (lambda: figurines.draw(ONE, "face", style="oil"), "style = 'oil'.*sketch"),
        (lambda: figurines.draw(ONE, "face", modalities=("mask",)), "modality = 'mask'.*parts"),
        (lambda: figurines.draw(ONE, "face", modalities="rgb"), r"\('rgb',\)"),
        (lambda: figurines.draw(ONE, "face", size=15), "size = 15: wanted 16 to 128"),
        (lambda: figurines.draw(ONE, "face", size=129), "size = 129"),
        (lambda: figurines.draw(ONE, "face", chunk=0), "chunk = 0"),
        (lambda: figurines.draw(ONE[0], "face"), r"shape \(10,\): wanted \(n, 10\)"),
        (lambda: figurines.draw(ONE[:, 1:], "face"), r"shape \(1, 9\)"),
        (lambda: figurines.draw(ONE.long(), "face"), "int64: wanted a floating"),
        (lambda: figurines.draw(ONE * 3, "face"), "from 1.5 to 1.5: wanted numbers from 0 to 1"),
        (lambda: figurines.draw(ONE - 1, "face"), "from -0.5"),
        (lambda: figurines.draw(ONE * float("nan"), "face"), "nan.*without NaN"),
        (lambda: figurines.draw(ONE, "face", classes=torch.tensor([5])), "from 5 to 5.*0 to 4"),
        (lambda: figurines.draw(ONE, "face", classes=torch.tensor([0, 1])), r"wanted \(1,\)"),
        (lambda: figurines.draw(ONE, "face", classes=torch.tensor([0.5])), "float32.*integers"),
        (lambda: figurines.rotate_factors(ONE, 1.5), "phi = 1.5: wanted a number from 0 to 1"),
        (lambda: figurines.rotate_factors(ONE * 3, 0.0), "wanted numbers from 0 to 1"),
        (lambda: figurines.rotation(float("nan")), "phi = nan"),
        (lambda: figurines.sample_factors(3, seed=0, rho=-0.1), "rho = -0.1: wanted"),
        (lambda: figurines.sample_factors(-1, seed=0), "n = -1 is negative"),
        (lambda: figurines.sample_factors(1, seed=-2), "seed = -2 is negative"),
        (lambda: figurines.sample_classes(3, seed=0, imbalance=0.5), "imbalance = 0.5.*at least 1"),
        (lambda: figurines.dataset({"side": 1}), "view = 'side'"),
        (lambda: figurines.dataset({"face": -1}), r"counts\['face'\] = -1 is negative"),
        (lambda: figurines.dataset({"face": 1}, split="dev"), "split = 'dev'.*validation"),
        (lambda: figurines.dataset({"face": 1}, phi=2.0), "phi = 2.0"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value_and_the_cure(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
