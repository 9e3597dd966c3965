"""The same training on several processes, each with its part of every batch.

A script that calls `mtl_lib.training.fit` needs no change for it. ``torchrun``, which comes with
PyTorch, starts the processes, on one machine or many::

    torchrun --standalone --nproc-per-node 4 train.py

`fit` then does what this module is for, and a loop of one's own does the same in four lines:
`join` the others, keep the own `part` of each batch, `average_losses` before the balancer looks at
them, `average_gradients` after it. Up to rounding, that gives the parameters which one process
gives with the whole batches, for every balancer of `mtl_lib.balancing`. Where a process is lost,
the others end with `ProcessLostError`; the same command, or ``--max-restarts 3`` before the name of
the script, goes on from the checkpoint.

It holds for losses that are means over the examples of a batch and draw nothing at random. Batch
normalisation sees the examples of its own process only (`torch.nn.SyncBatchNorm` sees all of
them), and what losses draw at random, each process draws for itself. A loss over something other
than all examples alike, such as a mean over those with a label, is averaged over processes with
equal weights, even if some have fewer of them.

PyTorch's wrapper `torch.nn.parallel.DistributedDataParallel` averages gradients as well, and for a
weighted sum of losses both give the same. But it does so while *one* backward pass runs, one
average a parameter. The direction of an aggregation is no linear function of the task gradients: to
average the directions that the processes found is not to aggregate the averaged gradients. Thus the
task gradients have to be averaged before, one pass a task, and the wrapper cannot know when.
"""

import atexit
import os
import signal
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "ProcessLostError",
    "average",
    "average_gradients",
    "average_losses",
    "broadcast",
    "join",
    "part",
    "processes",
    "rank",
    "share",
]

T = TypeVar("T")


class ProcessLostError(RuntimeError):
    """Another process is gone, and this one cannot go on without it."""


def join(device: torch.device | str | None = None, *, timeout: float = 600.0) -> None:
    """Join the other processes, where ``torchrun`` or its like has started several.

    Otherwise, or if that was done before, nothing happens. `fit` calls it; call it first to wait
    for others no longer than you like.

    Args:
        device: of the model. On CUDA the processes talk through NCCL, on the processor through
            Gloo. `mtl_lib.training.best_device` where left out.
        timeout: seconds to wait for a process that is alive and silent. One that died is noticed
            at once, on the processor.

    Raises:
        ProcessLostError: not all processes came in time.
        ValueError: the processes were joined before by a backend that cannot serve the device, or
            there are more of them on this machine than GPUs.
    """
    device = own_device() if device is None else torch.device(device)
    if processes() > 1:
        if device.type not in dist.get_backend_config():
            raise ValueError(
                f"the model is on {device.type!r} and the processes are joined by "
                f"{dist.get_backend_config()}: move the model to best_device(), or let fit join "
                "the processes."
            )
    elif launched():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with _talking():
            dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
        atexit.register(_leave)


def launched() -> bool:
    """Whether this is one of several processes that ``torchrun`` or its like has started."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return all(os.environ.get(name) for name in names) and os.environ["WORLD_SIZE"] != "1"


def own_device() -> torch.device:
    """The device of one of several processes on a machine: a GPU for each, or the processor."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    place, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if 1 < count <= place:
        raise ValueError(
            f"this is process {place}, from 0, on a machine with {count} GPUs: start as many "
            f"processes, --nproc-per-node {count}, or hide the GPUs, CUDA_VISIBLE_DEVICES=''."
        )
    return torch.device("cuda", place if count > 1 else 0)  # a scheduler may show each its own


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def processes() -> int:
    """How many processes train together; 1 before `join`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0 on. Let number 0 print and write."""
    if processes() > 1:
        return dist.get_rank()
    return int(os.environ["RANK"]) if launched() else 0


def part(batch: Any) -> Any:
    """Keep the rows of this process: consecutive ones, as many for each.

    Args:
        batch: tensors, ``(n, ...)``, in any nesting of dicts, lists and tuples; n may differ. What
            is not a tensor, or a tensor without dimensions, is kept whole.

    Returns:
        The same nesting, with tensors ``(n / processes, ...)``, which share memory with the batch.

    Raises:
        ValueError: a number of rows does not divide by the number of processes.

    Example:
        >>> part({"x": torch.zeros(4, 3), "style": "flat"})["x"].shape
        torch.Size([4, 3])
    """
    if processes() == 1:
        return batch
    if isinstance(batch, Mapping):
        return {name: part(value) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(part(value) for value in batch)
    if not isinstance(batch, Tensor) or not batch.ndim:
        return batch
    rows, rest = divmod(len(batch), processes())
    if rest or not rows:
        raise ValueError(
            f"a batch has {len(batch)} rows, which {processes()} processes cannot share equally: "
            f"make it {max(1, round(len(batch) / processes())) * processes()} rows."
        )
    return batch[rank() * rows : (rank() + 1) * rows]


def average(tensor: Tensor) -> Tensor:
    """Replace a tensor by its mean over all processes, in place, and return it.

    Every process has to call it, in the same order and with the same shape.

    Raises:
        ProcessLostError: another process is gone.

    Example:
        >>> average(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    return _together(dist.all_reduce, tensor).div_(processes()) if processes() > 1 else tensor


def broadcast(tensor: Tensor) -> Tensor:
    """Replace a tensor by that of process 0, in place, and return it.

    Where a balancer draws at random, all processes follow what process 0 drew.

    Raises:
        ProcessLostError: another process is gone.
    """
    return _together(partial(dist.broadcast, src=0), tensor) if processes() > 1 else tensor


def _together(operation: Callable[[Tensor], object], tensor: Tensor) -> Tensor:
    dense = tensor.contiguous()  # as messages have to be
    with _talking():
        operation(dense)
    return tensor if dense is tensor else tensor.copy_(dense)


def broadcast_object(value: T, device: torch.device) -> T:
    """What process 0 has, anything that can be pickled."""
    if processes() == 1:
        return value
    box = [value]
    with _talking():
        dist.broadcast_object_list(box, 0, device=device)
    return box[0]


def share(*states: Mapping[str, Any]) -> None:
    """Give parameters and buffers the values that they have in process 0, in place.

    Args:
        states: what ``state_dict()`` of a module gave, the same modules in every process.

    Raises:
        ProcessLostError: another process is gone.
    """
    for state in states:
        for value in state.values():
            if isinstance(value, Tensor):
                broadcast(value)


def average_losses(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each loss its mean over all processes for a value, and leave its gradient alone.

    Methods that look at the values of the losses thus see what one process would see with the
    whole batch. Gradients are those of the own part, until they are averaged too.

    Args:
        losses: ``{task: scalar}``, the same tasks in the same order in every process.

    Raises:
        ProcessLostError: another process is gone.
        ValueError: another process has other tasks, or in another order.

    Example:
        >>> average_losses({"a": torch.tensor(2.0)})
        {'a': tensor(2.)}
    """
    if processes() == 1 or not losses:
        return dict(losses)
    own = torch.stack([loss.detach().double() for loss in losses.values()])
    names = zlib.crc32(repr(list(losses)).encode())  # survives the mean where all agree
    *values, mean = average(torch.cat([own, own.new_tensor([names])]))
    if mean != names:
        raise ValueError(
            f"process {rank()} has losses of the tasks {list(losses)}, another one has others, or "
            "in another order: build the dict alike in every process, not from a set."
        )
    return {
        task: _Valued.apply(loss, value.to(loss.dtype))
        for (task, loss), value in zip(losses.items(), values, strict=True)
    }


class _Valued(torch.autograd.Function):
    """A loss with another value; what comes back goes to the loss as it is."""

    @staticmethod
    def forward(_: Any, loss: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace ``.grad`` of all parameters by its mean over all processes, in one message a device.

    Gradients that are alike already, as those of an aggregation are, stay as they are.

    Args:
        parameters: the same in every process. One without a gradient counts as zero, and stays
            without if no process has one.

    Raises:
        ProcessLostError: another process is gone.
    """
    if processes() == 1:
        return
    groups: dict[torch.device, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            groups.setdefault(parameter.device, []).append(parameter)
    for learned in groups.values():
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
        there = gradients[0].new_tensor([p.grad is not None for p in learned])
        flat = average(torch.cat([*(gradient.flatten() for gradient in gradients), there]))
        *means, there = torch.split(flat, [*map(torch.numel, gradients), len(learned)])
        for parameter, gradient, mean, found in zip(
            learned, gradients, means, there.tolist(), strict=True
        ):
            if found:
                parameter.grad = gradient.copy_(mean.view_as(gradient))


def gather(value: T) -> list[T]:
    """What every process has, anything that can be pickled, in the order of their numbers."""
    if processes() == 1:
        return [value]
    found: list[Any] = [None] * processes()
    with _talking():
        dist.all_gather_object(found, value)
    return found


def draw_apart(seed: int, step: int) -> None:
    """Let each process draw random numbers of its own in this step.

    Process 0 goes on with those of the script. What the others draw depends on nothing but the
    arguments, so that a checkpoint need not know about them.
    """
    if rank():
        (own,) = np.random.SeedSequence((seed, step, rank())).generate_state(1, np.uint64)
        torch.manual_seed(int(own))


@contextmanager
def last_words() -> Iterator[None]:
    """Let a process that the launcher stops, since another one failed, say so.

    ``torchrun`` sends SIGTERM to all that are left, which would end them without a word.
    """
    heard = threading.current_thread() is threading.main_thread()
    if processes() == 1 or not heard or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield  # somebody else listens
        return

    def stop(*_: object) -> None:
        raise _lost("this process was told to stop (SIGTERM)")

    signal.signal(signal.SIGTERM, stop)
    after: Any = signal.SIG_DFL
    try:
        yield
    except ProcessLostError:
        after = signal.SIG_IGN  # it is about to end by itself, and has something to say before
        raise
    finally:
        signal.signal(signal.SIGTERM, after)


@contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except ProcessLostError:
        raise
    except RuntimeError as error:
        raise _lost(error) from error


def _lost(reason: object) -> ProcessLostError:
    return ProcessLostError(
        f"process {rank()} cannot go on without the others: {reason}. One "
        "of them failed, was killed (for want of memory, or by the scheduler), or cannot be "
        "reached: look for its message, and for the first failure in the launcher's report. Then "
        "start the same command again."
    )
