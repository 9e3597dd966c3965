import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtl_lib import analysis
from mtl_lib.balancing import Fixed, Uncertainty
from mtl_lib.networks import HardSharing
from mtl_lib.training import fit

POINTS = st.lists(st.tuples(*[st.integers(0, 6)] * 2), min_size=1, max_size=8) | st.lists(
    st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=6
)


def model():
    torch.manual_seed(0)
    network = HardSharing(nn.Linear(3, 4), {t: nn.Linear(4, 1) for t in ("a", "b", "c")}).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    network.losses = lambda batch=None: {
        t: (y - i).square().mean() for i, (t, y) in enumerate(network(x).items())
    }
    return network


def test_task_gradients_leave_gradients_and_graph_alone():
    network = model()
    losses = network.losses()
    rows = analysis.task_gradients(losses, network.shared_parameters())
    assert all(p.grad is None for p in network.parameters())
    losses["b"].backward()
    torch.testing.assert_close(
        rows[1], torch.cat([p.grad.flatten() for p in network.shared_parameters()])
    )


def test_cosines_equal_torchs_and_are_zero_for_a_gradient_of_zero():
    jacobian = torch.randn(4, 9, dtype=torch.float64)
    jacobian[3] = 0
    found = analysis.cosines(jacobian)
    for i, j in itertools.product(range(3), repeat=2):
        expected = nn.functional.cosine_similarity(jacobian[i], jacobian[j], dim=0)
        torch.testing.assert_close(found[i, j], expected)
    assert (found[3] == 0).all()


def test_magnitude_similarity_is_one_for_equal_lengths_and_symmetric_in_their_ratio():
    jacobian = torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 0.0], [0.0, 0.25]])
    found = analysis.magnitude_similarity(jacobian)
    assert found[0, 1] == 1
    assert found[0, 2] == found[0, 3] == pytest.approx(8 / 17)
    assert torch.equal(found, found.T)


def test_affinity_of_a_quadratic_follows_its_closed_form():
    x = nn.Parameter(torch.tensor([2.0, 1.0], dtype=torch.float64))
    lr = 0.1
    found = analysis.task_affinity(lambda: {"a": x[0] ** 2, "b": (x[0] + 1) ** 2}, [x], lr=lr)
    after = [2 - lr * 4, 2 - lr * 6]
    expected = [[1 - (a / 2) ** 2, 1 - ((a + 1) / 3) ** 2] for a in after]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_affinity_is_to_first_order_the_inner_product_of_gradients():
    network = model()
    rows = analysis.task_gradients(network.losses(), network.shared_parameters())
    losses = torch.stack([loss.detach() for loss in network.losses().values()])
    lr = 1e-6
    before = [p.detach().clone() for p in network.parameters()]
    found = analysis.task_affinity(network.losses, network.shared_parameters(), lr=lr)
    torch.testing.assert_close(found / lr, rows @ rows.T / losses, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_affinity_of_a_loss_that_is_not_positive_is_refused():
    x = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="wanted positive ones"):
        analysis.task_affinity(lambda: {"a": -x.sum()}, [x], lr=0.1)


def test_watching_changes_nothing_and_records_every_few_steps():
    runs = []
    for wrap in (lambda b: b, lambda b: analysis.Watch(b, every=4)):
        network, balancer = model(), wrap(Uncertainty(["a", "b", "c"]))
        adam = torch.optim.Adam([*network.parameters(), *balancer.parameters()])
        fit(network, lambda step: torch.zeros(1), steps=10, optimizer=adam, balancer=balancer)
        runs.append(list(network.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    assert balancer.steps == [0, 4, 8]
    assert balancer.tasks == ("a", "b", "c")
    assert all(c.shape == (3, 3) for c in balancer.cosines)
    axes = analysis.conflict_timeline(balancer)
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a, b", "a, c", "b, c"]


def test_what_was_watched_survives_in_the_checkpoint(tmp_path):
    def run(steps):
        network, watch = model(), analysis.Watch(Fixed(), every=2)
        sgd = torch.optim.SGD(network.parameters(), lr=0.01)
        file = tmp_path / "run.pt"
        fit(network, lambda s: torch.zeros(1), steps=steps, optimizer=sgd, balancer=watch,
            checkpoint=file)  # fmt: skip
        return watch

    run(5)
    assert run(9).steps == [0, 2, 4, 6, 8]


def test_a_timeline_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no pair of tasks"):
        analysis.conflict_timeline(analysis.Watch(Fixed()))


@given(POINTS)
def test_a_point_is_kept_exactly_if_no_other_beats_it(points):
    tensor = torch.tensor(points, dtype=torch.float64)
    expected = [
        not any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in points)
        for p in points
    ]
    assert analysis.pareto_mask(tensor).tolist() == expected


def by_inclusion_and_exclusion(points, reference):
    """Volume of a union of boxes, from the definition."""
    total = 0
    for size in range(1, len(points) + 1):
        for some in itertools.combinations(points, size):
            corner = [max(coordinates) for coordinates in zip(*some, strict=True)]
            sides = [max(0, r - c) for c, r in zip(corner, reference, strict=True)]
            total -= (-1) ** size * math.prod(sides)
    return total


@given(POINTS)
def test_hypervolume_is_the_volume_of_the_union_of_boxes(points):
    reference = [5] * len(points[0])
    found = analysis.hypervolume(
        torch.tensor(points, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)
    )
    assert found == pytest.approx(by_inclusion_and_exclusion(points, reference))


def test_hypervolume_of_a_dense_convex_front_approaches_its_integral():
    x = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    front = torch.stack([x, 1 - x.sqrt()], 1)
    # Dominated area below (1, 1): the integral of √x.
    assert analysis.hypervolume(front, torch.ones(2).double()) == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("points", "reference"),
    [
        (torch.zeros(3), torch.zeros(3)),
        (torch.zeros(3, 4), torch.zeros(4)),
        (torch.zeros(3, 2), torch.zeros(3)),
        (torch.full((3, 2), math.nan), torch.zeros(2)),
    ],
)
def test_unusable_points_are_refused(points, reference):
    with pytest.raises(ValueError, match="points has shape"):
        analysis.hypervolume(points, reference)


def test_linear_cka_equals_the_kernel_form_with_a_centring_matrix():
    torch.manual_seed(0)
    x, y = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    centre = torch.eye(7, dtype=torch.float64) - 1 / 7

    def hsic(first, second):  # Kornblith et al., eq. 3, up to a constant that cancels
        return torch.trace(first @ first.T @ centre @ second @ second.T @ centre)

    expected = hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()
    assert analysis.linear_cka(x, y) == pytest.approx(expected.item(), abs=1e-12)


def test_linear_cka_does_not_see_rotation_scale_and_shift():
    torch.manual_seed(0)
    x = torch.randn(20, 4, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    assert analysis.linear_cka(x, 3 * x @ rotation - 5) == pytest.approx(1, abs=1e-12)
    assert analysis.linear_cka(x, x * torch.tensor([1.0, 1.0, 1.0, 10.0])) < 0.9


@pytest.mark.parametrize(
    ("x", "y", "cause"),
    [
        (torch.ones(3, 2), torch.ones(4, 2), "same n"),
        (torch.ones(3), torch.ones(3), "flatten"),
        (torch.ones(3, 2), torch.rand(3, 2), "same features for all"),
    ],
)
def test_linear_cka_refuses_what_cannot_be_compared(x, y, cause):
    with pytest.raises(ValueError, match=cause):
        analysis.linear_cka(x, y)


def test_peak_memory_counts_what_is_alive_at_once_and_no_view_twice():
    x = torch.zeros(1000)

    def call():
        first = x + 1  # 4000 bytes
        second = first.view(10, 100) * 2  # a view, and 4000 more
        del first
        second.add_(1)  # nothing new
        return second.double()  # 4000 and 8000

    assert analysis.peak_memory(call) == 12_000


def test_peak_memory_does_not_count_what_was_there_before():
    x = torch.zeros(1000)
    assert analysis.peak_memory(lambda: x.mul_(2).view(10, 100).T) == 0


def test_peak_memory_of_a_training_step_is_what_the_profiler_reports():
    network = nn.Sequential(nn.Linear(50, 80), nn.SiLU(), nn.Linear(80, 10))
    x, adam = torch.ones(20, 50), torch.optim.Adam(network.parameters())

    def step():
        adam.zero_grad()
        network(x).square().mean().backward()
        adam.step()

    step()
    adam.zero_grad()  # or the step would free gradients from before the profiler looks
    ours = analysis.peak_memory(step)
    adam.zero_grad()
    with torch.profiler.profile(profile_memory=True) as found:
        step()
    events = [e.nbytes() for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    # The profiler also sees the single numbers that some kernels put into a tensor inside.
    assert ours == pytest.approx(max(itertools.accumulate(events)), abs=64)


def test_peak_memory_is_the_same_in_every_run():
    network, counts = model(), set()
    for _ in range(3):
        network.zero_grad()
        counts.add(analysis.peak_memory(lambda: sum(network.losses().values()).backward()))
    assert len(counts) == 1
    assert counts.pop() > 0
