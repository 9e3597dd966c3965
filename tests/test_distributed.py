"""Training on several processes.

Run by torchrun, this file is also the program that they execute, see `main`. A start costs seconds
of imports: one does all that ends well, and two more are one run, killed and started again.
"""

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mtl_lib import balancing, distributed
from mtl_lib.balancing import Fixed, PCGrad, UPGrad
from mtl_lib.data.batches import Batches
from mtl_lib.networks import HardSharing
from mtl_lib.training import NonFiniteError, best_device, fit

TASKS = ("a", "b", "c")
BALANCERS = {
    **{method.__name__: method for method in balancing.Aggregation.__subclasses__()},
    "PCGrad in chunks": lambda: PCGrad(chunks=2),
    "Fixed": lambda: Fixed({"a": 1, "b": 2, "c": 0.5}),
    "Uncertainty": lambda: balancing.Uncertainty(TASKS),
    "DWA": lambda: balancing.DWA(TASKS, window=2),
    "GradNorm": lambda: balancing.GradNorm(TASKS),
    "FAMO": lambda: balancing.FAMO(TASKS),
    "RLW": balancing.RLW,
    "GeometricMean": balancing.GeometricMean,
    "SmoothTchebycheff": balancing.SmoothTchebycheff,
}
STEPS = 12
DATA = {"x": torch.randn(40, 3, generator=torch.Generator().manual_seed(1)).double()}


class Model(HardSharing):
    """Losses that are means over the batch and draw nothing; tasks that are in conflict."""

    def __init__(self, *layers):
        trunk = nn.Sequential(nn.Linear(3, 6), *layers, nn.Tanh(), nn.Linear(6, 5), nn.Tanh())
        super().__init__(trunk, {task: nn.Linear(5, 2) for task in TASKS})
        self.double()

    def losses(self, batch):
        targets = {"a": 1.0, "b": -2.0, "c": 0.5}
        return {t: (y - targets[t]).square().mean() for t, y in self(batch["x"]).items()}


class Noisy(Model):
    """An exact resumption has to know what each process drew."""

    def __init__(self):
        super().__init__(nn.Dropout(0.3), nn.BatchNorm1d(6))
        self.drawn = []

    def losses(self, batch):
        noise = torch.randn_like(batch["x"])
        self.drawn.append(noise[0, 0].item())
        return super().losses({"x": batch["x"] + 0.1 * noise})


class Broken(Model):
    """One process meets a number that is none."""

    def losses(self, batch):
        found = super().losses(batch)
        bad = (batch["x"] == DATA["x"][-1]).all(1).any()  # the last row is the last process's
        return {**found, "b": found["b"] * (torch.nan if bad else 1)}


def train(make, model=Model, batches=None, steps=STEPS, **options):
    """From the same seeds everywhere; but what process 1 starts with counts for nothing."""
    torch.manual_seed(distributed.rank())
    model, balancer = model(), make()
    adam = torch.optim.Adam([*model.parameters(), *balancer.parameters()], lr=0.02)
    torch.manual_seed(5)
    batches = Batches(DATA, 8) if batches is None else batches
    history = fit(model, batches, steps=steps, optimizer=adam, balancer=balancer, **options)
    return {
        "parameters": torch.cat([value.flatten() for value in model.state_dict().values()]),
        "losses": history.losses,
        "weights": history.weights,
        "validation": history.validation,
        "drawn": getattr(model, "drawn", None),
        "next draw": torch.rand(()).item(),
    }


# What the processes do


def main(folder, task):
    folder = Path(folder)
    if task == "all":
        distributed.join()
        found = everything(folder)
    else:
        batches = partial(deadly, Batches(DATA, 8), folder)
        found = train(UPGrad, Noisy, batches, 30, checkpoint=folder / "run.pt", checkpoint_every=5)
    torch.save(found, folder / f"{task}-{distributed.rank()}.pt")


def everything(folder):
    own = folder / str(distributed.rank())  # a folder that the other one cannot see, say
    return {
        **{name: train(make) for name, make in BALANCERS.items()},
        "wrapped": wrapped(),
        "noisy": train(UPGrad, Noisy, steps=30),
        "validated": train(Fixed, validate=lambda: {"rank": distributed.rank()}, validate_every=5),
        "broken": message(lambda: train(UPGrad, Broken, lambda step: DATA)),
        "odd": message(lambda: train(UPGrad, batches=lambda step: {"x": DATA["x"][:7]})),
        "through": message(lambda: balancing.through(UPGrad(), torch.ones(1), dict)),
        "shortened": train(UPGrad, steps=5, checkpoint=own / "short.pt"),
        "resumed": train(UPGrad, checkpoint=own / "alone.pt"),
        "order": message(lambda: distributed.average_losses(in_any_order())),
        "gradients": gradients(),
        "turned": distributed.average(DATA["x"].T * distributed.rank()),
        "joined again": (distributed.join(), distributed.processes())[1],
        "device": str(best_device()),
    }


def wrapped():
    """The plain sum by PyTorch's own wrapper."""
    torch.manual_seed(0)
    model = Model()

    class Total(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, batch):
            return sum(self.model.losses(batch).values())

    parallel, batches = DistributedDataParallel(Total()), Batches(DATA, 8)
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(STEPS):
        adam.zero_grad()
        parallel(distributed.part(batches(step))).backward()
        adam.step()
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def gradients():
    """Of a parameter that has none, one that process 0 alone has, and one that is fixed."""
    none, one, fixed = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    fixed.requires_grad_(False)
    one.grad = torch.ones(2) if distributed.rank() == 0 else None
    distributed.average_gradients([none, one, fixed])
    return none.grad, one.grad, fixed.grad


def in_any_order():
    names = ["a", "b"] if distributed.rank() else ["b", "a"]
    return {name: torch.ones(()) for name in names}


def message(call):
    try:
        call()
    except (NonFiniteError, RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def deadly(batches, folder, step):
    """Process 1 is killed in step 12, once."""
    if distributed.rank() == 1 and step == 12 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return batches(step)


# What is expected of them


def torchrun(folder, task):
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, "-m", *launcher, __file__, str(folder), task],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MTL_QUIET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    train(UPGrad, steps=5, checkpoint=folder / "0" / "alone.pt")  # two processes go on from here
    run = torchrun(folder, "all")
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture(scope="module")
def both(folder):
    """What both processes found."""
    return [torch.load(folder / f"all-{rank}.pt") for rank in range(2)]


def assert_same(found, expected):
    """Up to the rounding of double precision, which twelve steps of Adam enlarge."""
    torch.testing.assert_close(found["parameters"], expected["parameters"], rtol=0, atol=1e-9)
    for kind in ("losses", "weights"):
        for task in TASKS:
            assert found[kind][task] == pytest.approx(expected[kind][task], abs=1e-8)


@pytest.mark.parametrize("name", BALANCERS)
def test_two_processes_with_half_the_batch_equal_one_with_the_whole_batch(name, both):
    expected = train(BALANCERS[name])
    for found in both:
        assert_same(found[name], expected)
    assert torch.equal(both[0][name]["parameters"], both[1][name]["parameters"])


def test_every_method_of_the_library_is_among_those_compared():
    abstract = {"Aggregation", "Balancer", "Scalarization", "through"}
    assert BALANCERS.keys() >= set(balancing.__all__) - abstract


def test_the_weighted_sum_agrees_with_distributed_data_parallel_of_pytorch(both):
    expected = train(Fixed)
    torch.testing.assert_close(both[0]["wrapped"], expected["parameters"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("make", "linear"), [(Fixed, True), (PCGrad, False), (UPGrad, False)])
def test_to_balance_first_and_average_then_is_right_for_a_weighted_sum_only(make, linear):
    def step(parts):
        torch.manual_seed(0)
        model = Model()
        for part in parts:
            torch.manual_seed(5)
            make().backward(model.losses({"x": part}), model.shared_parameters())
        return torch.cat([p.grad.flatten() for p in model.shared_parameters()]) / len(parts)

    x = DATA["x"][:8]
    difference = (step(x.split(4)) - step([x])).norm() / step([x]).norm()
    assert (difference < 1e-12) if linear else (difference > 0.01)


def test_each_process_draws_random_numbers_of_its_own(both):
    one, other = (found["noisy"]["drawn"] for found in both)
    assert len(one) == len(other) == 30
    assert not set(one) & set(other)
    assert len(set(other)) == 30


def test_processes_end_alike_also_where_buffers_followed_their_own_part(both):
    one, other = (found["noisy"] for found in both)
    assert torch.equal(one["parameters"], other["parameters"])
    assert one["next draw"] == other["next draw"]


def test_validation_is_the_mean_over_processes(both):
    for found in both:
        assert found["validated"]["validation"] == {"step": [5, 10, 12], "rank": [0.5] * 3}


def test_a_loss_that_is_not_finite_in_one_process_stops_all_and_names_it(both):
    for found in both:
        assert re.match(
            r"NonFiniteError: .* task 'b' is nan in step 0, in process 1\.", found["broken"]
        )


def test_a_batch_that_cannot_be_shared_equally_is_refused_with_the_numbers(both):
    for found in both:
        assert re.match(
            r"ValueError: a batch has 7 rows, which 2 processes .* make it 8", found["odd"]
        )


def test_a_representation_is_not_averaged_over_processes(both):
    assert re.match(r"RuntimeError: through\(\) .* and 2 train together", both[0]["through"])


def test_a_parameter_without_gradient_stays_without_and_one_missing_counts_as_zero(both):
    for found in both:
        none, one, fixed = found["gradients"]
        assert none is None
        assert fixed is None
        assert one.tolist() == [0.5, 0.5]


def test_a_tensor_of_any_layout_is_averaged(both):
    for found in both:
        assert torch.equal(found["turned"], DATA["x"].T / 2)


def test_tasks_that_differ_between_processes_are_refused(both):
    for rank, found in enumerate(both):
        assert re.match(rf"ValueError: process {rank} has losses .* not from a set", found["order"])


def test_joining_again_changes_nothing(both):
    assert [found["joined again"] for found in both] == [2, 2]


def test_a_run_goes_on_with_more_processes_and_process_0_alone_has_to_find_the_file(both, folder):
    expected = train(UPGrad)
    for found in both:
        assert_same(found["resumed"], expected)
    assert not (folder / "1").exists()


def test_a_run_goes_on_with_fewer_processes(both, folder):
    assert_same(train(UPGrad, checkpoint=folder / "0" / "short.pt"), train(UPGrad))


@pytest.fixture(scope="module")
def killed(folder):
    return torchrun(folder, "killed")


def test_where_one_process_is_killed_the_run_ends_with_an_error_that_says_what_to_do(killed):
    assert killed.returncode == 1
    assert "ProcessLostError: process 0 cannot go on without the others: " in killed.stderr
    assert re.search(r"Then start the same\s+command again\.", killed.stderr)
    assert "12 steps were done; checkpoint: " in killed.stderr


def test_a_killed_run_goes_on_and_ends_like_one_that_was_never_killed(killed, both, folder):
    assert len(torch.load(folder / "run.pt")["history"]["seconds"]) == 10
    run = torchrun(folder, "killed")
    assert run.returncode == 0, run.stderr
    for rank, found in enumerate(both):
        again = torch.load(folder / f"killed-{rank}.pt")
        assert torch.equal(again["parameters"], found["noisy"]["parameters"])
        assert again["losses"] == found["noisy"]["losses"]


# Without other processes


def pretend(monkeypatch, rank, processes):
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "processes", lambda: processes)


@pytest.mark.parametrize("processes", [1, 2, 3, 6])
def test_the_parts_of_all_processes_are_the_batch(monkeypatch, processes):
    batch = {"x": torch.arange(12), "y": [torch.arange(6), (torch.arange(24).reshape(6, 4),)]}
    parts = []
    for rank in range(processes):
        pretend(monkeypatch, rank, processes)
        parts.append(distributed.part(batch))
    assert torch.equal(torch.cat([part["x"] for part in parts]), batch["x"])
    assert torch.equal(torch.cat([part["y"][0] for part in parts]), batch["y"][0])
    assert torch.equal(torch.cat([part["y"][1][0] for part in parts]), batch["y"][1][0])
    assert len({len(part["x"]) for part in parts}) == 1


def test_what_has_no_rows_is_kept_whole(monkeypatch):
    pretend(monkeypatch, 1, 2)
    found = distributed.part({"style": "flat", "beta": torch.tensor(0.5), "n": 3, "none": None})
    assert found == {"style": "flat", "beta": torch.tensor(0.5), "n": 3, "none": None}


def test_fewer_rows_than_processes_are_refused(monkeypatch):
    pretend(monkeypatch, 0, 4)
    with pytest.raises(ValueError, match=r"has 0 rows, which 4 processes.*make it 4 rows"):
        distributed.part(torch.zeros(0, 2))
    with pytest.raises(ValueError, match=r"has 3 rows, which 4 processes.*make it 4 rows"):
        distributed.part(torch.zeros(3, 2))


def test_one_process_keeps_everything_as_it_is(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    distributed.join()
    batch, loss = {"x": torch.ones(3)}, torch.ones((), requires_grad=True)
    assert (distributed.rank(), distributed.processes()) == (0, 1)
    assert distributed.part(batch) is batch
    assert distributed.average_losses({"a": loss})["a"] is loss
    assert distributed.average(batch["x"]) is distributed.broadcast(batch["x"]) is batch["x"]


@pytest.fixture
def handler():
    """Whatever a test does to the handler of SIGTERM is undone."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("handler")
def test_a_process_that_is_told_to_stop_says_so_and_is_left_in_peace_until_it_has(monkeypatch):
    pretend(monkeypatch, 0, 2)
    with (
        pytest.raises(distributed.ProcessLostError, match=r"process 0 .* told to stop"),
        distributed.last_words(),
    ):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


@pytest.mark.usefixtures("handler")
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN])
def test_the_handler_of_signals_is_afterwards_what_it_was(monkeypatch, processes, before):
    pretend(monkeypatch, 0, processes)
    signal.signal(signal.SIGTERM, before)
    with distributed.last_words():
        heard = signal.getsignal(signal.SIGTERM) != before
    assert heard == (processes == 2 and before == signal.SIG_DFL)
    assert signal.getsignal(signal.SIGTERM) == before


def environment(monkeypatch, **values):
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", **values}.items():
        monkeypatch.setenv(name, str(value))


def test_a_process_does_not_wait_forever_for_the_others(monkeypatch):
    environment(monkeypatch, MASTER_PORT=1)  # where nobody answers
    with pytest.raises(distributed.ProcessLostError, match="process 1 cannot go on"):
        distributed.join("cpu", timeout=1)
    assert distributed.processes() == 1


@pytest.mark.parametrize(
    ("gpus", "place", "device"), [(0, 1, "cpu"), (1, 1, "cuda:0"), (4, 2, "cuda:2")]
)
def test_each_process_gets_a_device_of_its_own(monkeypatch, gpus, place, device):
    environment(monkeypatch, MASTER_PORT=1, LOCAL_RANK=place)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert best_device() == torch.device(device)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    environment(monkeypatch, MASTER_PORT=1, LOCAL_RANK=2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="process 2, from 0, on a machine with 2 GPUs"):
        best_device()


if __name__ == "__main__":
    main(*sys.argv[1:])
