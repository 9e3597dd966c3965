"""The problems have the fronts that they name, and every method finds them."""

import pytest
import torch
from torch import nn

from mtl_lib import balancing
from mtl_lib.analysis import cosines, pareto_mask, task_gradients
from mtl_lib.balancing import Aggregation, Fixed, SmoothTchebycheff
from mtl_lib.problems import VLMOP2, ZDT1, ZDT2, ConflictValley

# The mean is the one that a front can escape: see the last test.
METHODS = {m.__name__: m for m in Aggregation.__subclasses__() if m is not balancing.Mean}
every_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)


def descend(problem, balancer, start, steps, lr, project=lambda x: x):
    x = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    adam = torch.optim.Adam([x], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        balancer.backward(problem.losses(x), [x])
        adam.step()
        schedule.step()
        with torch.no_grad():
            x.copy_(project(x))
    return x.detach()


def values(problem, x):
    return torch.stack(list(problem.losses(x).values()))


def distance(problem, x):
    front = problem.front(4000).double()
    return (front - values(problem, x)).norm(dim=1).min().item()


@pytest.mark.parametrize("problem", [VLMOP2(), ZDT1(), ZDT2()])
def test_no_random_point_beats_the_front_and_the_front_does_not_beat_itself(problem):
    torch.manual_seed(0)
    points = torch.rand(3000, 3, dtype=torch.float64)
    found = torch.stack([values(problem, x) for x in points])
    front = problem.front(50).double()
    assert pareto_mask(front).all()
    assert pareto_mask(torch.cat([front, found]))[:50].all()


@pytest.mark.parametrize(
    ("problem", "pareto"),
    [
        (VLMOP2(), lambda t: torch.full((3,), (2 * t - 1) / 3**0.5)),
        (ZDT1(), lambda t: torch.tensor([t, 0.0, 0.0])),
        (ZDT2(), lambda t: torch.tensor([t, 0.0, 0.0])),
    ],
)
def test_the_points_named_as_pareto_optimal_lie_on_the_front(problem, pareto):
    for t in (0.1, 0.3, 0.5, 0.9):
        assert distance(problem, pareto(t).double()) < 1e-3  # the front is a fine polygon


def test_on_the_front_of_vlmop2_gradients_oppose_each_other():
    x = torch.full((4,), 0.2, dtype=torch.float64, requires_grad=True)
    assert cosines(task_gradients(VLMOP2().losses(x), [x]))[0, 1].item() == pytest.approx(-1)


@every_method
@pytest.mark.parametrize("start", [[0.9, -0.3, 0.4], [-0.6, 0.8, 0.1]])
def test_every_method_reaches_the_concave_front_of_vlmop2(make, start):
    torch.manual_seed(0)
    x = descend(VLMOP2(), make(), start, steps=600, lr=0.02)
    assert distance(VLMOP2(), x) < 0.01


@every_method
@pytest.mark.parametrize("problem", [ZDT1(), ZDT2()])
def test_every_method_reaches_the_fronts_of_zdt(make, problem):
    torch.manual_seed(0)
    box = lambda x: x.clamp(1e-6, 1)  # noqa: E731
    x = descend(problem, make(), [0.5, 0.6, 0.7], steps=600, lr=0.02, project=box)
    assert distance(problem, x) < 0.02


def reached(problem, balancers):
    box = lambda x: x.clamp(1e-6, 1)  # noqa: E731
    return [
        values(problem, descend(problem, b, [0.5, 0.4, 0.3], 600, 0.02, box)) for b in balancers
    ]


SHARES = [0.2, 0.35, 0.5, 0.65, 0.8]


def test_a_weighted_sum_reaches_only_the_ends_of_a_concave_front():
    sums = [Fixed({"first": s, "second": 1 - s}) for s in SHARES]
    for point in reached(ZDT2(), sums):
        assert min(point[0].item(), point[1].item()) < 0.02


def test_smooth_tchebycheff_reaches_the_inside_of_a_concave_front():
    smooth = [SmoothTchebycheff({"first": s, "second": 1 - s}, mu=0.01) for s in SHARES]
    found = reached(ZDT2(), smooth)
    inner = [p for p in found if min(p[0].item(), p[1].item()) > 0.1]
    assert len(inner) == len(SHARES)
    assert all(abs(p[1] - (1 - p[0] ** 2)) < 0.05 for p in found)
    assert len({round(p[0].item(), 1) for p in found}) == len(SHARES)


def test_a_weighted_sum_reaches_the_inside_of_a_convex_front():
    sums = [Fixed({"first": s, "second": 1 - s}) for s in (0.4, 0.5, 0.6)]
    for point in reached(ZDT1(), sums):
        assert min(point[0].item(), point[1].item()) > 0.05


def cross_the_valley(balancer, start):
    """Adam at a constant rate, as in the paper's figure, with fewer and longer steps."""
    x = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    adam = torch.optim.Adam([x], lr=0.02)
    for _ in range(3000):
        adam.zero_grad()
        balancer.backward(ConflictValley().losses(x), [x])
        adam.step()
    return x.detach()


@pytest.mark.parametrize("start", [ConflictValley.starts[0], ConflictValley.starts[2]])
@pytest.mark.parametrize("name", ["MGDA", "IMTLG", "AlignedMTL"])
def test_some_methods_cross_the_valley_to_its_front(name, start):
    x = cross_the_valley(METHODS[name](), start)
    assert -7.1 < x[0] < 7.1
    assert x[1].item() == pytest.approx(ConflictValley.depth, abs=0.15)


def test_the_plain_mean_gets_stuck_on_the_wall_of_the_valley():
    x = cross_the_valley(balancing.Mean(), ConflictValley.starts[0])
    assert x[1] > -1
