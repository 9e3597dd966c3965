"""A joint VAE of people: a portrait, its depth and the whole body, from one code.

    python -m mtl_lib.recipes.vae

New people in every batch, shaded, 32 pixels; nearly half a million of them in all. Any modality may
be left out: the network draws all three from any of them, or from none. Errors are calibrated, each
modality with a variance of its own.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mtl_lib import metrics
from mtl_lib.data import figurines
from mtl_lib.networks import VAE, Encoder, ImageHead
from mtl_lib.recipes._command import arguments, rounded, store
from mtl_lib.training import best_device, fit, repeatable

__all__ = ["CODE", "NAME", "main", "measure", "network", "people", "train"]

NAME = "vae"
CODE = 16
_SIZE = 32
_WIDTH = 32
_HIDDEN = 128
_CHANNELS = {"portrait": 3, "depth": 1, "body": 3}
_SEED = 0
_STEPS = 10_000
_BATCH = 48
_LEARNING_RATE = 0.004
_CLIP = 10_000.0  # nats; an early step may be longer
_MEASURED = 2000  # people


def network() -> VAE:
    """The architecture of the stored weights."""
    encoders = {
        name: Encoder(channels, 2 * CODE, size=_SIZE, width=_WIDTH // 2)
        for name, channels in _CHANNELS.items()
    }
    decoders = {name: _decoder(channels) for name, channels in _CHANNELS.items()}
    return VAE(encoders, decoders, CODE)


def people(n: int, seed: int, split: str = "train") -> dict[str, Tensor]:
    """Draw people: ``{"portrait": (n, 3, 32, 32), "depth": (n, 1, 32, 32), "body": as portrait}``.

    Args:
        n: how many.
        seed: of the people.
        split: one of ``figurines.SPLITS``.
    """
    drawn = figurines.dataset(
        {"face": n}, size=_SIZE, seed=seed, split=split, modalities=("rgb", "depth")
    )["face"]
    body = figurines.draw(
        drawn["factors"], "body", size=_SIZE, classes=drawn["classes"], modalities=("rgb",)
    )
    return {"portrait": drawn["rgb"], "depth": drawn["depth"], "body": body["rgb"]}


def train(steps: int = _STEPS, seed: int = _SEED, checkpoint: Path | None = None) -> VAE:
    """Train the network.

    Args:
        steps: batches of 48 people.
        seed: of everything.
        checkpoint: file to write during training, and to go on from where it exists.
    """
    torch.manual_seed(seed)
    model = network().to(best_device())
    optimizer = torch.optim.Adam(model.parameters(), _LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    fit(
        model,
        # Seeds above a million: no chapter's people are among them.
        lambda step: people(_BATCH, seed=1_000_000 * (1 + seed) + step),
        steps=steps,
        optimizer=optimizer,
        schedule=schedule,
        clip=_CLIP,
        checkpoint=checkpoint,
        title=NAME,
    )
    return model.cpu().eval()


@torch.no_grad()
def measure(model: VAE) -> dict[str, dict[str, float]]:
    """Compare as many new people with the real ones of the test split, and those with others.

    Args:
        model: what `train` gives.

    Returns:
        `metrics.resemblance` to real people of "portrait" and "body", and of other real people,
        "real portrait" and "real body"; and "error", the mean squared error of each modality
        redrawn from all three.
    """
    sets = {
        "": model.sample(_MEASURED, torch.Generator().manual_seed(_SEED)),
        "real ": people(_MEASURED, seed=1, split="test"),
    }
    real = people(_MEASURED, seed=0, split="test")
    found = {}
    for modality, view in {"portrait": "face", "body": "body"}.items():
        truth = metrics.figurine_features(real[modality], view)
        for which, images in sets.items():
            features = metrics.figurine_features(images[modality], view)
            found[which + modality] = rounded(metrics.resemblance(truth, features))
    redrawn = model(real)
    errors = {name: metrics.mse(redrawn[name], real[name]) for name in redrawn}
    return {**found, "error": rounded(errors, 5)}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and store.

    Args:
        argv: options, those of the command line where left out.
    """
    options = arguments(NAME, _STEPS, argv)
    repeatable(threads=1)
    model = train(options.steps, checkpoint=options.checkpoint)
    card = {
        "model": "mtl_lib.recipes.vae.network()",
        "purpose": "people who do not exist: portrait, depth and body from one code of 16 numbers",
        "data": f"mtl_lib.recipes.vae.people({_BATCH}, seed=1_000_000 + step)",
        "steps": options.steps,
        "batch": _BATCH,
        "seed": _SEED,
        "recipe": "python -m mtl_lib.recipes.vae",
    }
    store(model, NAME, measure, card, options.folder)


def _decoder(channels: int) -> nn.Sequential:
    """``(n, code) -> (n, channels, 32, 32)``: a map of 4 × 4, doubled three times."""
    side = _SIZE // 8
    return nn.Sequential(
        nn.Linear(CODE, _HIDDEN),
        nn.SiLU(),
        nn.Linear(_HIDDEN, 2 * _WIDTH * side**2),
        nn.Unflatten(1, (2 * _WIDTH, side, side)),
        nn.GroupNorm(8, 2 * _WIDTH),
        nn.SiLU(),
        *_doubled(2 * _WIDTH, 2 * _WIDTH),
        *_doubled(2 * _WIDTH, _WIDTH),
        ImageHead(_WIDTH, channels),
    )


def _doubled(channels: int, out_channels: int) -> list[nn.Module]:
    convolution = nn.ConvTranspose2d(channels, out_channels, 4, stride=2, padding=1, bias=False)
    return [convolution, nn.GroupNorm(8, out_channels), nn.SiLU()]


if __name__ == "__main__":
    main()
