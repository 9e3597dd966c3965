"""The painter: ten factors and the headwear in, a portrait and the whole body of that person out.

    python -m mtl_lib.recipes.painter

One trunk and two heads, small enough to draw both pictures anew on a phone while a slider moves.
`export` writes it as a script for the book's live page, ``playground/index.html``.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mtl_lib import metrics, weights
from mtl_lib.data import figurines
from mtl_lib.networks import FiLM, HardSharing, count_flops, count_parameters
from mtl_lib.recipes._command import arguments, rounded, store
from mtl_lib.training import best_device, fit, repeatable

__all__ = [
    "NAME",
    "SCRIPT",
    "Painter",
    "export",
    "inputs",
    "main",
    "measure",
    "network",
    "people",
    "read",
    "train",
]

NAME = "painter"
SCRIPT = "weights.js"
_SIZE = 64
_CODE = 128
_CHANNELS = (40, 28, 16)  # of the maps of 8, 16 and 32 pixels
_LAYERS = 8
_GROUPS = 4  # of channels, normalised together
_SLOPE = 0.2
_SEED = 0
_STEPS = 22_000
_BATCH = 16
_LEARNING_RATE = 0.01
_MEASURED = 1000  # people
_PREFIX = "window.painter = "


class Painter(HardSharing):
    """One trunk for both pictures, one head for each: ``(n, 15) -> {view: (n, 3, 64, 64)}``.

    The trunk turns what is known about a person into a code and a small map that both heads read. A
    head doubles the map three times, normalised and then tuned by the code channel by channel
    (`FiLM`), cuts the picture into eight soft layers, and gives each layer one colour that it reads
    from the code.
    """

    def __init__(self) -> None:
        super().__init__(_Trunk(), {view: _Head() for view in figurines.VIEWS})

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``{view: mean squared error}``, in thousandths, for a batch of `people`."""
        images = self(batch["x"])
        return {view: 1000 * functional.mse_loss(images[view], batch[view]) for view in self.tasks}


class _Trunk(nn.Module):
    """``(n, 15) -> ((n, code), (n, channels, 8, 8))``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(len(figurines.FACTORS) + len(figurines.CLASSES), _CODE)
        self.second = nn.Linear(_CODE, _CODE)
        self.map = nn.Linear(_CODE, _CHANNELS[0] * (_SIZE // 8) ** 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = _bend(self.second(_bend(self.first(x))))
        return code, _bend(self.map(code)).view(-1, _CHANNELS[0], _SIZE // 8, _SIZE // 8)


class _Head(nn.Module):
    """``((n, code), (n, channels, 8, 8)) -> (n, 3, 64, 64)``."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = _CHANNELS
        self.up = nn.ModuleList([_doubled(first, second), _doubled(second, third)])
        self.tune = nn.ModuleList([FiLM(second, _CODE), FiLM(third, _CODE)])
        self.layers = _doubled(third, _LAYERS)
        self.colours = nn.Linear(_CODE, 3 * _LAYERS)

    def forward(self, shared: tuple[Tensor, Tensor]) -> Tensor:
        code, h = shared
        for up, tune in zip(self.up, self.tune, strict=True):
            h = _bend(tune(functional.group_norm(up(h), _GROUPS), code))
        share: Tensor = self.layers(h).softmax(1).flatten(2)
        colour: Tensor = self.colours(code).sigmoid().view(-1, 3, _LAYERS)
        return (colour @ share).view(-1, 3, _SIZE, _SIZE)


def _bend(h: Tensor) -> Tensor:
    return functional.leaky_relu(h, _SLOPE)


def _doubled(channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """Twice as high and wide, by a kernel that reaches every pixel equally often."""
    return nn.ConvTranspose2d(channels, out_channels, 4, stride=2, padding=1)


def network() -> Painter:
    """The architecture of the stored weights."""
    return Painter()


def inputs(factors: Tensor, classes: Tensor) -> Tensor:
    """What the network reads: factors from −1 to 1, then 1 for the headwear worn and 0 for others.

    Args:
        factors: ``(n, 10)`` in [0, 1], columns as in ``figurines.FACTORS``.
        classes: ``(n,)`` indices into ``figurines.CLASSES``.

    Returns:
        ``(n, 15)``.
    """
    worn = functional.one_hot(classes, len(figurines.CLASSES))
    return torch.cat([2 * factors - 1, worn.to(factors)], dim=1)


def people(n: int, seed: int, split: str = "train") -> dict[str, Tensor]:
    """Draw people: ``{"x": (n, 15), "face": (n, 3, 64, 64), "body": as face}``.

    Args:
        n: how many.
        seed: of the people.
        split: one of ``figurines.SPLITS``.
    """
    drawn = figurines.dataset({"face": n, "body": n}, size=_SIZE, seed=seed, split=split)
    x = inputs(drawn["face"]["factors"], drawn["face"]["classes"])
    return {"x": x, **{view: images["rgb"] for view, images in drawn.items()}}


def train(steps: int = _STEPS, seed: int = _SEED, checkpoint: Path | None = None) -> Painter:
    """Train the network on new people in every batch.

    Args:
        steps: batches of 16 people.
        seed: of everything.
        checkpoint: file to write during training, and to go on from where it exists.
    """
    torch.manual_seed(seed)
    model = network().to(best_device())
    adam = torch.optim.Adam(model.parameters(), _LEARNING_RATE, fused=True)
    fit(
        model,
        # Seeds above a million: no chapter's people are among them.
        lambda step: people(_BATCH, seed=1_000_000 * (1 + seed) + step),
        steps=steps,
        optimizer=adam,
        schedule=torch.optim.lr_scheduler.OneCycleLR(adam, _LEARNING_RATE, total_steps=steps),
        checkpoint=checkpoint,
        title=NAME,
    )
    return model.cpu().eval()


@torch.no_grad()
def measure(model: Painter) -> dict[str, dict[str, float]]:
    """How close drawn people of the test split are to the real ones, in dB of PSNR.

    ``{"psnr", "psnr_of_average": {view: value}}``; the second is that of drawing the average image
    for everybody, the least that a network must beat.

    Args:
        model: what `train` gives.
    """
    real = people(_MEASURED, seed=0, split="test")
    found: dict[str, dict[str, float]] = {"psnr": {}, "psnr_of_average": {}}
    for view, images in model(real["x"]).items():
        average = real[view].mean(0, keepdim=True).expand_as(real[view])
        found["psnr"][view] = metrics.psnr(images, real[view])
        found["psnr_of_average"][view] = metrics.psnr(average, real[view])
    return {name: rounded(values, 2) for name, values in found.items()}


def export(folder: Path, model: Painter | None = None) -> Path:
    """Write the network for the live page: a script that runs in any browser, also from a folder.

    It assigns one object to ``window.painter``: names of factors and headwear, numbers about the
    network, ``tensors``, the name and the shape of each parameter in their order, and ``half``,
    all parameters in half precision, little-endian, as base64. A script and not a data file, since
    browsers refuse to load data from a folder.

    Args:
        folder: where to write `SCRIPT`; it is made where it is missing.
        model: the stored network where left out.

    Returns:
        The path of the script.

    Raises:
        ValueError: a parameter is not finite in half precision.
        CorruptDataError: the stored network is missing or damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = export(Path(folder), network())
        ...     file.name, sum(values.numel() for values in read(file).values())
        ('weights.js', 432072)
    """
    model = weights.load(network(), NAME) if model is None else model
    halves = {name: values.cpu().half() for name, values in model.state_dict().items()}
    for name, values in halves.items():
        if not bool(values.isfinite().all()):
            raise ValueError(
                f"{name} has values that are not finite in half precision: train again with a "
                "smaller learning rate."
            )
    content = b"".join(values.numpy().astype("<f2").tobytes() for values in halves.values())
    x = torch.zeros(1, len(figurines.FACTORS) + len(figurines.CLASSES))
    script: dict[str, Any] = {
        "factors": figurines.FACTORS,
        "headwear": figurines.CLASSES,
        "size": _SIZE,
        "slope": _SLOPE,
        "groups": _GROUPS,
        "parameters": count_parameters(model),
        "operations": count_flops(model.cpu(), x),
        "tensors": {name: list(values.shape) for name, values in halves.items()},
        "half": base64.b64encode(content).decode("ascii"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SCRIPT
    path.write_text(f"{_PREFIX}{json.dumps(script)};\n", encoding="ascii")
    return path


def read(path: Path) -> dict[str, Tensor]:
    """The parameters in a script that `export` has written, by name, in single precision.

    Args:
        path: of the script.

    Raises:
        ValueError: the script is not one of `export`, or it was cut.
    """
    text = path.read_text(encoding="ascii")
    if not (text.startswith(_PREFIX) and text.endswith("};\n")):
        raise ValueError(f"{path} is no script of painter.export: export the network again.")
    script = json.loads(text.removeprefix(_PREFIX).removesuffix(";\n"))
    numbers = np.frombuffer(base64.b64decode(script["half"]), "<f2").astype(np.float32)
    sizes = [int(np.prod(shape)) for shape in script["tensors"].values()]
    parts = torch.split(torch.from_numpy(numbers), sizes)
    shapes = script["tensors"].items()
    return {name: part.view(shape) for (name, shape), part in zip(shapes, parts, strict=True)}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and store.

    Args:
        argv: options, those of the command line where left out.
    """
    options = arguments(NAME, _STEPS, argv)
    repeatable(threads=1)
    model = train(options.steps, checkpoint=options.checkpoint)
    card = {
        "model": "mtl_lib.recipes.painter.network()",
        "purpose": "a portrait and the whole body of one person, while a slider moves",
        "data": f"mtl_lib.recipes.painter.people({_BATCH}, seed=1_000_000 + step)",
        "steps": options.steps,
        "batch": _BATCH,
        "seed": _SEED,
        "recipe": "python -m mtl_lib.recipes.painter",
    }
    store(model, NAME, measure, card, options.folder)


if __name__ == "__main__":
    main()
