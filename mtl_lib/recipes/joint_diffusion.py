"""The joint diffusion model of the book's portraits: colour, and a map that is asked for.

    python -m mtl_lib.recipes.joint_diffusion

A map is a picture of one channel of the same person: depth, or one of a few others. Which one is
the condition of the network, an embedding of the task. Less than an hour on one processor core.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mtl_lib import metrics
from mtl_lib.data import figurines
from mtl_lib.data.batches import Batches
from mtl_lib.networks import JointDiffusion, UNet
from mtl_lib.recipes._command import arguments, rounded, store
from mtl_lib.training import best_device, fit, repeatable

__all__ = [
    "KINDS",
    "NAME",
    "SIZE",
    "batches",
    "draw",
    "main",
    "maps",
    "measure",
    "new",
    "people",
    "train",
]

NAME = "joint_diffusion"
SIZE = 32
KINDS = ("depth", "silhouette", "skin", "edges", "grey")
_SEED = 0
_STEPS = 15_000
_BATCH = 32
_PEOPLE = 8000
_PEOPLE_SEED = 2_000_000  # no chapter draws them
_LEARNING_RATE = 0.008
_DEPTHS = 16  # in a batch; the other kinds share the rest
_DRAWN = 250
_CHUNK = 250  # drawn at a time
_MODALITIES = ("rgb", "depth", "parts", "edges")


def new() -> JointDiffusion:
    """The model with fresh parameters, as the stored weights need it."""
    network = UNet(4, times=2, conditions=len(KINDS), width=32)
    return JointDiffusion(network, {"rgb": 3, "map": 1})


def people(n: int, *, seed: int = 0, split: str = "train") -> dict[str, Tensor]:
    """Draw portraits: ``"rgb"``, ``"depth"``, ``"parts"`` and ``"edges"`` at 32 pixels.

    Args:
        n: how many.
        seed: of the people.
        split: one of ``figurines.SPLITS``.
    """
    drawn = figurines.dataset(
        {"face": n}, size=SIZE, seed=seed, split=split, modalities=_MODALITIES
    )
    return drawn["face"]


def maps(portraits: dict[str, Tensor]) -> dict[str, Tensor]:
    """The maps of some portraits, ``{kind: (n, 1, 32, 32)}`` in [0, 1].

    Args:
        portraits: of `people`.
    """
    parts = portraits["parts"][:, None]
    return {
        "depth": portraits["depth"],
        "silhouette": (parts > 0).float(),
        "skin": (parts == figurines.PARTS.index("skin")).float(),
        "edges": portraits["edges"],
        "grey": portraits["rgb"].mean(1, keepdim=True),
    }


def batches(seed: int = _SEED) -> Callable[[int], dict[str, Tensor]]:
    """Step -> 32 people with one map each: ``"rgb"``, ``"map"``, and its kind, ``"labels"``.

    Half of the maps are depth, and the other kinds take turns.

    Args:
        seed: of the order of people.
    """
    portraits = people(_PEOPLE, seed=_PEOPLE_SEED)
    every = torch.cat([*maps(portraits).values()], dim=1)
    source = Batches({"rgb": portraits["rgb"], "maps": every}, _BATCH, seed=seed)
    others = torch.arange(_BATCH - _DEPTHS)

    def batch(step: int) -> dict[str, Tensor]:
        drawn = source(step)
        kinds = torch.cat([torch.zeros(_DEPTHS).long(), 1 + (step + others) % (len(KINDS) - 1)])
        chosen = drawn["maps"][torch.arange(_BATCH), kinds][:, None]
        return {"rgb": drawn["rgb"], "map": chosen, "labels": kinds}

    return batch


def train(
    steps: int = _STEPS,
    seed: int = _SEED,
    checkpoint: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> JointDiffusion:
    """Train the network.

    Args:
        steps: batches of 32 people.
        seed: of the parameters, the noise and the order of people.
        checkpoint: file to write, and to go on from where it exists.
        device: where to train.
    """
    torch.manual_seed(seed)
    model = new().to(device)
    optimizer = torch.optim.Adam(model.parameters(), _LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    fit(
        model,
        batches(seed),
        steps=steps,
        optimizer=optimizer,
        schedule=schedule,
        clip=1.0,
        checkpoint=checkpoint,
        checkpoint_every=200,
        title=NAME,
    )
    return model.eval()


def draw(
    model: JointDiffusion,
    n: int,
    *,
    given: dict[str, Tensor] | None = None,
    ignored: Sequence[str] = (),
    kind: str = "depth",
    seed: int = 0,
    steps: int = 25,
) -> dict[str, Tensor]:
    """Draw ``"rgb"`` and ``"map"`` of n people, or one given the other, or one alone.

    Args:
        model: the network.
        n: how many.
        given: images of one modality.
        ignored: modalities that stay noise.
        kind: of map, one of `KINDS`.
        seed: of the noise.
        steps: of the sampler.
    """
    generator = torch.Generator().manual_seed(seed)
    given, drawn = {} if given is None else given, []
    for start in range(0, n, _CHUNK):
        some = range(n)[start : start + _CHUNK]
        noise = {
            name: torch.randn(len(some), channels, SIZE, SIZE, generator=generator)
            for name, channels in model.channels.items()
        }
        part = {name: images[start : some.stop] for name, images in given.items()}
        told = torch.full((len(some),), KINDS.index(kind))
        drawn.append(model.sample(noise, given=part, ignored=ignored, condition=told, steps=steps))
    return {name: torch.cat([one[name] for one in drawn]) for name in drawn[0]}


def measure(model: JointDiffusion, drawn: int = _DRAWN) -> dict[str, dict[str, float]]:
    """How real portraits look, drawn in three ways, and how right depth is, given the portrait.

    Args:
        model: the network, on the processor.
        drawn: how many people.

    Returns:
        `metrics.resemblance` to test people for "joint", "alone" and "given depth", and for other
        people, "real"; and "depth": the squared error given the portrait, beside that of the mean.
    """
    test, others = people(drawn, split="test"), people(drawn, split="validation")
    truth = metrics.figurine_features(test["rgb"], "face")
    sets = {
        "joint": draw(model, drawn)["rgb"],
        "alone": draw(model, drawn, ignored=["map"])["rgb"],
        "given depth": draw(model, drawn, given={"map": test["depth"]})["rgb"],
        "real": others["rgb"],
    }
    found = {
        name: rounded(metrics.resemblance(truth, metrics.figurine_features(images, "face")))
        for name, images in sets.items()
    }
    read = draw(model, drawn, given={"rgb": test["rgb"]})["map"]
    mean = test["depth"].mean(0, keepdim=True).expand_as(read)
    errors = {
        "error given rgb": metrics.mse(read, test["depth"]),
        "error of the mean": metrics.mse(mean, test["depth"]),
    }
    return {**found, "depth": rounded(errors, 5)}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure and store."""
    options = arguments(NAME, _STEPS, argv)
    repeatable(threads=1)
    model = train(options.steps, checkpoint=options.checkpoint, device=best_device()).cpu()
    card = {
        "model": "mtl_lib.recipes.joint_diffusion.new()",
        "purpose": "draws portraits and maps of them, together, alone, or one given the other",
        "data": f'figurines.dataset({{"face": {_PEOPLE}}}, size={SIZE}, seed={_PEOPLE_SEED})',
        "kinds of map": list(KINDS),
        "steps": options.steps,
        "batch": _BATCH,
        "seed": _SEED,
        "recipe": f"python -m mtl_lib.recipes.{NAME}",
    }
    drawn = min(_DRAWN, 10 * options.steps)
    store(model, NAME, lambda network: measure(network, drawn), card, options.folder)


if __name__ == "__main__":
    main()
