"""The book's figures: one look, readable on light and on dark pages.

Figures are transparent, and their lines and letters are of middle lightness, so that the same
picture works on a white page, on a black one and in JupyterLab.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

__all__ = ["COLORS", "INK", "image_grid", "learning_curves", "mosaic", "paired_dots", "use_style"]

# After Okabe and Ito, safe for colour-blind readers, at a lightness that shows on white and black.
# https://jfly.uni-koeln.de/color/
COLORS = ("#3d8fd1", "#d07a20", "#2a9d78", "#c45ca2", "#a48f14", "#d1495b")
INK = "#7d858f"  # contrast near 4 : 1 on white and on the dark page alike


def use_style() -> None:
    """Set the book's look for every figure that follows in this kernel."""
    mpl.rcParams.update(
        {
            "axes.edgecolor": INK,
            "axes.facecolor": "none",
            "axes.grid": True,
            "axes.labelcolor": INK,
            "axes.prop_cycle": cycler(color=COLORS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": INK,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "figure.constrained_layout.use": True,
            "figure.dpi": 150,
            "figure.facecolor": "none",
            "figure.figsize": (7, 3),
            "font.size": 10,
            "grid.alpha": 0.25,
            "grid.color": INK,
            "legend.frameon": False,
            "legend.labelcolor": INK,
            "lines.linewidth": 2,
            "savefig.facecolor": "none",
            "savefig.transparent": True,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )


def mosaic(images: Tensor, columns: int, gap: int = 1) -> Tensor:
    """Lay images out in one picture, row by row, with transparent gaps.

    Args:
        images: ``(n, channels, height, width)`` in [0, 1], with 1 or 3 channels.
        columns: images a row.
        gap: pixels between images.

    Returns:
        ``(height, width, 4)``: red, green, blue, opacity.

    Raises:
        ValueError: wrong shape.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(
            f"images has shape {tuple(images.shape)}, wanted (n, 1 or 3, height, width) with n > 0."
        )
    opaque = images.detach().cpu().float().clamp(0, 1).expand(-1, 3, -1, -1)
    opaque = torch.cat([opaque, torch.ones_like(opaque[:, :1])], dim=1)
    picture: Tensor = make_grid(opaque, nrow=columns, padding=gap, pad_value=0)
    return picture.permute(1, 2, 0)


def image_grid(
    rows: Mapping[str, Tensor],
    columns: Sequence[str] = (),
    *,
    scale: float = 0.62,
    title: str = "",
) -> Figure:
    """Show one row of images for each name, with titles on rows and columns.

    Args:
        rows: title -> ``(n, 1 or 3, height, width)`` in [0, 1]; every row has the same n.
        columns: n titles, or none.
        scale: inches an image.
        title: above the grid.

    Returns:
        The figure, drawn with crisp pixels.

    Raises:
        ValueError: wrong shapes, or the numbers of images and titles differ.
    """
    counts = {name: len(images) for name, images in rows.items()}
    if len(set(counts.values())) != 1 or (columns and len(columns) not in counts.values()):
        raise ValueError(
            f"rows have {counts} images and there are {len(columns)} column titles: "
            "give every row the same number, and no titles or one for each column."
        )
    pictures = [mosaic(images, len(images)) for images in rows.values()]
    n = next(iter(counts.values()))
    figure = plt.figure(figsize=(n * scale, len(rows) * scale * 1.04))
    for axes, (name, picture) in zip(
        np.atleast_1d(figure.subplots(len(rows), 1)), zip(rows, pictures, strict=True), strict=True
    ):
        axes.imshow(picture.numpy(), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        if columns and axes.get_subplotspec().is_first_row():
            step = picture.shape[1] / n
            axes.xaxis.tick_top()
            axes.tick_params(axis="x", length=0)
            axes.set_xticks([(i + 0.5) * step for i in range(n)], columns)
    if title:
        figure.suptitle(title)
    return figure


def learning_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    steps: Sequence[float] | None = None,
    *,
    axes: Axes | None = None,
    ylabel: str = "loss",
    log: bool = True,
) -> Axes:
    """Draw one line for each name, the mean over seeds, in a band from the lowest to the highest.

    Args:
        curves: name -> ``(seeds, points)``.
        steps: the ``points`` positions, 1, 2, ... where left out.
        axes: where to draw; a new figure where left out.
        ylabel: what is drawn, with its unit.
        log: logarithmic vertical axis.

    Returns:
        The axes.

    Raises:
        ValueError: a curve is not two-dimensional.
    """
    axes = plt.subplots()[1] if axes is None else axes
    for name, runs in curves.items():
        values = np.asarray(runs, float)
        if values.ndim != 2:
            raise ValueError(
                f"curves[{name!r}] has shape {values.shape}, wanted (seeds, points): "
                "wrap a single run in a list."
            )
        where = np.arange(1, values.shape[1] + 1) if steps is None else np.asarray(steps)
        (line,) = axes.plot(where, values.mean(0), label=name)
        axes.fill_between(
            where, values.min(0), values.max(0), color=line.get_color(), alpha=0.22, linewidth=0
        )
    axes.set(xlabel="step", ylabel=ylabel, yscale="log" if log else "linear")
    axes.legend()
    return axes


def paired_dots(
    sides: Mapping[str, Mapping[str, Sequence[float]]], *, axes: Axes | None = None, xlabel: str
) -> Axes:
    """Draw every seed of several contenders, one line of dots for each row.

    Args:
        sides: contender -> row -> one value for each seed; every contender has the same rows.
        axes: where to draw; a new figure where left out.
        xlabel: what is drawn, with its unit.

    Returns:
        The axes; the first row is on top.
    """
    names = list(next(iter(sides.values())))
    axes = plt.subplots(figsize=(7, 0.6 * len(names) + 0.9))[1] if axes is None else axes
    offsets = np.linspace(-0.12, 0.12, len(sides)) if len(sides) > 1 else [0.0]
    for offset, color, (side, rows) in zip(offsets, COLORS, sides.items(), strict=False):
        for position, name in enumerate(names):
            values = np.asarray(rows[name], float)
            height = np.full(len(values), position + offset)
            axes.plot(values, height, "o", color=color, alpha=0.55, markersize=6)
            axes.plot(values.mean(), position + offset, "|", color=color, markersize=16, mew=2.5)
        axes.plot([], [], "o", color=color, label=side)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel=xlabel)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.legend(ncols=len(sides), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return axes
