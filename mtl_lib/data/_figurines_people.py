"""What a figurine looks like: from factors in [0, 1] to the strokes of its portrait and its body.

The head is one function for both views, so that they show the same person.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mtl_lib.data._figurines_person import CLASSES, PARTS, Number, Person, ramp, through
from mtl_lib.data._figurines_raster import (
    Capsule,
    Ellipse,
    Look,
    Mark,
    Mouth,
    Pill,
    Solid,
    Torso,
    centres,
)

__all__ = ["background", "strokes"]

_HAIR, _SKIN, _EYES, _MOUTH, _HEADWEAR, _TOP, _LEGS, _SHOES = range(1, len(PARTS))

_INK = (0.15, 0.10, 0.11)

_WHITE = (1.0, 1.0, 1.0)
_ROSE = (0.94, 0.36, 0.36)
Stroke = Solid | Mark


@dataclass
class _Frame:
    """Local coordinates: (u, v) in units of k about (cx, cy)."""

    person: Person
    cx: Tensor
    cy: Tensor
    k: Tensor

    def ellipse(self, u: Number, v: Number, a: Number, b: Number, **options: object) -> Ellipse:
        number, k = self.person.number, self.k
        return Ellipse(
            self.cx + k * u,
            self.cy + k * v,
            number(k * a),
            number(k * b),
            **options,  # type: ignore[arg-type]
        )

    def capsule(
        self, start: tuple[Number, Number], end: tuple[Number, Number], r: Number
    ) -> Capsule:
        k = self.k
        return Capsule(
            self.cx + k * start[0],
            self.cy + k * start[1],
            self.cx + k * end[0],
            self.cy + k * end[1],
            self.person.number(k * r),
        )

    def pill(self, u: Tensor, top: float, bottom: Tensor, r: Tensor) -> Pill:
        """An upright capsule."""
        k = self.k
        return Pill(self.cx + k * u, self.cy + k * top, self.cy + k * bottom, k * r)


def _head_width(person: Person) -> Tensor:
    return through(person.age, 0.98, 0.90, 0.92) * (0.86 + 0.26 * person.width)


def _back_hair(head: _Frame, z: float) -> list[Stroke]:
    """What hangs behind the neck and the shoulders."""
    person, a = head.person, _head_width(head.person)
    length = person.hair_length
    bottom = through(length, 0.5, 1.05, 2.0)
    middle, half = 0.5 * (bottom - 0.5), 0.5 * (bottom + 0.5)
    shape = head.ellipse(0.0, middle, a + through(length, -0.06, 0.18, 0.27), half, power=4)
    return [Solid(shape, person.hair_tone() * 0.88, _HAIR, z, 0.08 * head.k, layer=1)]


def _skull(head: _Frame, z: float) -> list[Stroke]:
    """Ears, and the head with everything on it that is skin."""
    person, k, a = head.person, head.k, _head_width(head.person)
    skin = person.skin_color()
    b = through(person.age, 0.94, 1.0, 1.0)
    drawn: list[Stroke] = [
        Solid(
            head.ellipse(side * (a + 0.01), 0.16, 0.15, 0.2),
            skin * 0.96,
            _SKIN,
            z,
            0.1 * k,
            layer=1,
        )
        for side in (-1.0, 1.0)
    ]
    drawn.append(Solid(head.ellipse(0.0, 0.06, a, b), skin, _SKIN, z + 0.06, 0.6 * k, layer=2))
    blush = skin * 0.55 + person.paint(_ROSE) * 0.45
    drawn += [
        Mark(head.ellipse(s * 0.58 * a, 0.44, 0.27, 0.22), blush, opacity=0.75, soft=True)
        for s in (-1.0, 1.0)
    ]
    drawn.append(
        Mark(head.ellipse(0.0, 0.34, through(person.age, 0.08, 0.1, 0.15), 0.075), skin * 0.80)
    )
    return drawn


def _eyes(head: _Frame) -> list[Stroke]:
    """Eyes with lash line, white, pupil and highlight; brows; glasses come with age."""
    person, a = head.person, _head_width(head.person)
    ink, white = person.paint(_INK), person.paint(_WHITE)
    size = through(person.age, 1.32, 1.0, 0.85)
    happy = 1 - 0.28 * ramp(person.smile, 0.55, 1.0)
    level = through(person.age, 0.14, 0.06, 0.06)
    brow = through(person.smile, 0.06, -0.02, -0.1)  # the inner ends: raised when sad
    iris = person.paint((0.62, 0.40, 0.26))
    shine = (person.light - 0.5) * 0.14  # the highlight sits on the side of the light
    drawn: list[Stroke] = []
    for side in (-1.0, 1.0):
        u = side * (0.42 * a)
        drawn += [
            Mark(head.ellipse(u, level - 0.045, 0.20 * size, 0.23 * size * happy), ink),
            Mark(head.ellipse(u, level + 0.02, 0.19 * size, 0.22 * size * happy), white, _EYES),
            Mark(head.ellipse(u * 0.95, level + 0.02, 0.145 * size, 0.20 * size * happy), ink),
            Mark(
                head.ellipse(u * 0.95, level + 0.10 * size, 0.09 * size, 0.09 * size * happy),
                iris,
                opacity=0.8,
                soft=True,
            ),
            Mark(
                head.ellipse(u * 0.95 + shine, level - 0.06 * size, 0.062 * size, 0.07 * size),
                white,
            ),
            Mark(
                head.capsule(
                    (u - side * 0.15, level - 0.33 * size - brow * 0.6),
                    (u + side * 0.17, level - 0.33 * size + brow * 0.4),
                    0.045,
                ),
                person.hair_tone() * 0.6,
            ),
        ]
    return drawn + _glasses(head, level)


def _glasses(head: _Frame, level: Tensor) -> list[Stroke]:
    person, a = head.person, _head_width(head.person)
    worn = ramp(person.age, 0.68, 0.82)
    dark, gold = person.paint((0.30, 0.20, 0.22)), person.paint((0.88, 0.68, 0.36))
    frame = gold + (dark - gold) * ramp(person.skin, 0.2, 0.5)  # readable on every skin
    wrinkle = person.skin_color() * 0.72
    drawn: list[Stroke] = [
        Mark(
            head.ellipse(s * 0.43 * a, level + 0.02, 0.32, 0.31),
            frame,
            opacity=worn,
            ring=head.k * 0.035,
        )
        for s in (-1.0, 1.0)
    ]
    drawn.append(
        Mark(
            head.capsule((-0.43 * a + 0.32, level), (0.43 * a - 0.32, level), 0.035),
            frame,
            opacity=worn,
        )
    )
    drawn += [
        Mark(
            head.capsule((s * 0.36 * a, 0.42), (s * 0.46 * a, 0.60), 0.025),
            wrinkle,
            opacity=worn,
        )
        for s in (-1.0, 1.0)
    ]
    return drawn


def _smile(head: _Frame) -> list[Stroke]:
    """From corners down, over a gentle smile, to a laugh with teeth."""
    person, k, number = head.person, head.k, head.person.number
    wide = k * through(person.smile, 0.20, 0.27, 0.36)
    bend = k * through(person.smile, -0.16, 0.10, 0.22)
    opening = k * 0.13 * ramp(person.smile, 0.5, 1.0)
    shape = Mouth(head.cx, head.cy + k * 0.62, wide, bend, number(k * 0.05), opening)
    dark, fair = person.paint((0.74, 0.33, 0.31)), person.paint((0.66, 0.22, 0.22))
    lips = dark + (fair - dark) * ramp(person.skin, 0.0, 0.5)
    teeth = Mouth(
        head.cx,
        head.cy + k * 0.58,
        wide * 0.72,
        bend * 0.72,
        number(k * 0.004),
        opening * 0.42,
    )
    laugh = ramp(person.smile, 0.65, 0.85)
    return [
        Mark(shape, lips, _MOUTH),
        Mark(teeth, person.paint(_WHITE), opacity=laugh),
    ]


def _front_hair(head: _Frame, z: float) -> list[Stroke]:
    """Locks beside the cheeks and a fringe swept to one side."""
    person, k, a = head.person, head.k, _head_width(head.person)
    tone, length = person.hair_tone(), person.hair_length
    thick = through(length, 0.06, 0.15, 0.19)
    drop = through(length, 0.02, 0.55, 1.25)
    drawn: list[Stroke] = [
        Solid(
            head.pill(s * (a - 0.04 + 0.4 * thick), -0.25, drop, thick),
            tone,
            _HAIR,
            z + 0.02,
            0.5 * thick * k,
            layer=2,
        )
        for s in (-1.0, 1.0)
    ]
    puff = through(length, 0.03, 0.12, 0.15)
    hairline = through(length, 0.44, 0.56, 0.60) - 0.10 * ramp(person.age, 0.6, 1.0)
    opening = head.ellipse(0.20 * a, hairline, a * 1.05, through(length, 1.02, 0.88, 0.84))
    cap = head.ellipse(0.0, -0.10, a + puff, 0.98 + 0.8 * puff)
    drawn.append(Solid(cap, tone, _HAIR, z + 0.12, 0.6 * k, layer=3, without=opening))
    gloss = head.ellipse(-0.32 * a, -0.74, 0.36, 0.13)
    shine = tone * 0.5 + 0.5
    drawn.append(Mark(gloss, shine, opacity=0.45, soft=True))
    return drawn


# One row a slot, from back to front: class -> (u, v, a, b), in head units.
_SLOTS: tuple[dict[str, tuple[float, float, float, float]], ...] = (
    {"straw hat": (0.0, -0.52, 1.47, 0.28), "bow": (-0.02, -0.98, 0.36, 0.27),
     "crown": (-0.50, -0.98, 0.20, 0.42)},
    {"straw hat": (0.0, -0.62, 0.92, 0.72), "beanie": (0.0, -0.34, 1.10, 0.88),
     "bow": (0.74, -0.86, 0.36, 0.27), "crown": (0.50, -0.98, 0.20, 0.42)},
    {"beanie": (0.0, -1.28, 0.27, 0.25), "bow": (0.36, -0.93, 0.15, 0.16),
     "crown": (0.0, -1.02, 0.22, 0.50)},
    {"beanie": (0.0, -0.46, 1.12, 0.19), "straw hat": (0.0, -0.68, 0.90, 0.11),
     "crown": (0.0, -0.80, 0.74, 0.17)},
)  # fmt: skip
_HEADWEAR_COLORS: tuple[dict[str, tuple[float, float, float]], ...] = (
    {"straw hat": (0.95, 0.80, 0.48), "bow": (0.93, 0.30, 0.45), "crown": (0.98, 0.78, 0.22)},
    {"straw hat": (0.96, 0.83, 0.54), "beanie": (0.33, 0.56, 0.86), "bow": (0.93, 0.30, 0.45),
     "crown": (0.98, 0.78, 0.22)},
    {"beanie": (0.99, 0.96, 0.90), "bow": (0.80, 0.20, 0.36), "crown": (1.00, 0.83, 0.30)},
    {"beanie": (0.99, 0.96, 0.90), "straw hat": (0.84, 0.28, 0.26), "crown": (0.93, 0.66, 0.16)},
)  # fmt: skip


def _headwear(head: _Frame, z: float) -> list[Stroke]:
    """Four slots that every kind of headwear shares: one batch holds all kinds."""
    person, k, a = head.person, head.k, _head_width(head.person)
    device = k.device
    drawn: list[Stroke] = []
    for i, (slot, paints) in enumerate(zip(_SLOTS, _HEADWEAR_COLORS, strict=True)):
        rows = torch.tensor(
            [slot.get(name, (0.0, 0.0, 0.1, 0.1)) for name in CLASSES], device=device
        )
        tones = torch.tensor([paints.get(name, (0.0, 0.0, 0.0)) for name in CLASSES], device=device)
        worn = torch.tensor([name in slot for name in CLASSES], device=device)
        u, v, wide, tall = rows[person.headwear].unbind(1)
        shape = head.ellipse(
            u * a,
            v,
            wide * (a * 0.8 + 0.2),
            tall,
            power=4 if i == 3 else 2,
            present=worn[person.headwear],
        )
        color = tones[person.headwear].T.contiguous()
        above = None
        if i == 1:  # domes end at the brim or the cuff
            cuts = {"straw hat": -0.60, "beanie": -0.42}
            cut = torch.tensor([cuts.get(name, 9.0) for name in CLASSES], device=device)
            above = head.cy + k * cut[person.headwear]
        relief = 0.5 * k * torch.minimum(wide, tall)
        drawn.append(
            Solid(shape, color, _HEADWEAR, z + 0.22 + 0.02 * i, relief, layer=i, above=above)
        )
    return drawn


def _head(head: _Frame, z: float) -> list[Stroke]:
    return [
        *_skull(head, z),
        *_eyes(head),
        *_smile(head),
        *_front_hair(head, z),
        *_headwear(head, z),
    ]


def _striped(
    person: Person, base: Tensor, trim: Tensor, rows: Tensor, start: Tensor, step: Tensor
) -> Tensor:
    """(3, h, 1, n): `base` striped in `trim` at start and start + step, (n,); rows is (h,)."""
    strength = (1.0 - (person.clothes * 3.0 - 1.5).abs()).clamp(0, 0.5) * 2
    pixel = 2.0 / len(rows)
    y = rows[:, None]
    band = torch.zeros_like(y * start)
    for i in (0, 1):
        distance = 0.25 * step - (y - start - i * step).abs()
        band = band + (distance / pixel + 0.5).clamp(0, 1)
    band = (band.clamp(0, 1) * strength)[None, :, None, :]
    return base[:, None, None, :] * (1 - band) + trim[:, None, None, :] * band


def _portrait(person: Person, rows: Tensor) -> list[Stroke]:
    age, number = person.age, person.number
    k = through(age, 0.60, 0.56, 0.56)
    head = _Frame(person, number(0.0), through(age, 0.06, 0.0, 0.0), k)
    top, trim = person.top_color(), person.trim_color()
    wide = through(age, 0.50, 0.74, 0.68) * (0.80 + 0.45 * person.width)
    neck = through(age, 0.15, 0.20, 0.18) * (0.85 + 0.3 * person.width)
    shoulders = Torso(
        number(0.0), number(1.18), wide * 0.9, wide * 1.1, through(age, 0.48, 0.54, 0.52)
    )
    clothes = _striped(person, top, trim, rows, number(0.86), number(0.16))
    collar = [
        Solid(
            Ellipse(s * (neck * 0.95), number(0.70), number(0.19), number(0.095)),
            trim,
            _TOP,
            0.16,
            0.04,
            layer=1 + int(s > 0),
        )
        for s in (-1.0, 1.0)
    ]
    return [
        *_back_hair(head, 0.05),
        Solid(shoulders, clothes, _TOP, 0.08, 0.22),
        Solid(
            Pill(number(0.0), number(0.3), number(0.64), neck),
            person.skin_color() * 0.86,
            _SKIN,
            0.14,
            0.08,
        ),
        *collar,
        *_head(head, 0.24),
    ]


def _towards(t: Tensor, *keys: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Unit vector (x, y) turning through directions at equal steps of t, without a sine."""
    x = through(t, *(key[0] for key in keys))
    y = through(t, *(key[1] for key in keys))
    length = (x * x + y * y).sqrt()
    return x / length, y / length


def _arm(
    person: Person, side: float, x: Tensor, y: Tensor, length: Tensor, r: Tensor
) -> list[Stroke]:
    """A sleeve, a bare forearm and a hand; the right one of the picture waves."""
    pose = person.arm_pose if side > 0 else person.arm_pose * 0.45
    ux, uy = _towards(pose, (0.30, 0.95), (0.95, 0.50), (1.0, -0.20), (0.80, -0.75))
    fx, fy = _towards(pose, (0.12, 0.99), (0.85, 0.20), (0.55, -0.85), (0.30, -1.0))
    half = 0.5 * length
    layer = 3 if side > 0 else 4
    ex, ey = x + side * half * ux, y + half * uy
    hx, hy = ex + side * half * fx, ey + half * fy
    skin, top = person.skin_color(), person.top_color() * 0.94
    return [
        Solid(Capsule(ex, ey, hx, hy, r * 0.8), skin, _SKIN, 0.16, 0.5 * r, layer=layer),
        Solid(Ellipse(hx, hy, r * 1.2, r * 1.2), skin, _SKIN, 0.17, 0.7 * r, layer=layer + 2),
        Solid(Capsule(x, y, ex, ey, r), top, _TOP, 0.18, 0.5 * r, layer=layer),
    ]


def _figure(person: Person, rows: Tensor) -> list[Stroke]:
    age, number = person.age, person.number
    ground = 0.93
    height = through(age, 1.42, 1.70, 1.58)
    k = through(age, 0.45, 0.385, 0.385)
    trunk = height - 2 * k
    head = _Frame(person, number(0.0), ground - height + k, k)
    neck = ground - height + 1.9 * k
    hip = ground - trunk * 0.46
    stout = 0.74 + 0.56 * person.width
    wide = through(age, 0.215, 0.25, 0.26) * stout
    dress = ramp(person.clothes, 0.55, 0.9)
    hem = hip + 0.06 + dress * (0.22 * trunk)
    torso = Torso(
        number(0.0),
        0.5 * (neck + hem),
        wide * 0.92,
        wide * (1.04 + 0.55 * dress),
        0.5 * (hem - neck) + 0.02,
    )
    top, trim = person.top_color(), person.trim_color()
    clothes = _striped(person, top, trim, rows, neck + 0.36 * (hem - neck), 0.26 * (hem - neck))
    trousers = person.legs_color()
    leg = through(age, 0.092, 0.098, 0.094) * (0.82 + 0.36 * person.width)
    drawn: list[Stroke] = [*_back_hair(head, 0.05)]
    for side in (-1.0, 1.0):
        x, layer = side * (wide * 0.50), int(side > 0)
        drawn += [
            Solid(
                Ellipse(x + side * 0.025, number(ground - 0.045), leg * 1.35, number(0.065)),
                person.paint((0.34, 0.22, 0.20)),
                _SHOES,
                0.08,
                0.05,
                layer=layer,
            ),
            Solid(
                Pill(x, hip, number(ground - 0.11), leg),
                trousers,
                _LEGS,
                0.07,
                0.5 * leg,
                layer=layer,
            ),
        ]
    drawn.append(Solid(torso, clothes, _TOP, 0.10, 0.35 * wide, layer=0))
    reach = through(age, 0.42, 0.60, 0.57)
    r = through(age, 0.074, 0.080, 0.076) * (0.85 + 0.3 * person.width)
    for side in (-1.0, 1.0):
        drawn += _arm(person, side, side * (wide * 0.82), neck + 0.13, reach, r)
    return drawn + _head(head, 0.26)


def background(person: Person, view: str, size: int, look: Look) -> Tensor:
    """The wall behind the persons, (3, size, size, n): a pastel, a soft disc, the light's side."""
    axis = centres(size, person.factors.device)
    x, y = axis[None, :, None], axis[:, None, None]
    wall = person.wall_color()[:, None, None, :]
    distance = (1 - (x * x + y * y) / 0.9) * (0.24 * size)
    disc = distance.add(0.5).clamp(0, 1) * 0.30
    tone = 1.02 - 0.06 * y
    if view == "body":
        tone = tone - ((y - 0.62) * (0.5 * size) + 0.5).clamp(0, 1) * 0.12
    picture = wall * ((1 - disc) * tone) + disc * tone
    if look.lambert:
        picture *= x * (0.16 * person.towards_light()[0]) + 0.97
    paper = min(1.0, 1.6 * look.paper)  # paler than the person, who must stand out
    return (picture * (1 - paper) + paper).clamp_(0, 1)


def _shadow(person: Person) -> list[Stroke]:
    number = person.number
    x = person.towards_light()[0] * -0.16
    wide = 0.34 + 0.12 * person.width
    shade = person.paint((0.30, 0.22, 0.34))
    return [
        Mark(Ellipse(x, number(0.92), number(wide), number(0.11)), shade, opacity=0.55, soft=True)
    ]


def strokes(person: Person, view: str, rows: Tensor) -> list[Stroke]:
    """All strokes of a view, from back to front; rows (size,) are the y of the pixel centres."""
    if view == "face":
        return _portrait(person, rows)
    return [*_shadow(person), *_figure(person, rows)]
