import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_lib.data.batches import Batches, TaskBatches


def numbers(n):
    return {"x": torch.arange(n), "y": torch.arange(n) * 10}


@given(n=st.integers(1, 20), size=st.integers(1, 50), seed=st.integers(0, 5))
def test_every_example_comes_once_before_any_comes_twice(n, size, seed):
    batches = Batches(numbers(n), size, seed=seed)
    stream = torch.cat([batches(step)["x"] for step in range(2 * n // size + 2)])
    for epoch in stream[: len(stream) // n * n].reshape(-1, n):
        assert torch.equal(epoch.sort().values, torch.arange(n))


@given(n=st.integers(1, 20), size=st.integers(1, 50), steps=st.lists(st.integers(0, 40)))
def test_a_batch_does_not_depend_on_those_asked_for_before(n, size, steps):
    used = Batches(numbers(n), size)
    for step in steps:
        fresh = Batches(numbers(n), size)
        assert torch.equal(used(step)["x"], fresh(step)["x"])


def test_rows_of_all_tensors_stay_together():
    batch = Batches(numbers(50), 16, seed=3)(2)
    assert torch.equal(batch["y"], 10 * batch["x"])
    assert batch["x"].shape == (16,)


def test_epochs_and_seeds_are_shuffled_differently():
    batches, other = Batches(numbers(50), 50), Batches(numbers(50), 50, seed=1)
    assert not torch.equal(batches(0)["x"], batches(1)["x"])
    assert not torch.equal(batches(0)["x"], other(0)["x"])


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({}, {"size": 4}, "data has no examples"),
        ({"x": torch.zeros(0)}, {"size": 4}, "above 0"),
        ({"x": torch.zeros(3), "y": torch.zeros(4)}, {"size": 4}, "'x': 3, 'y': 4.*same number"),
        ({"x": torch.zeros(3)}, {"size": 0}, "size is 0"),
        ({"x": torch.zeros(3)}, {"size": 2, "seed": -1}, "seed is -1"),
    ],
)
def test_unusable_data_is_refused_with_the_reason(data, options, message):
    with pytest.raises(ValueError, match=message):
        Batches(data, **options)


def test_each_task_gets_the_batch_of_its_own_source():
    sources = {"a": Batches(numbers(5), 2), "b": Batches(numbers(9), 3, seed=1)}
    batch = TaskBatches(sources)(4)
    assert torch.equal(batch["a"]["x"], sources["a"](4)["x"])
    assert torch.equal(batch["b"]["x"], sources["b"](4)["x"])


def test_no_task_is_refused():
    with pytest.raises(ValueError, match="at least one task"):
        TaskBatches({})
