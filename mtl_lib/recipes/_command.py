"""What all recipes share: the options of a generator's command line, and the last step."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from mtl_lib import weights
from mtl_lib.networks import count_parameters

__all__ = ["arguments", "rounded", "store"]

Network = TypeVar("Network", bound=nn.Module)


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


def store(
    model: Network,
    name: str,
    measure: Callable[[Network], dict[str, Any]],
    card: dict[str, Any],
    folder: Path = weights.FOLDER,
) -> None:
    """Round to half precision, measure what is left, store it with its card, say what was found.

    Args:
        model: on the processor.
        name: of the weights.
        measure: gives the card's entry "measured".
        card: everything else: "model", "purpose", "data", "steps", "batch", "seed", "recipe", and
            "licence" where it is not MIT.
        folder: where the weights go.
    """
    model.half().float()  # what is measured is what is stored
    found = measure(model)
    about = {"licence": "MIT", **card, "parameters": count_parameters(model), "measured": found}
    print(f"{weights.save(model, name, about, folder).name}: {found}")


def rounded(numbers: dict[str, float], digits: int = 4) -> dict[str, float]:
    """Round what a card says."""
    return {name: round(value, digits) for name, value in numbers.items()}
