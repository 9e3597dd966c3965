import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from mtl_lib import training
from mtl_lib.balancing import Fixed, Scalarization
from mtl_lib.data.batches import Batches
from mtl_lib.networks import HardSharing
from mtl_lib.training import CheckpointError, NonFiniteError, fit


class Noisy(HardSharing):
    """Dropout and noise: an exact resumption has to restore the generators."""

    def __init__(self, width=8):
        trunk = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Dropout(0.3))
        super().__init__(trunk, {"a": nn.Linear(width, 1), "b": nn.Linear(width, 2)})

    def losses(self, batch):
        noisy = batch["x"] + 0.1 * torch.randn_like(batch["x"])
        return {task: (y - 1).square().mean() for task, y in self(noisy).items()}


class Learned(Scalarization):
    """A balancer that learns and remembers, for the checkpoint."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(2))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, losses):
        self.calls += 1
        weighted = [(-s).exp() * loss for s, loss in zip(self.scale, losses.values(), strict=True)]
        return torch.stack(weighted).sum() + self.scale.sum()


class Run:
    """Everything that one training needs, always from the same seeds."""

    def __init__(self, **options):
        torch.manual_seed(0)
        self.model, self.balancer = Noisy(), Learned()
        learned = [*self.model.parameters(), *self.balancer.parameters()]
        self.optimizer = torch.optim.AdamW(learned, lr=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 10, 0.5)
        data = {"x": torch.rand(40, 3, generator=torch.Generator().manual_seed(1))}
        self.batches = Batches(data, 16)
        self.options = {
            "steps": 50,
            "optimizer": self.optimizer,
            "balancer": self.balancer,
            "schedule": schedule,
            "clip": 1.0,
        } | options

    def fit(self, **changed):
        torch.manual_seed(5)  # a program that is run again sets the same seed
        return fit(self.model, self.batches, **{**self.options, **changed})

    def state(self):
        return [*self.model.state_dict().values(), *self.balancer.state_dict().values()]


def failing_at(step, batches, error=KeyboardInterrupt):
    def source(number):
        if number == step:
            raise error
        return batches(number)

    return source


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state(), other.state(), strict=True))


@pytest.mark.parametrize("interrupted_at", [0, 7, 20, 33, 49])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path, interrupted_at
):
    whole = Run()
    expected = whole.fit()

    file = tmp_path / "new folder" / "run.pt"
    first = Run(checkpoint=file, checkpoint_every=10)
    first.batches = failing_at(interrupted_at, first.batches)
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    second = Run(checkpoint=file, checkpoint_every=10)
    history = second.fit()

    assert equal(second, whole)
    assert history.losses == expected.losses
    assert history.weights == expected.weights
    assert history.steps == 50
    assert history.seconds == sorted(history.seconds)


def test_a_finished_run_is_not_trained_again_and_a_longer_one_goes_on(tmp_path):
    file = tmp_path / "run.pt"
    Run(checkpoint=file).fit(steps=30)
    again = Run(checkpoint=file)
    assert again.fit(steps=30).steps == 30
    longer, whole = Run(checkpoint=file), Run()
    longer.fit(steps=50)
    whole.fit()
    assert equal(longer, whole)


def test_a_checkpoint_survives_a_crash_while_the_next_one_is_written(tmp_path, monkeypatch):
    file = tmp_path / "run.pt"
    Run(checkpoint=file).fit(steps=10)
    before = file.read_bytes()

    def half(content, path):
        path.write_bytes(b"half a checkpoint")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        Run(checkpoint=file).fit(steps=20)
    assert file.read_bytes() == before


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"text"])
def test_a_damaged_checkpoint_is_refused_with_the_cure(tmp_path, damage):
    file = tmp_path / "run.pt"
    Run(checkpoint=file).fit(steps=10)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match=r"run\.pt cannot be read.*Delete"):
        Run(checkpoint=file).fit()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    Run(checkpoint=file).fit(steps=10)
    other = Run(checkpoint=file)
    other.model = Noisy(width=9)
    with pytest.raises(CheckpointError, match=r"(?s)belongs to another run.*size mismatch"):
        other.fit()


def test_a_checkpoint_beyond_the_steps_asked_for_is_refused(tmp_path):
    file = tmp_path / "run.pt"
    Run(checkpoint=file).fit(steps=20)
    with pytest.raises(CheckpointError, match="is at step 20, beyond steps=10"):
        Run(checkpoint=file).fit(steps=10)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_task_and_step_and_keeps_the_last_checkpoint(
    tmp_path, bad
):
    class Breaking(Noisy):
        calls = 0

        def losses(self, batch):
            self.calls += 1
            found = super().losses(batch)
            return {**found, "b": found["b"] * (bad if self.calls == 26 else 1)}

    file = tmp_path / "run.pt"
    run = Run(checkpoint=file, checkpoint_every=10)
    run.model = Breaking()
    run.options["optimizer"] = torch.optim.SGD(run.model.parameters(), lr=0.1)
    run.options["schedule"] = None
    with pytest.raises(NonFiniteError, match=f"task 'b' is {bad} in step 25.*learning rate"):
        run.fit()
    assert len(torch.load(file)["history"]["seconds"]) == 20
    assert all(p.isfinite().all() for p in run.model.parameters())


def test_a_gradient_that_is_not_finite_stops_before_the_step():
    class Root(nn.Linear):
        def losses(self, batch):
            return {"a": (self(batch["x"]) * 0).abs().sqrt().mean()}  # 0 / 0 in the derivative

    model = Root(3, 1)
    before = [p.clone() for p in model.parameters()]
    adam = torch.optim.Adam(model.parameters())
    with pytest.raises(NonFiniteError, match="gradient is not finite in step 0"):
        fit(model, lambda step: {"x": torch.ones(2, 3)}, steps=3, optimizer=adam)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_weights_that_do_not_match_the_tasks_are_refused():
    with pytest.raises(ValueError, match=r"tasks \['a', 'b'\], weights has \['a', 'c'\]"):
        Run().fit(balancer=Fixed({"a": 1, "c": 1}))


def test_training_lowers_the_losses_and_records_all_of_them():
    history = Run().fit()
    assert set(history.losses) == set(history.weights) == {"a", "b"}
    for losses in history.losses.values():
        assert len(losses) == 50
        assert sum(losses[-10:]) < sum(losses[:10])


def test_the_plain_sum_is_the_default():
    one, other = Run(), Run()
    one.fit(balancer=None)
    other.fit(balancer=Fixed({"a": 1, "b": 1}))
    assert equal(one, other)


def test_the_loop_is_the_textbook_loop():
    run, plain = Run(), Run()
    run.fit(balancer=None, clip=math.inf)
    torch.manual_seed(5)
    for step in range(50):
        plain.optimizer.zero_grad()
        sum(plain.model.losses(plain.batches(step)).values()).backward()
        plain.optimizer.step()
        plain.options["schedule"].step()
    for a, b in zip(run.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)  # sums in another order


def test_gradients_are_clipped_to_the_norm_asked_for():
    run = Run(clip=1e-3, optimizer=None)
    sgd = torch.optim.SGD(run.model.parameters(), lr=1.0)
    before = [p.detach().clone() for p in run.model.parameters()]
    run.fit(steps=1, optimizer=sgd, schedule=None)
    moved = [p.detach() - b for p, b in zip(run.model.parameters(), before, strict=True)]
    assert torch.nn.utils.get_total_norm(moved).item() == pytest.approx(1e-3, rel=1e-3)


def test_validation_is_recorded_in_evaluation_mode_and_does_not_disturb_training():
    run, plain = Run(), Run()
    seen = []

    def validate():
        seen.append((run.model.training, torch.is_grad_enabled()))
        return {"draw": torch.rand(()).item()}

    history = run.fit(validate=validate, validate_every=20)
    plain.fit()
    assert history.validation["step"] == [20, 40, 50]
    assert len(history.validation["draw"]) == 3
    assert set(seen) == {(False, False)}
    assert run.model.training
    assert equal(run, plain)


def test_the_balancer_may_look_at_the_losses_after_the_step():
    class Looking(Fixed):
        def after_step(self, losses):
            self.seen = losses()["a"].item()

    model = nn.Linear(2, 1)
    model.losses = lambda batch: {"a": model(batch).square().mean()}
    x = torch.ones(4, 2)
    balancer = Looking()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, lambda step: x, steps=3, optimizer=sgd, balancer=balancer)
    assert balancer.seen == pytest.approx(model.losses(x)["a"].item())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"validate_every": 0}, "validate_every is 0"),
        ({"checkpoint_every": -1}, "checkpoint_every is -1"),
        ({"clip": 0.0}, r"clip is 0\.0"),
        ({"clip": math.nan}, "clip is nan"),
    ],
)
def test_an_argument_out_of_range_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        Run().fit(**changed)


def test_batches_of_any_nesting_are_moved_to_the_device():
    batch = {"a": [torch.zeros(1), (torch.ones(2), "text")], "b": 3}
    moved = training.to_device(batch, "meta")
    assert moved["a"][0].device.type == moved["a"][1][0].device.type == "meta"
    assert moved["a"][1][1] == "text"
    assert moved["b"] == 3


@pytest.mark.skipif(training.best_device().type == "cpu", reason="no accelerator here")
def test_training_runs_on_the_accelerator(tmp_path):
    device = training.best_device()
    run = Run(checkpoint=tmp_path / "run.pt")
    run.model.to(device), run.balancer.to(device)
    assert run.fit().steps == 50


def test_two_processes_that_call_repeatable_compute_the_same_bits():
    program = (
        "import torch\nfrom mtl_lib.training import repeatable\nrepeatable(1)\n"
        "torch.manual_seed(0)\n"
        "print(torch.nn.Conv2d(3, 8, 3)(torch.rand(4, 3, 32, 32)).sum().item(),"
        "torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": threads},
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1
    assert found.pop().split()[1:] == ["1", "True"]


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads is 0"):
        training.repeatable(0)
