import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mtl_lib.balancing import Fixed, Scalarization
from mtl_lib.networks import HardSharing

WEIGHTS = st.floats(0, 10)


class Learned(Scalarization):
    """Anything differentiable, with a parameter of its own: the contract, not a method."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, losses):
        first, *rest = losses.values()
        return self.scale * first**2 + sum(loss.log() for loss in rest)


def setting(tasks=("a", "b", "c")):
    torch.manual_seed(0)
    heads = {task: nn.Linear(4, 1) for task in tasks}
    model = HardSharing(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), heads).double()
    x = torch.rand(6, 3, dtype=torch.float64)
    return model, lambda: {t: (y - 1).square().mean() for t, y in model(x).items()}


def gradients(model):
    return [parameter.grad for parameter in model.parameters()]


@given(a=WEIGHTS, b=WEIGHTS, c=WEIGHTS)
def test_fixed_is_the_weighted_sum(a, b, c):
    losses = {"a": torch.tensor(0.3), "b": torch.tensor(2.0), "c": torch.tensor(-1.0)}
    total = Fixed({"a": a, "b": b, "c": c})(losses).item()
    assert total == pytest.approx(0.3 * a + 2 * b - c, abs=1e-5)  # float32


@pytest.mark.parametrize("balancer", [Fixed(), Fixed({"a": 2, "b": 0, "c": 0.5}), Learned()])
def test_backward_is_that_of_the_total_loss(balancer):
    model, losses = setting()
    balancer(losses()).backward()
    expected = [*gradients(model), *gradients(balancer)]
    model.zero_grad(), balancer.zero_grad()
    balancer.backward(losses(), model.shared_parameters())
    for ours, plain in zip([*gradients(model), *gradients(balancer)], expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-15)


def test_backward_agrees_with_finite_differences():
    model, losses = setting()
    balancer, (weight, *_) = Fixed({"a": 2, "b": 1, "c": 0.5}), model.parameters()
    balancer.backward(losses())
    step = 1e-6
    with torch.no_grad():
        for index in [(0, 0), (2, 1), (3, 2)]:
            weight[index] += step
            above = balancer(losses())
            weight[index] -= 2 * step
            below = balancer(losses())
            weight[index] += step
            # Central differences: the error falls with the square of the step.
            assert weight.grad[index].item() == pytest.approx(
                ((above - below) / (2 * step)).item(), abs=1e-8
            )


@pytest.mark.parametrize("balancer", [Fixed({"a": 2, "b": 0, "c": 0.5}), Learned()])
def test_reported_weights_are_the_derivatives_of_the_total_loss(balancer):
    _, losses = setting()
    values = losses()
    weights = balancer.backward(values)
    a, b, c = (value.detach().item() for value in values.values())
    expected = (
        {"a": 2, "b": 0, "c": 0.5}
        if isinstance(balancer, Fixed)
        else {"a": 2 * 0.7 * a, "b": 1 / b, "c": 1 / c}
    )
    assert {task: weight.item() for task, weight in weights.items()} == pytest.approx(expected)
    assert not any(weight.requires_grad for weight in weights.values())


def test_backward_adds_to_gradients_that_are_there():
    model, losses = setting()
    Fixed().backward(losses())
    once = [gradient.clone() for gradient in gradients(model)]
    Fixed().backward(losses())
    for gradient, before in zip(gradients(model), once, strict=True):
        torch.testing.assert_close(gradient, 2 * before)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, "losses is empty"),
        ({"a": torch.ones(3)}, r"losses\['a'\] has shape \(3,\), wanted a scalar"),
        ({"a": torch.tensor(1.0)}, r"tasks \['a'\], weights has \['a', 'b'\]"),
        (dict.fromkeys("abc", torch.tensor(1.0)), r"\['a', 'b', 'c'\].*same name"),
    ],
)
def test_losses_that_do_not_match_the_weights_are_refused(losses, message):
    with pytest.raises(ValueError, match=message):
        Fixed({"a": 1, "b": 2}).backward(losses)


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf])
def test_a_weight_that_is_negative_or_not_finite_is_refused(weight):
    with pytest.raises(ValueError, match=r"weights\['b'\] is .*finite number of 0 or more"):
        Fixed({"a": 1, "b": weight})


def test_no_weights_are_refused():
    with pytest.raises(ValueError, match="leave the argument out"):
        Fixed({})
