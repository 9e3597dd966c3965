"""Settings shared by all tests."""

import sys
from pathlib import Path

import torch
from hypothesis import settings

# The book's tools and extensions are scripts, not an installed package: tests import them by name.
ROOT = Path(__file__).parents[1]
SCRIPTS = ("book/tools", "book/_ext", "assignments/tools")
sys.path[:0] = [str(ROOT / folder) for folder in SCRIPTS]

torch.set_num_threads(1)  # the sums of one thread are the same on every run

# The same examples on every run, and no time limit an example: machines differ.
settings.register_profile("book", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("book")
