"""Checks for the practice exercises of the chapters: right, or a hint; never the answer.

In the cell below an exercise, put your answer in place of the dots and run the cell::

    answer = ...
    check("conflict-upgrad", answer)

A check runs what you hand in on inputs of its own, or works out the number that you should have
found. It is for learning: who reads its source finds the answer.
"""

from mtl_lib.exercises._practice import check

__all__ = ["check"]
