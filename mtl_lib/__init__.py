"""Companion library of the book Multi-Task Learning for Image Generation.

Import the modules, for instance ``from mtl_lib.training import fit``: each has its own page in the
book's reference.
"""
