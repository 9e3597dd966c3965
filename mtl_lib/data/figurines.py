"""Figurines: little people, drawn from ten continuous factors as a portrait and as a whole body.

A person is ten numbers in [0, 1] (`FACTORS`) and a class (`CLASSES`, the headwear). `draw` turns
them into pictures: each view as RGB, depth, normals, part labels and edges, exactly aligned, in
several styles. `dataset` samples persons and draws them, with the knobs of the book's experiments:

- rho, statistical relatedness: how much the person in the portrait is the person in the body image;
- phi, structural relatedness: how alike the two maps from factors to pictures are;
- counts per view, class imbalance, disjoint splits.

Nothing is read from disk, and everything is a pure function of its arguments.

Coordinates of depth and normals: x to the right, y down, z towards the viewer, all in half image
widths. Depth is 1 on the wall behind and 1 - z on a person, so that a normal is parallel to
(d depth / dx, d depth / dy, 1) wherever depth is smooth.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mtl_lib.data._figurines_people import background, strokes
from mtl_lib.data._figurines_person import CLASSES, FACTORS, PARTS, VIEWS, Person
from mtl_lib.data._figurines_raster import Canvas, Look
from mtl_lib.data._figurines_sampling import (
    check_count,
    check_factors,
    check_fraction,
    class_probabilities,
    classes_of_views,
    factors_of_views,
    rotate_factors,
    rotation,
    sample_classes,
    sample_factors,
)

__all__ = [
    "CLASSES",
    "FACTORS",
    "MODALITIES",
    "PARTS",
    "SPLITS",
    "STYLES",
    "VIEWS",
    "class_probabilities",
    "dataset",
    "draw",
    "rotate_factors",
    "rotation",
    "sample_classes",
    "sample_factors",
]

STYLES = ("shaded", "flat", "sketch", "negative")
MODALITIES = ("rgb", "depth", "normals", "parts", "edges")
SPLITS = ("train", "validation", "test")

_LOOKS = {
    "shaded": Look(),
    "flat": Look(lambert=0.0, outline=0.35, thickness=0.02, bright=(1.0, 1.0, 1.0)),
    "sketch": Look(
        dark=(0.22, 0.21, 0.27), paper=0.45, outline=1.0, thickness=0.03, hatching=0.35, ink=True
    ),
    "negative": Look(inverted=True),
}
_CHANNELS = {"rgb": (3,), "depth": (1,), "normals": (3,), "parts": (), "edges": (1,)}
_SIZES = (16, 128)
_CHUNK_PIXELS = 512 * 32 * 32  # large enough to amortise a call, small enough for the caches


def draw(
    factors: Tensor,
    view: str,
    *,
    size: int = 32,
    style: str = "shaded",
    classes: Tensor | None = None,
    modalities: Iterable[str] = MODALITIES,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """Draw persons in one view, on the device of their factors.

    Args:
        factors: (n, F) floating, in [0, 1], columns as in `FACTORS`.
        view: One of `VIEWS`.
        size: Height and width in pixels, 16 to 128.
        style: One of `STYLES`; it decides on RGB only.
        classes: (n,) integers, indices into `CLASSES`; nobody wears anything by default.
        modalities: Which of `MODALITIES` to draw; what is not asked for is not computed.
        chunk: Images drawn at a time. It changes speed and memory, not a bit of the result on a
            processor.

    Returns:
        "rgb" (n, 3, size, size) in [0, 1]; "depth" (n, 1, size, size) in (0, 1], 1 on the
        background and nowhere else; "normals" (n, 3, size, size), unit vectors, (0, 0, 1) on the
        background; "parts" (n, size, size) int64, indices into `PARTS`, 0 the background; "edges"
        (n, 1, size, size), 1 on the one pixel wide line where a shape ends, 0 elsewhere.

    Raises:
        ValueError: For an unknown view, style or modality, a size outside of 16 to 128, factors
            or classes of the wrong shape, dtype or range, or a chunk below 1.

    Example:
        >>> images = draw(sample_factors(2, seed=0)["face"], "face", size=64)
        >>> images["rgb"].shape, images["parts"].shape
        (torch.Size([2, 3, 64, 64]), torch.Size([2, 64, 64]))
    """
    modalities = _check_picture(view, size, style, modalities)
    check_factors(factors)
    n, device = len(factors), factors.device
    classes = _check_classes(classes, n, device)
    if chunk is None:
        chunk = _CHUNK_PIXELS // size**2
    elif chunk < 1:
        raise ValueError(f"chunk = {chunk}: wanted at least 1 image at a time, or None.")
    images = {
        name: torch.empty(
            (n, *_CHANNELS[name], size, size),
            dtype=torch.int64 if name == "parts" else torch.float32,
            device=device,
        )
        for name in modalities
    }
    with torch.no_grad():
        for start in range(0, n, chunk):
            some = slice(start, start + chunk)
            person = Person(factors[some].float().T.contiguous(), classes[some])
            canvas = _painted(person, view, size, _LOOKS[style], frozenset(modalities))
            for name, image in images.items():
                _unbatched(_developed(canvas, name), image[some])
    return images


def _painted(person: Person, view: str, size: int, look: Look, wanted: frozenset[str]) -> Canvas:
    """Paint with no more buffers than the wanted modalities need."""
    n, device = person.factors.shape[1], person.factors.device
    if "rgb" in wanted:
        color = background(person, view, size, look)
    else:
        color = torch.zeros((0, size, size, n), device=device)
    needs = {"rgb": 0, "parts": 1, "edges": 1, "depth": 2, "normals": 4}
    channels = max((needs[name] for name in wanted), default=0)
    relief = torch.zeros((channels, size, size, n), device=device)
    canvas = Canvas(color, relief, person.towards_light(), look)
    canvas.paint(strokes(person, view, canvas.y[:, 0, 0]))
    return canvas


def _developed(canvas: Canvas, modality: str) -> Tensor:
    """The modality from the painted buffers, batch last."""
    if modality == "rgb":
        color = canvas.color.clamp(0, 1)
        return 1 - color if canvas.look.inverted else color
    if modality == "depth":
        return 1 - canvas.relief[1]
    if modality == "normals":
        x, y = canvas.relief[2:]
        length = (x * x + (y * y + 1)).sqrt_()
        return torch.stack([x / length, y / length, 1 / length])
    codes = canvas.relief[0].to(torch.uint8)
    return codes >> 3 if modality == "parts" else _outlines(codes)


def _outlines(codes: Tensor) -> Tensor:
    """1.0 where a 4-neighbour has a smaller code, so that lines are one pixel wide."""
    line = torch.zeros_like(codes, dtype=torch.bool)
    line[1:] |= codes[1:] > codes[:-1]
    line[:-1] |= codes[:-1] > codes[1:]
    line[:, 1:] |= codes[:, 1:] > codes[:, :-1]
    line[:, :-1] |= codes[:, :-1] > codes[:, 1:]
    return line.float()


def _unbatched(picture: Tensor, out: Tensor) -> None:
    """Move the batch from the last axis to the first; as a 2-D transpose, which is fast."""
    n = picture.shape[-1]
    out.view(n, -1).copy_(picture.reshape(-1, n).T)


def dataset(
    counts: Mapping[str, int],
    *,
    size: int = 32,
    style: str = "shaded",
    rho: float = 1.0,
    phi: float = 0.0,
    imbalance: float = 1.0,
    seed: int = 0,
    split: str = "train",
    modalities: Iterable[str] = ("rgb",),
) -> dict[str, dict[str, Tensor]]:
    """Sample persons and draw them: two generation tasks whose relation is under control.

    Person i has the same factors and headwear, and the same pictures bit for bit, whatever the
    counts: a larger data set begins with the smaller one, and row i of both views belongs together.

    Args:
        counts: Images per view, as {"face": 100, "body": 1000}.
        size: See `draw`.
        style: See `draw`.
        rho: Copula between the persons of the two views, headwear included; see `sample_factors`.
        phi: The body image is drawn from `rotate_factors(factors, phi)`, while "factors" holds
            what the network is given, before the rotation; the portrait is drawn from the factors
            themselves.
        imbalance: See `class_probabilities`.
        seed: A non-negative integer.
        split: One of `SPLITS`: independent random streams of the same seed.
        modalities: See `draw`.

    Returns:
        A dict for each view in counts, of "factors" (n, F), "classes" (n,), and the modalities.

    Raises:
        ValueError: For an unknown view or split, a negative count, and whatever the functions
            above refuse.

    Example:
        >>> data = dataset({"face": 2, "body": 5}, size=16)
        >>> data["face"]["rgb"].shape, data["body"]["factors"].shape
        (torch.Size([2, 3, 16, 16]), torch.Size([5, 10]))
    """
    for view, count in counts.items():
        modalities = _check_picture(view, size, style, modalities)
        check_count(f"counts[{view!r}]", count)
    _check_choice("split", split, SPLITS)
    stream = SPLITS.index(split) + 1  # 0 is the stream of the sampling functions
    n = max(counts.values(), default=0)
    check_fraction("phi", phi)
    factors = factors_of_views(n, rho, seed, stream)
    classes = classes_of_views(n, rho, imbalance, seed, stream)
    data = {}
    for view, count in counts.items():
        seen, worn = factors[view][:count], classes[view][:count]
        drawn = rotate_factors(seen, phi) if view == "body" else seen
        images = draw(drawn, view, size=size, style=style, classes=worn, modalities=modalities)
        data[view] = {"factors": seen, "classes": worn, **images}
    return data


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} = {value!r} is unknown. Choose one of {', '.join(choices)}.")


def _check_picture(view: str, size: int, style: str, modalities: Iterable[str]) -> tuple[str, ...]:
    _check_choice("view", view, VIEWS)
    _check_choice("style", style, STYLES)
    if isinstance(modalities, str):
        raise ValueError(
            f"modalities = {modalities!r} is a string. Pass a tuple of names: ({modalities!r},)."
        )
    modalities = tuple(modalities)
    for modality in modalities:
        _check_choice("modality", modality, MODALITIES)
    if not _SIZES[0] <= size <= _SIZES[1]:
        raise ValueError(
            f"size = {size}: wanted {_SIZES[0]} to {_SIZES[1]} pixels. "
            "Draw at the nearest size and resize the result."
        )
    return modalities


def _check_classes(classes: Tensor | None, n: int, device: torch.device) -> Tensor:
    if classes is None:
        return torch.zeros(n, dtype=torch.int64, device=device)
    if classes.shape != (n,) or classes.is_floating_point() or classes.is_complex():
        raise ValueError(
            f"classes have shape {tuple(classes.shape)} and dtype {classes.dtype}: wanted ({n},) "
            "integers, one for each row of factors. Use sample_classes."
        )
    if n and not bool(((classes >= 0) & (classes < len(CLASSES))).all()):
        raise ValueError(
            f"classes go from {classes.min().item()} to {classes.max().item()}: wanted indices "
            f"into CLASSES, 0 to {len(CLASSES) - 1}."
        )
    return classes.to(device=device, dtype=torch.int64)
