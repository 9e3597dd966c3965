"""Networks that read the ten factors and the headwear off a figurine, one for each view.

    python -m mtl_lib.recipes.factor_reader

They learn from shaded pictures of 32 pixels, new people in every batch, so there is no training set
to know by heart. Not every factor can be seen in every picture: the card says how well each is
read.
"""

import torch
from torch import Tensor

from mtl_lib.data import figurines
from mtl_lib.networks import FactorReader
from mtl_lib.recipes._command import rounded, store
from mtl_lib.training import fit, repeatable

__all__ = ["SIZE", "main", "measure", "train"]

SIZE = 32
_SEED = 0
_STEPS = 6000
_BATCH = 64
_LEARNING_RATE = 0.004
_MEASURED = 2000  # people


def train(view: str, steps: int = _STEPS, seed: int = _SEED) -> FactorReader:
    """Train the network of one view, on people that nobody else draws.

    Args:
        view: one of ``figurines.VIEWS``.
        steps: batches of 64 people.
        seed: of everything.
    """
    torch.manual_seed(seed)
    model = FactorReader(len(figurines.FACTORS), len(figurines.CLASSES), size=SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), _LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)

    def people(step: int) -> dict[str, Tensor]:
        # Seeds above a million: no chapter's people are among them.
        return figurines.dataset({view: _BATCH}, size=SIZE, seed=1_000_000 + step)[view]

    title = f"factor reader, {view}"
    fit(model, people, steps=steps, optimizer=optimizer, schedule=schedule, title=title)
    return model.eval()


@torch.no_grad()
def measure(model: FactorReader, view: str, split: str) -> dict[str, float]:
    """Share of each factor's variance that is read, and of people whose headwear is right.

    Args:
        model: of that view.
        view: one of ``figurines.VIEWS``.
        split: one of ``figurines.SPLITS``.
    """
    people = figurines.dataset({view: _MEASURED}, size=SIZE, split=split)[view]
    answer = model(people["rgb"])
    error = (answer["factors"] - people["factors"]).square().mean(0)
    shares = 1 - error / people["factors"].var(0)
    right = (answer["classes"].argmax(1) == people["classes"]).double().mean()
    return {
        **dict(zip(figurines.FACTORS, shares.tolist(), strict=True)),
        "headwear": right.item(),
    }


def main() -> None:
    """Train, measure and store both."""
    repeatable(threads=1)
    for view in figurines.VIEWS:
        card = {
            "model": f"mtl_lib.networks.FactorReader(10, 5, size={SIZE})",
            "purpose": f"features of figurines ({view}), 48 an image, and their factors",
            "data": f'figurines.dataset({{"{view}": 64}}, size={SIZE}, seed=1_000_000 + step)',
            "steps": _STEPS,
            "batch": _BATCH,
            "seed": _SEED,
            "recipe": "python -m mtl_lib.recipes.factor_reader",
        }

        def read(model: FactorReader, view: str = view) -> dict[str, float]:
            return rounded(measure(model, view, "test"), 3)

        store(train(view), f"figurine_{view}", read, card)


if __name__ == "__main__":
    main()
