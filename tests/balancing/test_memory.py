"""How much memory a step with an aggregation takes beyond a plain one."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("resource")  # not on every system

TASKS, MILLIONS = 4, 16
PROGRAM = """
import resource, sys, torch
from torch import nn
from mtl_lib.balancing import Fixed, UPGrad
from mtl_lib.networks import HardSharing
torch.set_num_threads(1)
width = 2000  # four layers: 16 million shared parameters
trunk = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(4)))
model = HardSharing(trunk, {str(i): nn.Linear(width, 1) for i in range(4)})
x = torch.randn(2, width)
balancer = {"plain": Fixed, "whole": UPGrad, "chunks": lambda: UPGrad(chunks=4)}[sys.argv[1]]()
for _ in range(2):
    model.zero_grad()
    losses = {task: y.square().mean() for task, y in model(x).items()}
    balancer.backward(losses, model.shared_parameters())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(kind):
    """Largest resident size, in units of the shared parameters."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    unit = 1 if sys.platform == "darwin" else 1024
    return int(run.stdout) * unit / (4 * MILLIONS * 1e6)


def test_a_step_needs_at_most_tasks_plus_two_times_the_shared_parameters_more():
    assert peak("whole") - peak("plain") < TASKS + 2


def test_the_gramian_chunk_by_chunk_needs_less():
    assert peak("chunks") - peak("plain") < TASKS / 4 + 2
