import pytest
import torch
from torch import nn

from mtl_lib.networks import HardSharing, count_parameters


class Counting(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x)


def model(tasks=("a", "b", "c")):
    torch.manual_seed(0)
    return HardSharing(Counting(3, 4), {task: nn.Linear(4, 1 + i) for i, task in enumerate(tasks)})


def test_every_task_gets_the_output_of_its_own_head():
    network, x = model(), torch.rand(5, 3)
    outputs = network(x)
    assert list(outputs) == ["a", "b", "c"] == list(network.tasks)
    for task, y in outputs.items():
        assert torch.equal(y, network.heads[task](network.trunk(x)))


def test_the_trunk_runs_once_for_all_tasks():
    network = model()
    network(torch.rand(5, 3))
    assert network.trunk.calls == 1


def test_only_the_tasks_asked_for_are_computed():
    assert list(model()(torch.rand(5, 3), ["c", "a"])) == ["c", "a"]


def test_parameters_are_shared_or_of_one_task_and_together_all():
    network = model()
    parts = [network.shared_parameters(), *(network.task_parameters(t) for t in network.tasks)]
    flat = [parameter for part in parts for parameter in part]
    assert {id(p) for p in flat} == {id(p) for p in network.parameters()}
    assert len(flat) == len(set(flat))


def test_the_gradient_of_one_task_reaches_trunk_and_own_head_only():
    network = model()
    network(torch.rand(5, 3))["b"].sum().backward()
    reached = {name for name, p in network.named_parameters() if p.grad is not None}
    assert reached == {"trunk.weight", "trunk.bias", "heads.b.weight", "heads.b.bias"}


def test_parameters_are_counted_once_where_modules_share_them():
    trunk = nn.Linear(3, 4)
    networks = [HardSharing(trunk, {"a": nn.Linear(4, 2)}) for _ in range(3)]
    assert count_parameters(*networks) == (3 * 4 + 4) + 3 * (4 * 2 + 2)


@pytest.mark.parametrize(
    "call", [lambda m: m(torch.rand(1, 3), ["d"]), lambda m: m.task_parameters("d")]
)
def test_an_unknown_task_is_refused_with_those_there_are(call):
    with pytest.raises(ValueError, match="'d' has no head: choose among a, b, c"):
        call(model())


def test_a_network_without_heads_is_refused():
    with pytest.raises(ValueError, match="one module for each task"):
        HardSharing(nn.Linear(1, 1), {})
