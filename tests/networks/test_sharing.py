import pytest
import torch
from torch import nn

from mtl_lib.balancing import UPGrad
from mtl_lib.networks import (
    ConditionalNorm,
    ConditionalSharing,
    CrossStitch,
    HardSharing,
    MMoE,
    count_flops,
    count_parameters,
    split_sharing,
)

TASKS = ("a", "b", "c")


class Counting(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def blocks():
    return [nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, 4), nn.Linear(4, 4)]


def heads(tasks=TASKS):
    return {task: nn.Linear(4, 1 + i) for i, task in enumerate(tasks)}


def gates(experts):
    return {task: nn.Linear(3, experts, bias=False) for task in TASKS}


def hard():
    return HardSharing(Counting(3, 4), heads())


def split():
    return split_sharing(blocks, heads(), 1)


def stitched():
    return CrossStitch({task: blocks() for task in TASKS}, heads())


def mixture(experts=2):
    return MMoE([nn.Sequential(*blocks()) for _ in range(experts)], gates(experts), heads())


def conditional():
    return ConditionalSharing(
        [nn.Linear(3, 4), ConditionalNorm(4, len(TASKS), groups=2), nn.Tanh()], heads()
    )


MODELS = [hard, split, stitched, mixture, conditional]


@pytest.fixture(params=MODELS, ids=lambda make: make.__name__)
def make(request):
    return request.param


@pytest.fixture
def network(make):
    torch.manual_seed(0)
    return make()


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.rand(5, 3)


def reached(network):
    return {p for p in network.parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_every_task_has_its_own_output(network, x):
    outputs = network(x)
    assert list(outputs) == list(TASKS) == list(network.tasks)
    assert [y.shape for y in outputs.values()] == [(5, 1), (5, 2), (5, 3)]


def test_the_tasks_asked_for_get_what_they_get_with_all_others(network, x):
    everything, some = network(x), network(x, ["c", "a"])
    assert list(some) == ["c", "a"]
    assert all(torch.equal(some[task], everything[task]) for task in some)


def test_parameters_are_shared_or_of_one_task_and_together_all(network):
    parts = [network.shared_parameters(), *(network.task_parameters(t) for t in network.tasks)]
    flat = [parameter for part in parts for parameter in part]
    assert set(flat) == set(network.parameters())
    assert len(flat) == len(set(flat))


def test_a_task_reaches_what_is_shared_and_its_own_and_nothing_of_others(network, x):
    for task in TASKS:
        network.zero_grad()
        network(x)[task].square().sum().backward()
        own, shared = set(network.task_parameters(task)), set(network.shared_parameters())
        assert own <= reached(network) <= own | shared


def test_gradients_of_all_tasks_can_be_aggregated(network, x):
    losses = {task: y.square().mean() for task, y in network(x).items()}
    UPGrad().backward(losses, shared=network.shared_parameters())
    assert reached(network) == set(network.parameters())


def test_parameters_that_were_saved_give_the_same_outputs(make, network, x):
    other = make()
    other.load_state_dict(network.state_dict())
    assert all(torch.equal(y, other(x)[task]) for task, y in network(x).items())


@pytest.mark.parametrize(
    "call", [lambda m: m(torch.rand(1, 3), ["d"]), lambda m: m.task_parameters("d")]
)
def test_an_unknown_task_is_refused_with_those_there_are(network, call):
    with pytest.raises(ValueError, match="'d' has no head: choose among a, b, c"):
        call(network)


# Hard sharing and split depth


def test_each_head_of_hard_sharing_reads_the_trunk(x):
    network = hard()
    for task, y in network(x).items():
        assert torch.equal(y, network.heads[task](network.trunk(x)))


def test_the_trunk_of_hard_sharing_runs_once_for_all_tasks(x):
    network = hard()
    network(x)
    assert network.trunk.calls == 1


def test_split_at_depth_0_gives_separate_networks(x):
    network = split_sharing(blocks, heads(), 0)
    assert network.shared_parameters() == []
    network(x)["b"].sum().backward()
    assert reached(network) == set(network.task_parameters("b"))


def test_split_after_the_last_block_is_hard_sharing(x):
    network = split_sharing(blocks, heads(), 3)
    same = HardSharing(network.trunk, {task: network.heads[task][-1] for task in TASKS})
    assert count_parameters(same) == count_parameters(network)
    assert all(torch.equal(y, same(x)[task]) for task, y in network(x).items())


@pytest.mark.parametrize("depth", range(4))
def test_parameters_follow_from_the_depth_of_the_split(depth):
    sizes = [count_parameters(block) for block in blocks()]
    output = sum(count_parameters(head) for head in heads().values())
    network = split_sharing(blocks, heads(), depth)
    assert count_parameters(network) == sum(sizes[:depth]) + 3 * sum(sizes[depth:]) + output
    assert sum(p.numel() for p in network.shared_parameters()) == sum(sizes[:depth])


def test_branches_start_from_different_values():
    network = split_sharing(blocks, heads(), 1)
    assert not torch.equal(network.heads["a"][0].weight, network.heads["b"][0].weight)


@pytest.mark.parametrize("depth", [-1, 4])
def test_a_depth_beyond_the_blocks_is_refused(depth):
    with pytest.raises(ValueError, match=f"depth is {depth}, wanted 0 to 3"):
        split_sharing(blocks, heads(), depth)


# Cross-stitch


def set_alpha(network, matrix):
    with torch.no_grad():
        network.alpha.copy_(matrix.expand_as(network.alpha))


def test_cross_stitch_with_the_identity_is_separate_networks(x):
    network = stitched()
    set_alpha(network, torch.eye(3))
    for task, y in network(x).items():
        alone = nn.Sequential(*network.columns[task], network.heads[task])(x)
        torch.testing.assert_close(y, alone, atol=1e-6, rtol=0)


def test_cross_stitch_with_equal_weights_gives_all_tasks_the_same_features(x):
    network = stitched()
    set_alpha(network, torch.full((3, 3), 1 / 3))
    first, *others = network.features(x, TASKS).values()
    assert all(torch.equal(first, other) for other in others)


def test_cross_stitch_mixes_as_its_matrix_says(x):
    network = CrossStitch({t: [nn.Linear(3, 4)] for t in TASKS}, heads())
    alpha = torch.randn(3, 3)
    set_alpha(network, alpha)
    plain = [network.columns[task][0](x) for task in TASKS]
    for row, mixed in zip(alpha, network.features(x, TASKS).values(), strict=True):
        expected = row[0] * plain[0] + row[1] * plain[1] + row[2] * plain[2]
        torch.testing.assert_close(mixed, expected)


def test_cross_stitch_begins_as_a_mean_with_most_weight_on_its_own_network():
    alpha = stitched().alpha
    torch.testing.assert_close(alpha.sum(2), torch.ones(3, 3))
    torch.testing.assert_close(alpha.diagonal(dim1=1, dim2=2), torch.full((3, 3), 0.9))


def test_cross_stitch_learns_little_more_than_its_networks():
    separate = split_sharing(blocks, heads(), 0)
    assert count_parameters(stitched()) == count_parameters(separate) + 3 * 3 * 3


@pytest.mark.parametrize(
    "columns", [{"a": blocks(), "b": blocks()[:2], "c": blocks()}, {"a": blocks(), "b": blocks()}]
)
def test_cross_stitch_refuses_networks_that_do_not_fit_together(columns):
    with pytest.raises(ValueError, match="wanted the same tasks, with the same number of blocks"):
        CrossStitch(columns, heads())


# Mixture of experts


def test_a_mixture_of_one_expert_is_hard_sharing(x):
    network = mixture(experts=1)
    same = HardSharing(network.experts[0], network.heads)
    for task, y in same(x).items():
        torch.testing.assert_close(network(x)[task], y)


def test_weights_of_experts_are_shares(x):
    for task in TASKS:
        weights = mixture(experts=4).weights(x, task)
        assert weights.min() > 0
        torch.testing.assert_close(weights.sum(1), torch.ones(5))


def test_a_gate_that_is_sure_chooses_its_expert(x):
    network = mixture(experts=2)
    network.gates["b"] = nn.Linear(3, 2)
    with torch.no_grad():
        network.gates["b"].weight.zero_()
        network.gates["b"].bias.copy_(torch.tensor([-100.0, 100.0]))
    chosen = network.heads["b"](network.experts[1](x))
    torch.testing.assert_close(network(x)["b"], chosen)


def test_experts_may_draw_maps():
    experts = [nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 2, 2))) for _ in range(2)]
    network = MMoE(experts, gates(2), {task: nn.Conv2d(2, 1, 1) for task in TASKS})
    assert network(torch.rand(5, 3))["a"].shape == (5, 1, 2, 2)


@pytest.mark.parametrize(("experts", "tasks"), [([], TASKS), ([nn.Linear(3, 4)], TASKS[:2])])
def test_a_mixture_without_expert_or_gate_is_refused(experts, tasks):
    with pytest.raises(ValueError, match="at least one expert, and a gate for each head"):
        MMoE(experts, gates(1), heads(tasks))


# Costs


def test_parameters_are_counted_once_where_modules_share_them():
    trunk = nn.Linear(3, 4)
    networks = [HardSharing(trunk, {"a": nn.Linear(4, 2)}) for _ in range(3)]
    assert count_parameters(*networks) == (3 * 4 + 4) + 3 * (4 * 2 + 2)


@pytest.mark.parametrize("n", [1, 4])
def test_operations_of_a_convolution_follow_its_formula(n):
    convolution = nn.Conv2d(3, 8, 5, stride=2, padding=2)
    assert count_flops(convolution, torch.zeros(n, 3, 16, 16)) == n * 2 * 8 * 8 * 8 * 3 * 5 * 5


def test_operations_of_a_transposed_convolution_follow_its_formula():
    unfold = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1)
    assert count_flops(unfold, torch.zeros(1, 6, 5, 5)) == 2 * 5 * 5 * 6 * 4 * 4 * 4


def test_a_trunk_is_counted_as_often_as_it_runs(x):
    trunk, head = 2 * 5 * 3 * 4, 2 * 5 * 4 * (1 + 2 + 3)
    assert count_flops(hard(), x) == trunk + head
    assert count_flops(conditional(), x) == 3 * trunk + head


def test_counting_leaves_no_gradient(network, x):
    count_flops(network, x)
    assert reached(network) == set()


@pytest.mark.parametrize(
    "make", [lambda: HardSharing(nn.Linear(1, 1), {}), lambda: CrossStitch({}, {})]
)
def test_a_network_without_heads_is_refused(make):
    with pytest.raises(ValueError, match="one module for each task"):
        make()
