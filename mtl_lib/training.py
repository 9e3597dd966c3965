"""One training loop for every chapter: history, validation, checkpoints, exact resumption."""

import io
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from mtl_lib import distributed
from mtl_lib.balancing import Balancer, Fixed

__all__ = [
    "CheckpointError",
    "History",
    "NonFiniteError",
    "Trainable",
    "best_device",
    "fit",
    "repeatable",
    "to_device",
]


class NonFiniteError(ArithmeticError):
    """A loss or a gradient is infinite or not a number; nothing was changed by that step."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or belongs to another run."""


class Trainable(Protocol):
    """A module that computes its own losses.

    A method ``shared_parameters()`` tells balancers what all tasks share; without one, that is
    everything.
    """

    def losses(self, batch: Any) -> Mapping[str, Tensor]:
        """Return ``{task: scalar}`` for one batch."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of `torch.nn.Module`, like all that follows."""

    def train(self, mode: bool = True) -> Any:
        """Switch between training and evaluation."""

    def state_dict(self) -> dict[str, Any]:
        """Everything to store."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Restore what was stored."""


@dataclass(repr=False)
class History:
    """What happened, one entry a step, and one a validation.

    Args:
        losses: ``{task: losses}``, before the step changes the parameters.
        weights: ``{task: weights}``, the factor of each loss in that step.
        seconds: time since the start at the end of each step, without validation and checkpoints,
            and without what lay between an interruption and its resumption.
        validation: ``{"step": steps done}`` and ``{name: values}`` of what the hook returned.
    """

    losses: dict[str, list[float]] = field(default_factory=dict)
    weights: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    validation: dict[str, list[float]] = field(default_factory=dict)

    def __repr__(self) -> str:
        last = ", ".join(f"{task} {losses[-1]:.4g}" for task, losses in self.losses.items())
        return f"<History of {self.steps} steps; last losses: {last or 'none'}>"

    @property
    def steps(self) -> int:
        """How many steps were done."""
        return len(self.seconds)

    def append(
        self, losses: Mapping[str, float], weights: Mapping[str, float], seconds: float
    ) -> None:
        """Add one step that took ``seconds``."""
        for table, values in ((self.losses, losses), (self.weights, weights)):
            for task, value in values.items():
                table.setdefault(task, []).append(value)
        self.seconds.append(seconds + (self.seconds[-1] if self.seconds else 0.0))


def fit(
    model: Trainable,
    batches: Callable[[int], Any],
    *,
    steps: int,
    optimizer: torch.optim.Optimizer,
    balancer: Balancer | None = None,
    schedule: LRScheduler | None = None,
    clip: float = math.inf,
    validate: Callable[[], Mapping[str, float]] | None = None,
    validate_every: int = 100,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    title: str = "",
) -> History:
    """Train a model on one or many tasks.

    With a checkpoint, training that was interrupted goes on where the file was written last, and
    ends with the same parameters, bit for bit, as if nothing had happened. That holds on one
    machine, where batches are a function of the step, and randomness in the losses comes from
    PyTorch's generators.

    Under ``torchrun`` the processes train together, each on its part of every batch, see
    `mtl_lib.distributed`: every one has to call this. Process 0 writes the checkpoint, and it alone
    has to find it; the number of processes may change from one start to the next.

    Args:
        model: its ``losses(batch)`` gives ``{task: scalar}``.
        batches: step, from 0 on, -> batch: tensors in any nesting of dicts, lists and tuples. They
            are moved to the model's device.
        steps: in all, those before an interruption included.
        optimizer: over the model's parameters, and the balancer's where it learns any.
        balancer: turns losses into gradients; the plain sum where left out.
        schedule: of the learning rate, advanced after every step.
        clip: largest norm of the gradient of the model's parameters.
        validate: called without gradients and in evaluation mode, every ``validate_every`` steps
            and at the end; what it draws at random does not disturb training. Every process calls
            it, and the history has the mean.
        validate_every: steps from one validation to the next.
        checkpoint: file to write every ``checkpoint_every`` steps and at the end, and to go on
            from where it exists.
        checkpoint_every: steps from one checkpoint to the next.
        title: of the progress bar, which appears where training takes longer than a second, and
            not if the environment variable MTL_QUIET is set.

    Returns:
        The history, from step 0 on.

    Raises:
        NonFiniteError: names the task and the step. The parameters are those before that step,
            and the last checkpoint is kept.
        CheckpointError: the checkpoint is damaged, of another model, or beyond ``steps``.
        ProcessLostError: another process is gone.
        ValueError: an argument is out of range, the balancer refuses the losses, or a batch does
            not divide by the number of processes.

    Example:
        >>> from mtl_lib.networks import HardSharing
        >>> class Model(HardSharing):
        ...     def losses(self, batch):
        ...         return {task: y.square().mean() for task, y in self(batch["x"]).items()}
        >>> model = Model(nn.Linear(2, 3), {"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)})
        >>> adam = torch.optim.Adam(model.parameters())
        >>> history = fit(model, lambda step: {"x": torch.ones(4, 2)}, steps=5, optimizer=adam)
        >>> history.steps, list(history.losses)
        (5, ['a', 'b'])
    """
    _check_counts(steps=steps, validate_every=validate_every, checkpoint_every=checkpoint_every)
    if not clip > 0:
        raise ValueError(f"clip is {clip}, wanted a norm above 0: leave it out for no clipping.")
    balancer = Fixed() if balancer is None else balancer
    parameters = list(model.parameters())
    shared = list(getattr(model, "shared_parameters", model.parameters)())
    others = [p for group in optimizer.param_groups for p in group["params"]]
    learned = list(dict.fromkeys([*parameters, *others]))
    device = parameters[0].device
    file = None if checkpoint is None else Path(checkpoint)
    parts = {"model": model, "optimizer": optimizer, "balancer": balancer, "schedule": schedule}
    distributed.join(device)
    history = History() if file is None else _resumed(file, parts, steps, device)
    distributed.share(model.state_dict(), balancer.state_dict())
    seed = distributed.broadcast_object(torch.initial_seed(), device)

    def step(number: int) -> tuple[dict[str, float], dict[str, float]]:
        batch = to_device(distributed.part(batches(number)), device)
        distributed.draw_apart(seed, number)
        own = model.losses(batch)
        losses = distributed.average_losses(own)
        values = _numbers(losses)
        _refuse_non_finite(values, own, number)
        optimizer.zero_grad()
        weights = balancer.backward(losses, shared)
        distributed.average_gradients(learned)
        _clip(parameters, clip, number)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        balancer.after_step(lambda: distributed.average_losses(model.losses(batch)))
        return values, _numbers(weights)

    model.train()
    with _in_company(history, file):
        for number in _progress(history.steps, steps, title):
            start = time.perf_counter()
            losses, weights = step(number)
            history.append(losses, weights, time.perf_counter() - start)
            done = number + 1
            if validate is not None and (done % validate_every == 0 or done == steps):
                _validate(model, validate, history, device)
            if file is not None and (done % checkpoint_every == 0 or done == steps):
                _save(file, parts, history, device)
        # Buffers may have followed the own part of the data.
        distributed.share(model.state_dict(), balancer.state_dict())
        _set_random_state(distributed.broadcast_object(_random_state(device), device), device)
    return history


@contextmanager
def _in_company(history: History, file: Path | None) -> Iterator[None]:
    """Say where training stood when another process was lost."""
    with distributed.last_words():
        try:
            yield
        except distributed.ProcessLostError as error:
            rest = "name one to go on from" if file is None else "training goes on from it"
            error.add_note(f"{history.steps} steps were done; checkpoint: {file}; {rest}.")
            raise


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, wanted at least 1.")


def _numbers(values: Mapping[str, Tensor]) -> dict[str, float]:
    """All values in one transfer from the device."""
    if not values:
        return {}
    stacked = torch.stack([value.detach().reshape(()) for value in values.values()])
    return dict(zip(values, stacked.tolist(), strict=True))


def _refuse_non_finite(losses: Mapping[str, float], own: Mapping[str, Tensor], step: int) -> None:
    """Refuse in all processes together what is not finite in one."""
    for task, loss in losses.items():
        if not math.isfinite(loss):
            found = [math.isfinite(value) for value in distributed.gather(own[task].item())]
            where = f", in process {found.index(False)}" if len(found) > 1 else ""
            raise NonFiniteError(
                f"the loss of task {task!r} is {loss} in step {step}{where}. The parameters are "
                "those before this step. Look at the batch of this step, lower the learning rate, "
                "or pass clip=1.0."
            )


def _clip(parameters: list[nn.Parameter], clip: float, step: int) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if not math.isfinite(norm.item()):
        raise NonFiniteError(
            f"the gradient is not finite in step {step}, though every loss is. The parameters are "
            "those before this step. Look for a division by zero or the root of zero in a loss."
        )
    if norm > clip:
        nn.utils.clip_grads_with_norm_(parameters, clip, norm)


def _validate(
    model: Trainable,
    validate: Callable[[], Mapping[str, float]],
    history: History,
    device: torch.device,
) -> None:
    model.train(False)
    gpus = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(gpus):
        found = validate()
    model.train()
    everyone = distributed.gather({name: float(value) for name, value in found.items()})
    history.validation.setdefault("step", []).append(float(history.steps))
    for name in found:
        mean = sum(values[name] for values in everyone) / len(everyone)
        history.validation.setdefault(name, []).append(mean)


def _progress(first: int, steps: int, title: str) -> Iterator[int]:
    quiet = bool(os.environ.get("MTL_QUIET")) or distributed.rank() > 0
    bar = tqdm(
        range(first, steps), title, initial=first, total=steps, disable=quiet, leave=False, delay=1
    )
    yield from bar


def _save(file: Path, parts: Mapping[str, Any], history: History, device: torch.device) -> None:
    """Write a checkpoint; a crash while writing leaves the one before."""
    if distributed.rank():
        return
    content = {name: part.state_dict() for name, part in parts.items() if part is not None}
    content |= {"history": asdict(history), "random": _random_state(device)}
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    torch.save(content, fresh)
    fresh.replace(file)


def _resumed(file: Path, parts: Mapping[str, Any], steps: int, device: torch.device) -> History:
    """Restore everything from a checkpoint; without one, start anew."""
    stored = file.read_bytes() if distributed.rank() == 0 and file.exists() else None
    stored = distributed.broadcast_object(stored, device)
    if stored is None:
        return History()
    cure = f"Delete {file} to start anew, or name another file."
    try:
        content = torch.load(io.BytesIO(stored), map_location=device, weights_only=True)
        history = History(**content["history"])
    except Exception as error:  # whatever a damaged file does to the reader
        raise CheckpointError(f"{file} cannot be read as a checkpoint: {error}. {cure}") from error
    if history.steps > steps:
        raise CheckpointError(
            f"{file} is at step {history.steps}, beyond steps={steps}. Ask for more steps. {cure}"
        )
    try:
        for name, part in parts.items():
            if part is not None:
                part.load_state_dict(content[name])
        _set_random_state(content["random"], device)
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{file} belongs to another run: {error}. {cure}") from error
    return history


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type in ("cuda", "mps"):
        states[device.type] = getattr(torch, device.type).get_rng_state()
    return states


def _set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"].cpu())
    if device.type in states and device.type != "cpu":
        getattr(torch, device.type).set_rng_state(states[device.type].cpu())


def to_device(batch: Any, device: torch.device | str) -> Any:
    """Move all tensors of a batch, in any nesting of dicts, lists and tuples, to a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def best_device() -> torch.device:
    """The fastest device of this machine: CUDA, then Apple's MPS, then the processor.

    Under ``torchrun`` it is that of this process: a GPU for each, or the processor for all.

    Raises:
        ValueError: there are more processes than GPUs.
    """
    if distributed.launched():
        return distributed.own_device()
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def repeatable(threads: int = 1) -> None:
    """Make runs on this machine repeatable: a fixed number of threads, deterministic algorithms.

    Sums over several threads are added in an order that depends on their number. Seeds are set
    where a run begins, with ``torch.manual_seed``.

    Args:
        threads: of PyTorch on the processor.

    Raises:
        ValueError: less than one thread.
    """
    _check_counts(threads=threads)
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA asks for
    torch.use_deterministic_algorithms(True, warn_only=True)
