"""Trained networks that travel with the package: small files, a checksum, and a card for each.

``NAME.pt`` holds the parameters in half precision. ``NAME.json``, its card, says what the network
was trained on and how well it does, and holds the checksum of the other file. The recipes in
``mtl_lib.recipes`` write both, so every stored number can be made again.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from mtl_lib.data.fashion import CorruptDataError

__all__ = ["FOLDER", "card", "load", "names", "save"]

FOLDER = Path(__file__).parent / "assets" / "weights"

_CURE = "Restore it: check the file out again, reinstall mtl_lib, or run its recipe."

Module = TypeVar("Module", bound=nn.Module)


def save(module: nn.Module, name: str, card: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Store a network's parameters and buffers in half precision, and its card.

    Measure what goes into the card after rounding the parameters, ``module.half().float()``, so
    that it is true of what is stored.

    Args:
        module: the network.
        name: of the two files.
        card: JSON data: what it is, data, steps, seed, measurements.
        folder: where to write; the package by default.

    Returns:
        The path of the parameters.
    """
    state = {
        key: value.detach().cpu().half() if value.is_floating_point() else value.cpu()
        for key, value in module.state_dict().items()
    }
    buffer = io.BytesIO()  # the file's name would become part of the content
    torch.save(state, buffer)
    content = buffer.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pt"
    path.write_bytes(content)
    full = {"name": name, **card, "precision": "float16", "sha256": _checksum(content)}
    path.with_suffix(".json").write_text(json.dumps(full, indent=2) + "\n", encoding="utf-8")
    return path


def load(module: Module, name: str, folder: Path = FOLDER) -> Module:
    """Fill a network with stored parameters; it comes back frozen and in evaluation mode.

    Args:
        module: a network of the architecture that was stored; it is changed.
        name: of the stored network, one of `names`.
        folder: where it lies.

    Returns:
        The module.

    Raises:
        CorruptDataError: a file is missing, truncated or altered.
        RuntimeError: the parameters are of another architecture.

    Example:
        >>> from mtl_lib.networks import Classifier
        >>> network = load(Classifier(1, 10, size=28), "fashion_classifier")
        >>> network.scores(torch.zeros(1, 1, 28, 28)).shape
        torch.Size([1, 10])
    """
    wanted = card(name, folder)["sha256"]
    path = folder / f"{name}.pt"
    content = _read(path)
    seen = _checksum(content)
    if seen != wanted:
        raise CorruptDataError(
            f"{path} is truncated or altered: it has SHA-256 {seen}, wanted {wanted}. {_CURE}"
        )
    module.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
    return module.requires_grad_(False).eval()


def card(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """What is known about a stored network: data, steps, seed, measurements, checksum.

    Args:
        name: of the stored network, one of `names`.
        folder: where it lies.

    Raises:
        CorruptDataError: the card is missing, or cannot be read.

    Example:
        >>> card("fashion_classifier")["data"]
        'fashion.load("train")'
    """
    path = folder / f"{name}.json"
    try:
        found: dict[str, Any] = json.loads(_read(path))
        found["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptDataError(f"{path} is no card of a network ({error!r}). {_CURE}") from error
    return found


def names(folder: Path = FOLDER) -> list[str]:
    """The networks that are stored, sorted."""
    return sorted(path.stem for path in folder.glob("*.json"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CorruptDataError(f"{path} is missing. {_CURE}") from error


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
