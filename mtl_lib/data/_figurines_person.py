"""Who a figurine is: names of factors, classes and parts, palettes, colours and light."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

__all__ = [
    "CLASSES",
    "FACTORS",
    "PARTS",
    "VIEWS",
    "Number",
    "Person",
    "ramp",
    "through",
]

FACTORS = (
    "skin",
    "hair_color",
    "hair_length",
    "clothes",
    "width",
    "age",
    "smile",
    "arm_pose",
    "light",
    "background",
)
CLASSES = ("none", "beanie", "straw hat", "bow", "crown")
VIEWS = ("face", "body")
PARTS = ("background", "hair", "skin", "eyes", "mouth", "headwear", "top", "legs", "shoes")

Number = Tensor | float

# Colours are sRGB; a factor walks along a path of them in equal steps.
_SKIN_PATH = (
    (0.36, 0.22, 0.15),
    (0.47, 0.30, 0.20),
    (0.60, 0.40, 0.27),
    (0.74, 0.53, 0.37),
    (0.87, 0.67, 0.50),
    (0.96, 0.79, 0.65),
    (1.00, 0.88, 0.78),
)
_HAIR_PATH = (
    (0.13, 0.11, 0.14),
    (0.30, 0.18, 0.12),
    (0.52, 0.24, 0.13),
    (0.82, 0.42, 0.16),
    (0.93, 0.70, 0.32),
    (0.97, 0.89, 0.66),
)
_TOP_PATH = (
    (0.90, 0.33, 0.31),
    (0.96, 0.60, 0.24),
    (0.97, 0.80, 0.36),
    (0.42, 0.70, 0.45),
    (0.16, 0.60, 0.64),
    (0.27, 0.45, 0.78),
    (0.58, 0.38, 0.72),
)
_LEGS_PATH = (
    (0.26, 0.33, 0.52),
    (0.36, 0.40, 0.48),
    (0.30, 0.45, 0.55),
    (0.55, 0.42, 0.33),
    (0.86, 0.74, 0.56),
    (0.40, 0.35, 0.42),
    (0.30, 0.36, 0.56),
)
_TRIM_PATH = (
    (0.99, 0.94, 0.86),
    (0.99, 0.95, 0.86),
    (0.93, 0.42, 0.35),
    (0.98, 0.93, 0.70),
    (0.99, 0.91, 0.80),
    (0.98, 0.84, 0.48),
    (0.99, 0.85, 0.90),
)
_WALL_PATH = (
    (0.62, 0.80, 0.94),
    (0.62, 0.87, 0.81),
    (0.80, 0.90, 0.66),
    (0.99, 0.89, 0.64),
    (0.99, 0.76, 0.64),
    (0.96, 0.70, 0.78),
    (0.77, 0.72, 0.93),
)
_GREY = (0.84, 0.83, 0.85)


def _path(colors: tuple[tuple[float, float, float], ...], t: Tensor) -> Tensor:
    """The colours (3, n) at t (n,) along a path with equally spaced stations."""
    table = torch.tensor(colors, device=t.device).T.contiguous()
    position = t * (len(colors) - 1)
    start = position.floor().clamp(max=len(colors) - 2)
    rest, index = position - start, start.long()
    return table[:, index] * (1 - rest) + table[:, index + 1] * rest


def through(t: Tensor, *values: Number) -> Tensor:
    """Piecewise linear in t (n,), through values at equal steps from t = 0 to t = 1."""
    steps = len(values) - 1
    result = torch.zeros_like(t) + values[0]
    for i, (low, high) in enumerate(pairwise(values)):
        result = result + (t * steps - i).clamp(0, 1) * (high - low)
    return result


def ramp(t: Tensor, low: float, high: float) -> Tensor:
    """0 below low, 1 above high, linear between."""
    return ((t - low) / (high - low)).clamp(0, 1)


@dataclass
class Person:
    """The factors of n persons, by name, (n,) each; `headwear` is an index into CLASSES (n,)."""

    factors: Tensor  # (F, n)
    headwear: Tensor

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.factors[FACTORS.index(name)]
        except ValueError:
            raise AttributeError(name) from None

    def number(self, value: Number) -> Tensor:
        """A (n,) tensor, whatever is given."""
        return torch.zeros_like(self.factors[0]) + value

    def paint(self, color: tuple[float, float, float]) -> Tensor:
        """One colour for all, (3, 1)."""
        return torch.tensor(color, device=self.factors.device)[:, None]

    def skin_color(self) -> Tensor:
        """(3, n)."""
        return _path(_SKIN_PATH, self.skin)

    def hair_tone(self) -> Tensor:
        """(3, n): greying with age."""
        grey = ramp(self.age, 0.6, 0.95)
        return _path(_HAIR_PATH, self.hair_color) * (1 - grey) + self.paint(_GREY) * grey

    def top_color(self) -> Tensor:
        """(3, n): of what the person wears above."""
        return _path(_TOP_PATH, self.clothes)

    def trim_color(self) -> Tensor:
        """(3, n): of collar and stripes."""
        return _path(_TRIM_PATH, self.clothes)

    def legs_color(self) -> Tensor:
        """(3, n): of the trousers."""
        return _path(_LEGS_PATH, self.clothes)

    def wall_color(self) -> Tensor:
        """(3, n): of the background."""
        return _path(_WALL_PATH, self.background)

    def towards_light(self) -> Tensor:
        """(3, n): unit vectors; from the upper left at 0 to the upper right at 1."""
        x = self.light * 1.9 - 0.95
        length = (x * x + (0.62 * 0.62 + 1)).sqrt()
        return torch.stack([x / length, -0.62 / length, 1 / length])
