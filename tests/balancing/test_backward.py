"""The backward step: what ends up in `.grad`, for every balancer."""

import math

import pytest
import torch
from torch import nn

from mtl_lib import balancing
from mtl_lib.balancing import Aggregation, CAGrad, Mean, NashMTL, PCGrad, UPGrad, through
from mtl_lib.data.batches import Batches
from mtl_lib.networks import HardSharing
from mtl_lib.training import fit

TASKS = ("a", "b", "c")
AGGREGATIONS = {m.__name__: m for m in Aggregation.__subclasses__()}
SCALARIZATIONS = {
    "Fixed": balancing.Fixed,
    "Uncertainty": lambda: balancing.Uncertainty(TASKS),
    "DWA": lambda: balancing.DWA(TASKS, window=4),
    "GradNorm": lambda: balancing.GradNorm(TASKS),
    "FAMO": lambda: balancing.FAMO(TASKS),
    "RLW": balancing.RLW,
    "GeometricMean": balancing.GeometricMean,
    "SmoothTchebycheff": balancing.SmoothTchebycheff,
}
ALL = AGGREGATIONS | SCALARIZATIONS


class Model(HardSharing):
    def __init__(self):
        trunk = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh())
        super().__init__(trunk, {task: nn.Linear(5, 2) for task in TASKS})

    def losses(self, batch):
        return self.losses_from(self.trunk(batch["x"]))

    def losses_from(self, z):
        targets = {"a": 1.0, "b": -2.0, "c": 0.5}
        return {t: (self.heads[t](z) - targets[t]).square().mean() for t in TASKS}


def setting():
    torch.manual_seed(0)
    return Model().double(), {"x": torch.randn(8, 3, dtype=torch.float64)}


def jacobian(model, batch):
    """Row by row with autograd, by itself."""
    rows = []
    for loss in model.losses(batch).values():
        parts = torch.autograd.grad(loss, model.shared_parameters(), retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


def flat_gradient(parameters):
    return torch.cat([parameter.grad.flatten() for parameter in parameters])


aggregations = pytest.mark.parametrize("make", AGGREGATIONS.values(), ids=AGGREGATIONS)


@aggregations
@pytest.mark.parametrize("chunks", [1, 2, 4, 100])
def test_shared_parameters_get_the_aggregated_direction(make, chunks):
    model, batch = setting()
    torch.manual_seed(1)
    expected = make()(jacobian(model, batch))
    torch.manual_seed(1)
    make(chunks=chunks).backward(model.losses(batch), model.shared_parameters())
    torch.testing.assert_close(
        flat_gradient(model.shared_parameters()), expected, rtol=1e-7, atol=1e-10
    )


@aggregations
@pytest.mark.parametrize("chunks", [1, 3])
def test_a_head_gets_the_gradient_of_its_own_loss_which_no_weight_scales(make, chunks):
    model, batch = setting()
    expected = {
        task: torch.autograd.grad(loss, model.task_parameters(task), retain_graph=True)
        for task, loss in model.losses(batch).items()
    }
    make(chunks=chunks).backward(model.losses(batch), model.shared_parameters())
    for task in TASKS:
        for parameter, gradient in zip(model.task_parameters(task), expected[task], strict=True):
            torch.testing.assert_close(parameter.grad, gradient)


@aggregations
@pytest.mark.parametrize("chunks", [1, 3])
def test_gradients_that_are_there_are_added_to(make, chunks):
    model, batch = setting()
    torch.manual_seed(1)
    make(chunks=chunks).backward(model.losses(batch), model.shared_parameters())
    once = flat_gradient(model.parameters())
    torch.manual_seed(1)
    make(chunks=chunks).backward(model.losses(batch), model.shared_parameters())
    torch.testing.assert_close(flat_gradient(model.parameters()), 2 * once)


def test_the_mean_agrees_with_finite_differences():
    model, batch = setting()
    Mean().backward(model.losses(batch), model.shared_parameters())
    weight, step = model.trunk[0].weight, 1e-6

    def total():
        return torch.stack(list(model.losses(batch).values())).mean().item()

    with torch.no_grad():
        for index in [(0, 0), (3, 2), (5, 1)]:
            weight[index] += step
            above = total()
            weight[index] -= 2 * step
            below = total()
            weight[index] += step
            # Central differences: the error falls with the square of the step.
            expected = (above - below) / (2 * step)
            assert weight.grad[index].item() == pytest.approx(expected, abs=1e-8)


def test_a_projected_direction_agrees_with_finite_differences_of_its_own_losses():
    """Along UPGrad's direction no loss rises, to first order, measured on the losses."""
    model, batch = setting()
    UPGrad().backward(model.losses(batch), model.shared_parameters())
    before = model.losses(batch)
    step = 1e-5
    with torch.no_grad():
        for parameter in model.shared_parameters():
            parameter -= step * parameter.grad
        after = model.losses(batch)
    for task in TASKS:
        assert ((after[task] - before[task]) / step).item() < 1e-4


@pytest.mark.parametrize("make", [UPGrad, CAGrad, NashMTL, lambda: PCGrad(chunks=2)])
def test_a_task_without_a_path_to_the_shared_parameters_is_named(make):
    model, batch = setting()
    alone = nn.Parameter(torch.ones(()).double())
    losses = {**model.losses(batch), "alone": alone.square()}
    balancer = make()
    if balancer.chunks > 1:
        pytest.skip("in chunks a missing path is a zero gradient")
    with pytest.raises(ValueError, match=r"'alone' does not depend on any shared parameter"):
        balancer.backward(losses, model.shared_parameters())
    assert all(parameter.grad is None for parameter in model.shared_parameters())


@pytest.mark.parametrize("make", [UPGrad, lambda: UPGrad(chunks=2)])
@pytest.mark.parametrize(
    ("losses", "shared", "message"),
    [
        ({}, None, "losses is empty"),
        (None, (), "shared is empty"),
        ({"a": torch.ones(2)}, None, r"losses\['a'\] has shape \(2,\)"),
    ],
)
def test_unusable_arguments_are_refused(make, losses, shared, message):
    model, batch = setting()
    with pytest.raises(ValueError, match=message):
        make().backward(
            model.losses(batch) if losses is None else losses,
            model.shared_parameters() if shared is None else shared,
        )


def test_a_loss_that_is_not_a_number_is_named_by_its_place():
    model, batch = setting()
    losses = model.losses(batch)
    losses["b"] = losses["b"] * math.nan
    with pytest.raises(ValueError, match=r"tasks number \[1\]"):
        UPGrad().backward(losses, model.shared_parameters())


# Through the representation


@aggregations
def test_through_a_representation_the_trunk_gets_the_direction_of_the_representation(make):
    model, batch = setting()
    z = model.trunk(batch["x"])
    rows = [
        torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in model.losses_from(z).values()
    ]
    torch.manual_seed(1)
    direction = make()(torch.stack([row.flatten() for row in rows])).view_as(z)
    expected = torch.autograd.grad(z, model.shared_parameters(), direction)
    torch.manual_seed(1)
    through(make(), model.trunk(batch["x"]), model.losses_from)
    for parameter, gradient in zip(model.shared_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert all(p.grad is not None for task in TASKS for p in model.task_parameters(task))


@aggregations
def test_a_batched_backward_pass_gives_the_same_gradients(make):
    model, batch = setting()
    torch.manual_seed(1)
    weights = make().backward(model.losses(batch), model.shared_parameters())
    expected = flat_gradient(model.parameters())
    model.zero_grad()
    torch.manual_seed(1)
    found = make().batched_backward(
        model.trunk(batch["x"]), model.losses_from, model.shared_parameters()
    )
    torch.testing.assert_close(flat_gradient(model.parameters()), expected, rtol=1e-7, atol=1e-10)
    assert list(found) == list(weights)


def test_for_a_linear_trunk_with_one_input_the_representation_is_no_approximation():
    torch.manual_seed(0)
    model = HardSharing(nn.Linear(3, 4, bias=False), {t: nn.Linear(4, 1) for t in TASKS}).double()
    x = torch.randn(1, 3, dtype=torch.float64)

    def losses(z):
        return {task: (model.heads[task](z) - i).square().mean() for i, task in enumerate(TASKS)}

    UPGrad().backward(losses(model.trunk(x)), model.shared_parameters())
    exact = model.trunk.weight.grad.clone()
    model.zero_grad()
    through(UPGrad(), model.trunk(x), losses)
    torch.testing.assert_close(model.trunk.weight.grad, exact)


# In training


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_an_interrupted_run_with_any_balancer_equals_an_uninterrupted_one(make, tmp_path):
    def run(steps, file=None):
        torch.manual_seed(0)
        model, balancer = Model(), make()
        learned = [*model.parameters(), *balancer.parameters()]
        adam = torch.optim.Adam(learned, lr=0.01)
        data = {"x": torch.randn(30, 3, generator=torch.Generator().manual_seed(3))}
        torch.manual_seed(5)
        history = fit(
            model,
            Batches(data, 8),
            steps=steps,
            optimizer=adam,
            balancer=balancer,
            checkpoint=file,
        )
        return [*model.state_dict().values()], history

    expected, history = run(24)
    run(11, tmp_path / "run.pt")
    resumed, again = run(24, tmp_path / "run.pt")
    assert all(torch.equal(a, b) for a, b in zip(resumed, expected, strict=True))
    assert again.weights == history.weights


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_balancer_trains(make):
    model, batch = setting()
    balancer = make()
    adam = torch.optim.Adam([*model.parameters(), *balancer.parameters()], lr=0.02)
    history = fit(model, lambda step: batch, steps=150, optimizer=adam, balancer=balancer)
    first, last = ({t: v[i] for t, v in history.losses.items()} for i in (0, -1))
    assert sum(last.values()) < 0.5 * sum(first.values())
    assert set(history.weights) == set(TASKS)
