"""The scalarizations one by one: closed forms, golden values, and torchjd where it has them."""

import math

import pytest
import torch
from torch import nn

from mtl_lib.balancing import (
    DWA,
    FAMO,
    RLW,
    GeometricMean,
    GradNorm,
    SmoothTchebycheff,
    Uncertainty,
)

TASKS = ("a", "b", "c")
VALUES = {"a": 0.5, "b": 2.0, "c": 8.0}


def losses(values=VALUES, **changed):
    merged = {**values, **changed}
    return {
        task: torch.tensor(float(v), dtype=torch.float64, requires_grad=True)
        for task, v in merged.items()
    }


def oracle(name, *arguments):
    scalarization = pytest.importorskip("torchjd.scalarization")
    return getattr(scalarization, name)(*arguments)


def weights_of(balancer, values):
    return {task: w.item() for task, w in balancer.backward(values).items()}


# Uncertainty


def test_uncertainty_minimised_over_its_variances_is_half_the_sum_of_one_plus_log_loss():
    balancer = Uncertainty(TASKS).double()
    with torch.no_grad():
        balancer.log_variance.copy_(torch.tensor([math.log(v) for v in VALUES.values()]))
    total = balancer(losses())
    assert total.item() == pytest.approx(0.5 * sum(1 + math.log(v) for v in VALUES.values()))
    balancer.backward(losses())
    assert balancer.log_variance.grad.abs().max() < 1e-7  # a minimum, at single precision
    assert weights_of(balancer, losses()) == pytest.approx({t: 0.5 / v for t, v in VALUES.items()})


def test_uncertainty_equals_torchjds():
    pytest.importorskip("torchjd.scalarization")
    ours, theirs = Uncertainty(TASKS).double(), oracle("UW", 3).double()
    state = torch.tensor([0.3, -1.0, 2.0])
    with torch.no_grad():
        ours.log_variance.copy_(state)
        theirs.log_var.copy_(state)
    stacked = torch.tensor(list(VALUES.values()), dtype=torch.float64)
    assert ours(losses()).item() == pytest.approx(theirs(stacked).item(), rel=1e-12)


# Random, geometric, Tchebycheff


def test_random_weights_are_new_in_each_step_positive_and_sum_to_one():
    torch.manual_seed(0)
    balancer = RLW()
    drawn = [weights_of(balancer, losses()) for _ in range(3)]
    assert all(sum(w.values()) == pytest.approx(1) for w in drawn)
    assert all(v > 0 for w in drawn for v in w.values())
    assert drawn[0] != drawn[1] != drawn[2]


def test_random_weights_are_a_third_each_on_average():
    torch.manual_seed(0)
    balancer = RLW()
    mean = torch.tensor([[*weights_of(balancer, losses()).values()] for _ in range(4000)]).mean(0)
    # Standard deviation of one weight below 0.25: four standard errors are 0.016.
    torch.testing.assert_close(mean, torch.full((3,), 1 / 3), atol=0.016, rtol=0)


def test_the_geometric_mean_and_its_weights_follow_their_closed_form():
    assert GeometricMean()(losses()).item() == pytest.approx(2.0)
    found = weights_of(GeometricMean(), losses())
    assert found == pytest.approx({task: 2.0 / (3 * v) for task, v in VALUES.items()})


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_geometric_mean_neither_under_nor_overflows(unit):
    values = {task: unit * v for task, v in VALUES.items()}
    assert GeometricMean()(losses(values)).item() == pytest.approx(2.0 * unit)


def test_the_geometric_mean_equals_torchjds():
    pytest.importorskip("torchjd.scalarization")
    stacked = torch.tensor(list(VALUES.values()), dtype=torch.float64)
    assert GeometricMean()(losses()).item() == pytest.approx(
        oracle("GeometricMean")(stacked).item()
    )


@pytest.mark.parametrize("mu", [1e-3, 0.1, 10.0])
def test_smooth_tchebycheff_lies_between_the_maximum_and_it_plus_mu_log_n(mu):
    balancer = SmoothTchebycheff(dict.fromkeys(TASKS, 1.0), mu=mu)
    found = balancer(losses()).item()
    assert 8.0 - 1e-12 <= found <= 8.0 + mu * math.log(3) + 1e-12


def test_smooth_tchebycheff_equals_torchjds():
    scalarization = pytest.importorskip("torchjd.scalarization")
    weights, ideal = {"a": 3.0, "b": 1.0, "c": 0.2}, {"a": 0.1, "b": 0.2, "c": 0.3}
    ours = SmoothTchebycheff(weights, ideal=ideal, mu=0.5)(losses())
    stacks = (torch.tensor([*d.values()], dtype=torch.float64) for d in (weights, ideal, VALUES))
    lambdas, reference, stacked = stacks
    theirs = scalarization.STCH(mu=0.5, weights=lambdas, reference=reference)(stacked)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)


# DWA


def test_dwa_follows_its_formula_from_the_third_window_on():
    balancer = DWA(["a", "b"], window=2, temperature=2.0)
    course = [(4.0, 4.0), (2.0, 4.0), (1.5, 3.0), (1.5, 3.0), (1.0, 1.0)]
    seen = [weights_of(balancer, losses({"a": a, "b": b})) for a, b in course]
    assert all(w == {"a": 1.0, "b": 1.0} for w in seen[:4])
    ratios = torch.tensor([1.5 / 3.0, 3.0 / 4.0])  # mean of window two over that of window one
    expected = 2 * torch.softmax(ratios / 2.0, 0)
    assert list(seen[4].values()) == pytest.approx(expected.tolist())


def test_dwa_gives_more_weight_to_the_task_that_learns_slowly():
    balancer = DWA(["fast", "slow"], window=1)
    for step in range(4):
        found = weights_of(balancer, losses({"fast": 0.5**step, "slow": 1.0}))
    assert found["slow"] > found["fast"]
    assert sum(found.values()) == pytest.approx(2)


# GradNorm


class Two(nn.Module):
    """Two quadratic losses of one shared vector, with known gradients."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))

    def losses(self):
        return {"a": self.x[0].square(), "b": 10 * self.x[1].square()}


def test_gradnorm_first_moves_weights_by_the_sign_of_the_difference_of_norms():
    model, balancer = Two(), GradNorm(["a", "b"], alpha=0.0).double()
    weights = balancer.backward(model.losses(), [model.x])
    torch.testing.assert_close(model.x.grad, torch.tensor([2.0, 40.0], dtype=torch.float64))
    # Norms are 2 and 40, their mean 21: the first has to grow, the second to shrink.
    torch.testing.assert_close(
        balancer.task_weights.grad, torch.tensor([-2.0, 40.0], dtype=torch.float64)
    )
    assert {t: w.item() for t, w in weights.items()} == {"a": 1.0, "b": 1.0}


def test_gradnorm_makes_gradients_of_tasks_that_learn_alike_equally_long():
    model, balancer = Two(), GradNorm(["a", "b"], alpha=0.0).double()
    adam = torch.optim.Adam(balancer.parameters(), lr=0.01)
    for _ in range(600):
        model.zero_grad()
        adam.zero_grad()
        weights = balancer.backward(model.losses(), [model.x])
        adam.step()
        balancer.after_step(model.losses)
    norms = weights["a"] * 2.0, weights["b"] * 40.0
    assert norms[0].item() == pytest.approx(norms[1].item(), rel=0.1)
    assert balancer.task_weights.sum().item() == pytest.approx(2)


def test_gradnorm_pulls_harder_at_the_task_that_has_learned_less():
    """The exponent is positive: r is large for a slow task, and so is its target."""
    model, balancer = Two(), GradNorm(["a", "b"], alpha=1.0).double()
    balancer.first = torch.tensor([1.0, 400.0]).double()  # b has come down to a tenth, a to all
    balancer.backward(model.losses(), [model.x])
    rates = torch.tensor([1.0, 0.1])
    targets = 21.0 * rates / rates.mean()
    expected = (torch.tensor([2.0, 40.0]) - targets).sign() * torch.tensor([2.0, 40.0])
    torch.testing.assert_close(balancer.task_weights.grad.float(), expected)
    assert targets[0] > targets[1]


# FAMO


def test_famo_steps_along_the_weighted_gradient_of_log_losses():
    found = weights_of(FAMO(TASKS), losses())
    normalizer = sum(1 / (3 * v) for v in VALUES.values())
    assert found == pytest.approx({t: 1 / (3 * v) / normalizer for t, v in VALUES.items()})


def test_famo_equals_torchjds_over_a_course_of_losses():
    pytest.importorskip("torchjd.scalarization")
    theirs, ours = oracle("FAMO", 3, None, 0.025, 0.01), FAMO(TASKS, lr=0.025, decay=0.01)
    values = torch.tensor(list(VALUES.values()))
    for factor in (1.0, 0.9, 0.7):
        now = values * torch.tensor([factor, 1.0, factor**2])
        after = now * torch.tensor([0.9, 1.0, 0.8])
        leaves = {task: v.clone().requires_grad_() for task, v in zip(TASKS, now, strict=True)}
        torch.testing.assert_close(ours(leaves), theirs(now))
        ours.backward(leaves)
        ours.after_step(lambda after=after: dict(zip(TASKS, after, strict=True)))
        theirs.update(after)
    # Adam divides by roots of squares: single precision grows a little.
    expected = torch.softmax(theirs._w.detach(), 0)
    torch.testing.assert_close(torch.softmax(ours.logits.detach(), 0), expected, atol=1e-5, rtol=0)


def test_famo_gives_more_weight_to_the_task_whose_log_loss_fell_less():
    balancer = FAMO(["fast", "slow"], decay=0.0)
    for step in range(50):
        fast = 0.9**step
        balancer.backward(losses({"fast": fast, "slow": 1.0}))
        balancer.after_step(lambda fast=fast: losses({"fast": 0.9 * fast, "slow": 1.0}))
    z = torch.softmax(balancer.logits, 0)
    assert z[1] > z[0]


# Errors


@pytest.mark.parametrize("make", [GeometricMean, lambda: FAMO(TASKS)])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_methods_that_take_logarithms_refuse_losses_that_are_not_positive(make, bad):
    with pytest.raises(ValueError, match=r"losses\['b'\] is .*logarithm"):
        make().backward(losses(b=bad))


@pytest.mark.parametrize("make", [Uncertainty, GradNorm, FAMO, lambda tasks: DWA(tasks, window=1)])
def test_other_tasks_than_the_balancers_are_refused(make):
    shared = [nn.Parameter(torch.ones(1))]
    with pytest.raises(ValueError, match=r"\['a', 'b', 'c'\], the balancer has \['a', 'b'\]"):
        make(["a", "b"]).backward(losses(), shared)


@pytest.mark.parametrize("make", [Uncertainty, GradNorm, FAMO])
@pytest.mark.parametrize("tasks", [[], ["a", "a"], "ab"])
def test_names_that_are_no_list_of_tasks_are_refused(make, tasks):
    with pytest.raises(ValueError, match=r"tasks is .*all different"):
        make(tasks)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DWA(["a"], window=0), "window is 0"),
        (lambda: DWA(["a"], window=1, temperature=0.0), r"temperature is 0\.0"),
        (lambda: SmoothTchebycheff(mu=0.0), r"mu is 0\.0"),
        (lambda: SmoothTchebycheff({"a": -1.0}), r"weights\['a'\] is -1\.0"),
        (lambda: SmoothTchebycheff({}), "weights is empty"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_ideal_value_of_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"'d'"):
        SmoothTchebycheff(ideal={"d": 1.0})(losses())
