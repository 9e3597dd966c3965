import pytest
import torch
from torchmetrics.functional.classification import binary_jaccard_index

from mtl_lib import metrics
from mtl_lib.data import figurines


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


@pytest.fixture(scope="module", params=figurines.VIEWS)
def people(request):
    data = figurines.dataset({request.param: 60}, size=16, modalities=("depth", "parts"))
    return data[request.param]


def test_depth_and_parts_of_drawn_people_agree_perfectly(people):
    assert metrics.depth_parts_iou(people["depth"], people["parts"]) == 1


def test_depth_and_parts_of_other_people_agree_less_but_not_nothing(people):
    value = metrics.shuffled(metrics.depth_parts_iou, people["depth"], people["parts"])
    assert 0.5 < value < 0.9


def test_the_wall_separates_near_from_far():
    depth = torch.full((1, 1, 4, 4), 0.9)
    person = torch.ones(1, 4, 4, dtype=torch.int64)
    assert metrics.depth_parts_iou(depth, person) == 1
    assert metrics.depth_parts_iou(depth, person, wall=0.8) == 0


@pytest.mark.parametrize(
    ("depth", "parts"),
    [
        ((5, 1, 8, 8), (5, 8, 8)),  # floating point
        ((5, 8, 8), (5, 8, 8)),
        ((5, 1, 8, 8), (4, 8, 8)),
        ((5, 1, 8, 8), (5, 9, 8, 8)),
    ],
)
def test_depth_and_parts_that_do_not_belong_together_are_refused(depth, parts):
    kind = torch.float32 if depth == (5, 1, 8, 8) and parts == (5, 8, 8) else torch.int64
    with pytest.raises(ValueError, match="argmax"):
        metrics.depth_parts_iou(torch.zeros(depth), torch.zeros(parts, dtype=kind))


def test_shuffling_leaves_no_true_pair_and_changes_nothing_else():
    first, second = torch.arange(7.0), torch.arange(7.0)
    seen = {}

    def look(a, b):
        seen.update(a=a, b=b)
        return 0.25

    assert metrics.shuffled(look, first, second) == 0.25
    assert torch.equal(seen["a"], first)
    assert (seen["b"] != first).all()
    assert torch.equal(seen["b"].sort().values, second)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (0, 0), (3, 2)])
def test_shuffling_needs_two_pairs(n, m):
    with pytest.raises(ValueError, match="at least 2"):
        metrics.shuffled(metrics.iou, torch.ones(n, 4), torch.ones(m, 4))
