"""The painter of the figurines: anti-aliased shapes with relief, composited back to front.

Coordinates: the picture is the square [-1, 1] x [-1, 1], x to the right, y **down**; lengths are in
half image widths. Every shape has an inside function m(x, y), 1 in its middle, 0 on its outline and
negative outside. To first order the signed distance to the outline is m / |grad m|, which gives the
coverage of a pixel; a solid's relief is e = base + relief * m, so that its normals are analytic.

Two choices make it fast on a processor. The batch is the *last* axis, so that every operation runs
over contiguous memory even where a shape's window is a few pixels wide; and a function of x plus a
function of y is kept as two thin arrays until they meet in one addition.

Only correctly rounded operations (+ - * / sqrt, comparisons) are used: each image is then the same
bit for bit whatever the batch it is drawn in, which vectorised sines or fused products would spoil.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

__all__ = [
    "Canvas",
    "Capsule",
    "Ellipse",
    "Look",
    "Mark",
    "Mouth",
    "Pill",
    "Shape",
    "Solid",
    "Torso",
    "centres",
]

_MARGIN = 2.0  # pixels a window exceeds its shape: half a pixel of coverage, and a line around it
_TINY = 1e-12  # keeps the gradient's length from being zero in the middle of a shape

# m, and its gradient with the sign turned (pointing outwards), each broadcastable to (h, w, n)
Measure = tuple[Tensor, Tensor, Tensor]
# left, right, top, bottom, each (n,)
Box = tuple[Tensor, Tensor, Tensor, Tensor]


class Shape(Protocol):
    """What can be painted: an inside function and a box that holds it."""

    def measure(self, x: Tensor, y: Tensor) -> Measure:
        """Return m and its outward gradient at x (1, w, 1) and y (h, 1, 1)."""

    def box(self) -> Box:
        """Left, right, top and bottom, each (n,)."""


@dataclass
class Ellipse:
    """m = 1 - u^2 - v^2 (or 1 - u^p - v^p, p = 4 for a rounded box); every parameter is (n,)."""

    cx: Tensor
    cy: Tensor
    a: Tensor
    b: Tensor
    power: int = 2
    present: Tensor | None = None

    def measure(self, x: Tensor, y: Tensor) -> Measure:
        """See `Shape.measure`; everything but m is as thin as x or y."""
        u, v = (x - self.cx) / self.a, (y - self.cy) / self.b
        uu, vv = u * u, v * v
        if self.power == 2:
            gx, gy = 2 * u / self.a, 2 * v / self.b
        else:
            gx, gy = 4 * uu * u / self.a, 4 * vv * v / self.b
            uu, vv = uu * uu, vv * vv
        return (1 - vv) - uu, gx, gy

    def box(self) -> Box:
        """See `Shape.box`."""
        box = (self.cx - self.a, self.cx + self.a, self.cy - self.b, self.cy + self.b)
        if self.present is None:
            return box
        nowhere = (4.0, -4.0, 4.0, -4.0)
        left, right, top, bottom = (
            torch.where(self.present, side, none) for side, none in zip(box, nowhere, strict=True)
        )
        return left, right, top, bottom


@dataclass
class Capsule:
    """m = 1 - (distance to the segment from (ax, ay) to (bx, by) / radius)^2; parameters (n,)."""

    ax: Tensor
    ay: Tensor
    bx: Tensor
    by: Tensor
    radius: Tensor

    def measure(self, x: Tensor, y: Tensor) -> Measure:
        """See `Shape.measure`."""
        dx, dy = self.bx - self.ax, self.by - self.ay
        scale = 1 / (dx * dx + dy * dy + _TINY)
        u, v = x - self.ax, y - self.ay
        along = (u * (dx * scale) + v * (dy * scale)).clamp_(0, 1)
        u, v = (u - along * dx) / self.radius, (v - along * dy) / self.radius
        m = 1 - u * u
        m -= v * v
        return m, u.mul_(2 / self.radius), v.mul_(2 / self.radius)

    def box(self) -> Box:
        """See `Shape.box`."""
        return (
            torch.minimum(self.ax, self.bx) - self.radius,
            torch.maximum(self.ax, self.bx) + self.radius,
            torch.minimum(self.ay, self.by) - self.radius,
            torch.maximum(self.ay, self.by) + self.radius,
        )


@dataclass
class Pill:
    """An upright capsule, from (cx, top) to (cx, bottom): as cheap as an ellipse; (n,) each."""

    cx: Tensor
    top: Tensor
    bottom: Tensor
    radius: Tensor

    def measure(self, x: Tensor, y: Tensor) -> Measure:
        """See `Shape.measure`."""
        u = (x - self.cx) / self.radius
        nearest = torch.minimum(torch.maximum(y, self.top), self.bottom)
        v = (y - nearest) / self.radius
        return (1 - v * v) - u * u, 2 * u / self.radius, 2 * v / self.radius

    def box(self) -> Box:
        """See `Shape.box`."""
        r = self.radius
        return self.cx - r, self.cx + r, self.top - r, self.bottom + r


@dataclass
class Torso:
    """m = 1 - u^2 - v^4, half width going from `top` at cy - b to `bottom` at cy + b; (n,) each."""

    cx: Tensor
    cy: Tensor
    top: Tensor
    bottom: Tensor
    b: Tensor

    def measure(self, x: Tensor, y: Tensor) -> Measure:
        """See `Shape.measure`."""
        v = (y - self.cy) / self.b
        slope = 0.5 * (self.bottom - self.top)
        # Outside of its height the half width stays what it is at the end: it must not reach zero.
        inside = v.clamp(-1, 1)
        width = 0.5 * (self.bottom + self.top) + slope * inside
        slope = torch.where(inside == v, slope, 0.0) / self.b
        u = (x - self.cx) / width
        uu, vv = u * u, v * v
        gy = 4 * vv * v / self.b - uu * (2 * slope / width)
        return (1 - vv * vv) - uu, u * (2 / width), gy

    def box(self) -> Box:
        """See `Shape.box`."""
        a = torch.maximum(self.top, self.bottom)
        return self.cx - a, self.cx + a, self.cy - self.b, self.cy + self.b


@dataclass
class Mouth:
    """A band along a parabola: half width a, bent by `bend` (corners up if positive), opening."""

    cx: Tensor
    cy: Tensor
    a: Tensor
    bend: Tensor
    thickness: Tensor
    opening: Tensor

    def measure(self, x: Tensor, y: Tensor) -> Measure:
        """See `Shape.measure`."""
        u = (x - self.cx) / self.a
        bump = 1 - u * u
        half = self.thickness + self.opening * bump.clamp(min=0)
        middle = self.cy + self.bend * (bump - 0.5) + self.opening * (bump.clamp(min=0) - 0.5)
        v = (y - middle) / half
        steep = (2 * self.bend / self.a) * u  # widens the band where it runs uphill
        uu = u * u
        row = 1 - uu * uu * uu
        return row - v * v, 2 * v / half * steep + 6 * uu * uu * u / self.a, 2 * v / half

    def box(self) -> Box:
        """See `Shape.box`."""
        tall = self.bend.abs() + 2 * self.opening + self.thickness
        return self.cx - self.a, self.cx + self.a, self.cy - tall, self.cy + tall


@dataclass
class Solid:
    """A shape with relief: it owns the pixels whose centre it holds, in every modality.

    Args:
        shape: The outline.
        color: (3, n), or (3, h, 1, n) rows of the whole canvas for stripes.
        part, layer: The label, and a number below 8 that tells neighbours of one label apart in
            the edges.
        base, relief: e = base + relief * m, floats or (n,).
        above: Only what lies above this y (n,) is painted.
        without: This shape is cut out.
    """

    shape: Shape
    color: Tensor
    part: int
    base: Tensor | float
    relief: Tensor | float
    layer: int = 0
    above: Tensor | None = None
    without: Shape | None = None


@dataclass
class Mark:
    """Paint on what is there already: relief and normals stay, the label changes if `part` is set.

    Args:
        shape: The outline.
        color: (3, n).
        part: The label, or None to leave the labels alone.
        opacity: Float or (n,).
        ring: Half thickness (n,) of a line along the outline, instead of its inside.
        soft: Fade from the middle to the outline.
        above: Only what lies above this y (n,) is painted.
    """

    shape: Shape
    color: Tensor
    part: int | None = None
    opacity: Tensor | float = 1.0
    ring: Tensor | None = None
    soft: bool = False
    above: Tensor | None = None


@dataclass(frozen=True)
class Look:
    """A style: every solid is a blend from its dark to its bright colour.

    Args:
        dark, bright: Three multipliers each, from the solid's colour to the two ends of the blend.
        paper: How far the bright end and the background are pulled to white.
        lambert: How much the light decides on the blend; 0 is always bright.
        outline: How dark the outline is; 0 is none.
        thickness: Of the outline, in half image widths.
        hatching: How strong the hatching of the shadows is.
        ink: Whether the dark end is `dark` itself, one ink for all, instead of a multiple of
            the colour.
        inverted: Whether the finished picture is inverted.
    """

    dark: tuple[float, float, float] = (0.46, 0.36, 0.47)
    bright: tuple[float, float, float] = (1.06, 1.05, 1.03)
    paper: float = 0.0
    lambert: float = 1.0
    outline: float = 0.6
    thickness: float = 0.035
    hatching: float = 0.0
    ink: bool = False
    inverted: bool = False


def _distance(shape: Shape, measure: Measure, x: Tensor, y: Tensor, pixel: float) -> Tensor:
    """Signed distance to the outline in pixels, positive inside, to first order.

    Nothing lies farther inside than the box allows. Beyond the ends of a thin shape the first order
    alone is wrong: there the gradient looks across the shape, and a line would go on without end.
    """
    m, gx, gy = measure
    gx, gy = gx * pixel, gy * pixel
    length = gx * gx + (gy * gy + _TINY)
    distance = m / length.sqrt_()
    left, right, top, bottom = shape.box()
    torch.minimum(distance, torch.minimum(x - left, right - x) / pixel, out=distance)
    return torch.minimum(distance, torch.minimum(y - top, bottom - y) / pixel, out=distance)


def _indicator(distance: Tensor) -> Tensor:
    """1.0 where distance > 0, else 0.0; comparisons and `where` are several times slower.

    A distance is a difference of numbers near 1: it is zero or more than 1e-9, hence the factor.
    """
    return (distance * 1e30).clamp_(0, 1)


def centres(size: int, device: torch.device) -> Tensor:
    """The coordinates (size,) of the pixel centres."""
    return (torch.arange(size, device=device) * 2 + 1) / size - 1


@dataclass
class Canvas:
    """The buffers of n pictures, batch last, and the two ways of painting on them.

    Args:
        color: (3, size, size, n), the picture behind; no rows of colour, (0, ...), if it is not
            wanted.
        relief: (c, size, size, n) zeros, painted as far as there are channels: code (8 part +
            layer), e, -de/dx, -de/dy. Codes are floats, so that one mask serves all channels.
        light: (3, n), unit vectors towards the light.
        look: The style.
    """

    color: Tensor
    relief: Tensor
    light: Tensor
    look: Look
    pixel: float = field(init=False)
    x: Tensor = field(init=False)
    y: Tensor = field(init=False)

    def __post_init__(self) -> None:
        size = self.relief.shape[1]
        self.pixel = 2.0 / size
        axis = centres(size, self.relief.device)
        self.x, self.y = axis[None, :, None], axis[:, None, None]

    def paint(self, strokes: Sequence[Solid | Mark]) -> None:
        """Paint from back to front, each stroke in a window that holds it for the whole batch."""
        corners = torch.stack([_corners(stroke) for stroke in strokes])
        lowest = corners[:, 0::2].amin(2)
        highest = corners[:, 1::2].amax(2)
        boxes = torch.stack([lowest, highest], 2).flatten(1).tolist()  # the one wait for a GPU
        for stroke, (left, right, top, bottom) in zip(strokes, boxes, strict=True):
            rows, columns = self._span(top, bottom), self._span(left, right)
            if rows.start >= rows.stop or columns.start >= columns.stop:
                continue
            if isinstance(stroke, Solid):
                self._solid(stroke, rows, columns)
            else:
                self._mark(stroke, rows, columns)

    def _span(self, low: float, high: float) -> slice:
        start = math.floor((low + 1) / self.pixel - _MARGIN)
        stop = math.ceil((high + 1) / self.pixel + _MARGIN)
        return slice(
            min(max(start, 0), self.relief.shape[1]), max(min(stop, self.relief.shape[1]), 0)
        )

    def _solid(self, solid: Solid, rows: slice, columns: slice) -> None:
        x, y = self.x[:, columns], self.y[rows]
        measure = solid.shape.measure(x, y)
        distance = _distance(solid.shape, measure, x, y, self.pixel)
        if solid.without is not None:
            cut = solid.without
            hole = _distance(cut, cut.measure(x, y), x, y, self.pixel)
            distance = torch.minimum(distance, hole.neg_())
        if solid.above is not None:
            distance = torch.minimum(distance, (solid.above - y) / self.pixel)
        m, gx, gy = measure
        slope_x, slope_y = gx * solid.relief, gy * solid.relief
        if len(self.color):
            self._blend(solid, rows, columns, distance, slope_x, slope_y)
        if len(self.relief):
            inside = _indicator(distance)
            window = self.relief[:, rows, columns]
            window *= 1 - inside
            window[0] += inside * float(solid.part * 8 + solid.layer)
            if len(window) > 1:
                window[1] += (m * solid.relief + solid.base) * inside
            if len(window) > 2:
                window[2] += slope_x * inside
                window[3] += slope_y * inside

    def _blend(
        self,
        solid: Solid,
        rows: slice,
        columns: slice,
        distance: Tensor,
        slope_x: Tensor,
        slope_y: Tensor,
    ) -> None:
        """Composite the solid's colour, between its dark and its bright end, over the canvas."""
        look = self.look
        color = solid.color if solid.color.ndim == 4 else solid.color[:, None, None, :]
        color = color[:, rows] if color.shape[1] > 1 else color
        bright = _tinted(color, look.bright, look.paper)
        window = self.color[:, rows, columns]
        blend = self._blending(distance, slope_x, slope_y, rows, columns)
        if blend is None:
            paint = bright - window
        else:
            dark = _tinted(torch.ones_like(color) if look.ink else color, look.dark, 0.0)
            paint = blend * (bright - dark)
            paint += dark
            paint -= window
        paint *= (distance + 0.5).clamp_(0, 1)
        window += paint

    def _blending(
        self, distance: Tensor, slope_x: Tensor, slope_y: Tensor, rows: slice, columns: slice
    ) -> Tensor | None:
        """0 (dark) to 1 (bright) by light, outline and hatching; None for always bright."""
        look = self.look
        blend: Tensor | None = None
        if look.lambert:
            lx, ly, lz = self.light * (0.8 * look.lambert)
            length = (slope_x * slope_x + 1) + slope_y * slope_y
            blend = (slope_x * lx + lz) + slope_y * ly
            blend /= length.sqrt_()
            blend += 1 - 0.64 * look.lambert  # wrapped light: the shadow side keeps its colours
            blend.clamp_(0.0, 1.15)
        if look.hatching and blend is not None:
            shade = (0.86 - blend).mul_(4.0).clamp_(0, 1)
            blend = 1 - shade * (self._hatching(rows, columns) * look.hatching)
        if look.outline:
            thickness = max(look.thickness / self.pixel, 0.7)
            line = (distance + 0.2).mul_(1 / thickness).clamp_(0, 1)
            line *= look.outline
            line += 1 - look.outline
            blend = line if blend is None else blend.mul_(line)
        return blend

    def _hatching(self, rows: slice, columns: slice) -> Tensor:
        """Diagonal strokes, 0 to 1, four pixels apart at least."""
        period = max(0.11, 3.6 * self.pixel)
        phase = (self.x[:, columns] + self.y[rows]) / period
        wave = (phase - phase.floor() - 0.5).abs_().mul_(2)  # 0 to 1 to 0, without a sine
        return wave.sub_(0.35).mul_(1.8).clamp_(0, 1)

    def _mark(self, mark: Mark, rows: slice, columns: slice) -> None:
        x, y = self.x[:, columns], self.y[rows]
        labels = mark.part is not None and len(self.relief) > 0
        if not (len(self.color) or labels):
            return
        measure = mark.shape.measure(x, y)
        distance = _distance(mark.shape, measure, x, y, self.pixel)
        if mark.ring is not None:
            distance = mark.ring / self.pixel - distance.abs_()
        if mark.above is not None:
            distance = torch.minimum(distance, (mark.above - y) / self.pixel)
        if len(self.color):
            window = self.color[:, rows, columns]
            coverage = measure[0].clamp(0, 1) if mark.soft else (distance + 0.5).clamp(0, 1)
            coverage = coverage * mark.opacity
            # Paper and ink: marks keep more of their colour than solids, or the eyes would fade.
            ink = _tinted(mark.color[:, None, None, :], (1.0, 1.0, 1.0), 0.4 * self.look.paper)
            window += (ink - window) * coverage
        if labels and mark.part is not None:
            # A label never leaves the person: marks only relabel what is a part already.
            codes = self.relief[0, rows, columns]
            inside = _indicator(distance) * codes.clamp(0, 1)
            codes *= 1 - inside
            codes += inside * float(mark.part * 8)


def _corners(stroke: Solid | Mark) -> Tensor:
    """(4, n): left, right, top and bottom of what a stroke can paint."""
    left, right, top, bottom = stroke.shape.box()
    if stroke.above is not None:
        bottom = torch.minimum(bottom, stroke.above)
    return torch.stack([left, right, top, bottom])


def _tinted(color: Tensor, factors: tuple[float, float, float], paper: float) -> Tensor:
    """(3, ...) colour times three factors, pulled towards white by `paper`."""
    tone = torch.tensor(factors, device=color.device).reshape(3, *[1] * (color.ndim - 1))
    return (color * tone).clamp_(0, 1) * (1 - paper) + paper
