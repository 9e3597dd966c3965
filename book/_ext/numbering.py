"""Sphinx extension: number figures and exercises from 1 on every page.

Sphinx numbers them through the whole book, so a new chapter would renumber all that follow. A
chapter here stands on its own, and "Exercise 2" means its second one.
"""

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

__all__ = ["restart", "setup"]


def restart(app: Sphinx, env: BuildEnvironment) -> None:
    """Count anew on every page, in the order that Sphinx found."""
    for kinds in env.toc_fignumbers.values():
        for numbers in kinds.values():
            ordered = sorted(numbers, key=numbers.__getitem__)
            numbers.update({name: (place,) for place, name in enumerate(ordered, start=1)})


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("env-check-consistency", restart)  # the first event after Sphinx has counted
    return {"parallel_read_safe": True, "parallel_write_safe": True}
