"""Draw the logo, and the picture of the README and the home page, with the book's own generator.

    python book/tools/pictures.py

`make notebooks` calls it. The files are stored, like the outputs of the chapters, and a test
compares them with what the library draws now.
"""

from pathlib import Path

import torch
from matplotlib import image
from torch import Tensor

from mtl_lib.data import figurines
from mtl_lib.plotting import mosaic

__all__ = ["FAMILY", "LOGO", "family", "logo", "main"]

FAMILY = Path(__file__).parents[1] / "images" / "family.png"
LOGO = Path(__file__).parents[1] / "_static" / "logo.png"
PEOPLE, SEED, SIZE = 8, 98, 128
CROWNED = 3  # the person of the logo
# One colour for each of figurines.PARTS, those of the figures.
_PARTS = torch.tensor(
    [
        *((0.93, 0.93, 0.95), (0.24, 0.56, 0.82), (0.98, 0.82, 0.66), (0.99, 0.99, 0.99)),
        *((0.82, 0.29, 0.36), (0.69, 0.60, 0.12), (0.17, 0.62, 0.47), (0.77, 0.36, 0.64)),
        (0.33, 0.25, 0.30),
    ]
)


def _people(view: str) -> dict[str, Tensor]:
    factors = figurines.sample_factors(PEOPLE, seed=SEED)["face"]
    worn = figurines.sample_classes(PEOPLE, seed=SEED)
    return figurines.draw(factors, view, size=SIZE, classes=worn)


def logo() -> Tensor:
    """One person in a disc, half in colour and half as surface normals: ``(size, size, 4)``."""
    person = {name: images[CROWNED] for name, images in _people("face").items()}
    places = torch.arange(SIZE) + 0.5 - SIZE / 2  # from the middle, in pixels
    half = torch.where(places < 0, person["rgb"], person["normals"] / 2 + 0.5)
    distance = torch.hypot(places, places[:, None])
    disc = (SIZE / 2 - distance).clamp(0, 1)  # one pixel of soft edge
    return torch.cat([half, disc[None]]).permute(1, 2, 0)


def family() -> Tensor:
    """Portraits, and bodies in colour and in every modality: ``(height, width, 4)``."""
    face, body = (_people(view) for view in figurines.VIEWS)
    rows = [
        face["rgb"],
        body["rgb"],
        body["depth"],
        body["normals"] / 2 + 0.5,
        _PARTS[body["parts"]].permute(0, 3, 1, 2),
        1 - body["edges"],
    ]
    return mosaic(torch.cat([row.expand(-1, 3, -1, -1) for row in rows]), PEOPLE, gap=6)


def main() -> None:
    """Write the files."""
    for path, picture in ((FAMILY, family()), (LOGO, logo())):
        image.imsave(path, picture.numpy(), metadata={"Software": None})


if __name__ == "__main__":
    main()
