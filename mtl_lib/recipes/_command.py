"""The command line that all recipes of generators have."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mtl_lib import weights

__all__ = ["arguments"]


def arguments(name: str, steps: int, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options of a recipe: ``steps``, ``checkpoint`` and ``folder``.

    Args:
        name: of the recipe, and of the weights that it stores.
        steps: as many as the stored weights were trained for.
        argv: the options; those of the command line where left out.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m mtl_lib.recipes.{name}",
        description=f"Train {name} and store its weights with their card.",
    )
    parser.add_argument("--steps", type=int, default=steps, help=f"{steps} by default")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="file to write during training, and to go on from where it exists",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=weights.FOLDER,
        help="where the weights go; into the package by default",
    )
    return parser.parse_args(argv)
