import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtl_lib.data.batches import Batches, MixedBatches, TaskBatches, temperature_shares


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


@given(n=st.integers(1, 9), size=st.integers(1, 9), first=st.integers(0, 30), k=st.integers(0, 30))
def test_a_stretch_is_a_part_of_the_stream_that_batches_are_cut_from(n, size, first, k):
    batches = Batches(numbers(n), size, seed=2)
    stream = torch.cat([batches(step)["x"] for step in range(60 // size + 1)])
    assert torch.equal(batches.stretch(first, k)["x"], stream[first : first + k])


counts = st.dictionaries(st.text("abc", min_size=1), st.integers(1, 10**6), min_size=1)


@given(counts)
def test_shares_are_proportional_at_temperature_one_and_equal_at_infinity(counts):
    total = sum(counts.values())
    proportional, equal = temperature_shares(counts), temperature_shares(counts, math.inf)
    assert proportional == pytest.approx({task: n / total for task, n in counts.items()})
    assert equal == pytest.approx(dict.fromkeys(counts, 1 / len(counts)))


@given(counts, st.floats(0.1, 100))
def test_shares_are_the_softmax_of_the_log_counts_over_the_temperature(counts, temperature):
    logits = torch.tensor(list(counts.values()), dtype=torch.float64).log() / temperature
    shares = list(temperature_shares(counts, temperature).values())
    assert shares == pytest.approx(torch.softmax(logits, 0).tolist(), abs=1e-12)  # rounding


@pytest.mark.parametrize(
    ("counts", "temperature", "message"),
    [
        ({}, 1.0, "counts is {}"),
        ({"a": 3, "b": 0}, 1.0, "'b': 0.*leave out"),
        ({"a": 3}, 0.0, "temperature is 0.0"),
        ({"a": 3}, math.nan, "temperature is nan"),
    ],
)
def test_shares_that_cannot_be_worked_out_are_refused(counts, temperature, message):
    with pytest.raises(ValueError, match=message):
        temperature_shares(counts, temperature)


def mixed(temperature=2.0, size=8, seed=0):
    many, few = {"x": torch.arange(90)}, {"x": torch.arange(10)}
    return MixedBatches({"many": many, "few": few}, size, temperature=temperature, seed=seed)


@given(temperature=st.floats(0.2, math.inf), size=st.integers(1, 20), step=st.integers(0, 20))
def test_the_rows_of_a_mixed_batch_add_up_to_its_size(temperature, size, step):
    batch = mixed(temperature, size)(step)
    assert list(batch) == ["many", "few"]
    assert sum(len(part["x"]) for part in batch.values()) == size


@given(st.lists(st.integers(0, 40)))
def test_a_mixed_batch_does_not_depend_on_those_asked_for_before(steps):
    used = mixed()
    for step in steps:
        fresh = mixed()(step)
        assert all(torch.equal(part["x"], fresh[task]["x"]) for task, part in used(step).items())


@pytest.mark.parametrize("temperature", [1, 2, math.inf])
def test_tasks_come_as_often_as_their_shares_say(temperature):
    batches, steps, size = mixed(temperature), 1000, 8
    seen = sum(len(batches(step)["few"]["x"]) for step in range(steps))
    share, n = batches.shares["few"], steps * size
    spread = math.sqrt(n * share * (1 - share))  # binomial
    assert abs(seen - n * share) < 4 * spread


def test_the_number_of_rows_of_a_task_is_as_random_as_independent_draws():
    batches = mixed(math.inf, size=8)
    rows = torch.tensor([float(len(batches(step)["few"]["x"])) for step in range(2000)])
    assert rows.var().item() == pytest.approx(8 / 4, rel=0.15)  # binomial, n p (1 - p)


def test_every_example_of_a_task_comes_once_before_any_comes_twice():
    batches = mixed(math.inf)
    stream = torch.cat([batches(step)["few"]["x"] for step in range(50)])
    for epoch in stream[: len(stream) // 10 * 10].reshape(-1, 10):
        assert torch.equal(epoch.sort().values, torch.arange(10))


def test_mixed_batches_of_another_seed_differ():
    assert any(
        not torch.equal(part["x"], mixed(seed=5)(0)[task]["x"]) for task, part in mixed()(0).items()
    )


def test_mixing_no_task_or_an_empty_one_is_refused():
    with pytest.raises(ValueError, match="at least one task"):
        MixedBatches({}, 4)
    with pytest.raises(ValueError, match="above 0"):
        MixedBatches({"a": {"x": torch.zeros(0)}}, 4)
