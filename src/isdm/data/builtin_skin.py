"""The skin of the built-in demo's fruit: what colour, relief and defects a point of the surface has.

Everything here lives on the unit sphere of the fruit's own coordinates. A camera that turns around the
fruit asks for the same skin at other points, so several views of one fruit agree with one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLEMISH, GANGRENE, MOULD = 1, 2, 3
NUM_CLASSES = 4


# --- smooth building blocks ---------------------------------------------------------------------------


class Waves(NamedTuple):
    """Band-limited noise in space: a sum of cosine waves in random directions."""

    vectors: Floats  # (3, M) wave vectors, radians per unit of length
    phases: Floats  # (M,) radians


def random_waves(rng: np.random.Generator, low: float, high: float, count: int = 14) -> Waves:
    """Draw `count` waves whose frequencies (radians per fruit radius) lie between `low` and `high`."""
    directions = random_directions(rng, count)
    frequencies = rng.uniform(low, high, size=(count, 1))
    return Waves((directions * frequencies).T, rng.uniform(0.0, 2.0 * np.pi, size=count))


def evaluate_waves(waves: Waves, points: Floats) -> Floats:
    """Noise at `points` (N, 3): an (N,) array of about zero mean and unit variance."""
    # Single precision: the cosines are most of a view's cost, and nothing here needs more.
    angles = points.astype(np.float32) @ waves.vectors.astype(np.float32) + waves.phases.astype(np.float32)
    total = np.cos(angles).sum(axis=1, dtype=np.float64)
    return np.asarray(total * np.sqrt(2.0 / waves.phases.size), dtype=np.float64)


def random_directions(rng: np.random.Generator, count: int) -> Floats:
    """Draw `count` unit vectors, evenly spread over the sphere: (count, 3)."""
    return unit(rng.standard_normal((count, 3)))


def unit(vectors: Floats) -> Floats:
    """Scale vectors along the last axis to length one."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float64)


def smoothstep(low: float, high: float, value: Floats) -> Floats:
    """Rise smoothly from 0 at `low` to 1 at `high`, passing 0.5 exactly half-way."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float64)


def mix(first: Floats, second: Floats, share: Floats) -> Floats:
    """Blend colours (..., 3): `first` where `share` (N,) is 0, `second` where it is 1."""
    return first + (second - first) * share[:, None]


def linear_rgb(*colour: float) -> Floats:
    """Turn an 8-bit display colour into linear light in [0, 1], the scale in which light adds up."""
    return np.asarray((np.asarray(colour) / 255.0) ** 2.2, dtype=np.float64)


# --- what a skin is -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Defect:
    """One irregular patch on the skin: a few overlapping round lobes with a ragged rim."""

    class_id: int
    lobes: Floats  # (K, 3) unit vectors, the middles of the lobes
    radii: Floats  # (K,) radians
    border: Waves
    grain: Waves
    strength: float  # opacity of its colour in the middle, 0..1


@dataclass(frozen=True)
class Skin:
    """All that the surface of one fruit shows, apart from light."""

    ripe: Floats  # (3,) linear RGB
    unripe: Floats  # (3,) linear RGB of the patches that ripen late
    unripe_level: float  # how far those patches have spread: about -2 (none) to 1
    tint: Waves
    pores: Waves
    lumps: Waves
    stem: Floats  # (3,) unit vector
    defects: tuple[Defect, ...]


class Surface(NamedTuple):
    """The skin seen at N points."""

    albedo: Floats  # (N, 3) linear RGB
    height: Floats  # (N,) relief in fruit radii, positive outwards
    gloss: Floats  # (N,) strength of the highlight, 0..1
    shares: Floats  # (N, NUM_CLASSES) what the point belongs to, sums to 1; column 0 is healthy skin


# --- drawing a skin at random -------------------------------------------------------------------------

# (ripe, unripe) display colours: orange, mandarin, lemon, lime.
_VARIETIES = (
    (linear_rgb(238, 142, 30), linear_rgb(214, 170, 52)),
    (linear_rgb(232, 112, 28), linear_rgb(226, 152, 44)),
    (linear_rgb(232, 196, 56), linear_rgb(186, 192, 62)),
    (linear_rgb(136, 168, 52), linear_rgb(190, 190, 70)),
)
_VARIETY_ODDS = (0.4, 0.2, 0.22, 0.18)

_RADIUS_RANGE = {BLEMISH: (0.50, 0.76), GANGRENE: (0.47, 0.68), MOULD: (0.42, 0.60)}
_SOFTNESS = {BLEMISH: 0.07, GANGRENE: 0.08, MOULD: 0.09}  # half-width of the border, radians
# How much of the skin beneath shows through is drawn between these; little does through black rot, on
# which even a few per cent of a bright skin would glow.
_STRENGTH_RANGE = {BLEMISH: (0.80, 0.96), GANGRENE: (0.97, 1.0), MOULD: (0.86, 0.97)}

_LEAST_VISIBLE = 0.012  # share of the visible skin below which a defect is left out


def random_skin(rng: np.random.Generator, defect_classes: Sequence[int]) -> Skin:
    """Draw a skin that carries one defect of each class id listed (a class may be listed twice)."""
    ripe, unripe = _VARIETIES[rng.choice(len(_VARIETIES), p=_VARIETY_ODDS)]
    lightness = rng.uniform(0.85, 1.12)
    balance = rng.normal(1.0, 0.04, size=3)
    middles = _spread_directions(rng, len(defect_classes))
    return Skin(
        ripe=ripe * lightness * balance,
        unripe=unripe * lightness * balance,
        unripe_level=float(rng.uniform(-2.0, 0.4)),
        tint=random_waves(rng, 1.0, 3.5),
        pores=random_waves(rng, 24.0, 56.0, count=24),
        lumps=random_waves(rng, 1.5, 4.0),
        stem=random_directions(rng, 1)[0],
        defects=tuple(_random_defect(rng, c, m) for c, m in zip(defect_classes, middles, strict=True)),
    )


def _spread_directions(rng: np.random.Generator, count: int) -> list[Floats]:
    """Draw unit vectors that keep clear of one another, so that defects seldom bury defects."""
    chosen: list[Floats] = []
    for _ in range(count):
        candidates = random_directions(rng, 3)
        closeness = [max((float(c @ other) for other in chosen), default=0.0) for c in candidates]
        chosen.append(candidates[int(np.argmin(closeness))])
    return chosen


def _random_defect(rng: np.random.Generator, class_id: int, middle: Floats) -> Defect:
    radius = rng.uniform(*_RADIUS_RANGE[class_id])
    # One main lobe and up to two smaller ones that reach past its rim: seldom a disc, always one patch.
    num_side = int(rng.integers(0, 3))
    side = unit(middle + rng.uniform(0.6, 0.95, (num_side, 1)) * radius * random_directions(rng, num_side))
    radii = np.concatenate([[0.85 * radius], rng.uniform(0.4, 0.65, num_side) * radius])
    return Defect(
        class_id=class_id,
        lobes=np.vstack([middle[None], side]),
        radii=radii,
        border=random_waves(rng, 3.0, 16.0),
        grain=random_waves(rng, 14.0, 42.0, count=20),
        strength=float(rng.uniform(*_STRENGTH_RANGE[class_id])),
    )


# --- looking at a skin --------------------------------------------------------------------------------


def look_at_skin(skin: Skin, points: Floats) -> Surface:
    """What `skin` shows at `points` (N, 3), unit vectors in the fruit's own coordinates.

    `points` are all that one view sees: a defect that covers next to none of them is left out.
    """
    surface = _healthy_surface(skin, points)
    for defect in skin.defects:
        surface = _cover_with_defect(surface, defect, points)
    return surface


def lump_height(skin: Skin, points: Floats) -> Floats:
    """How far the fruit departs from its ellipsoid at `points` (N, 3), as a share of its radius."""
    return 0.016 * evaluate_waves(skin.lumps, points)


def _healthy_surface(skin: Skin, points: Floats) -> Surface:
    unripe = smoothstep(-0.9, 0.9, evaluate_waves(skin.tint, points) + skin.unripe_level)
    pores = evaluate_waves(skin.pores, points)
    albedo = mix(skin.ripe, skin.unripe, unripe) * (1.0 + 0.07 * np.clip(pores, -2.0, 1.0))[:, None]
    height = lump_height(skin, points) + 0.0022 * np.minimum(pores, 0.8)

    # The stem's green button is no defect: a trap that a good segmentation has to learn.
    angle = _angle_to(points, skin.stem[None])[:, 0] + 0.012 * pores
    button = 1.0 - smoothstep(0.07, 0.13, angle)
    dimple = np.exp(-((angle / 0.22) ** 2))
    albedo = mix(albedo * (1.0 - 0.25 * dimple)[:, None], linear_rgb(104, 122, 52), 0.9 * button)
    height = height - 0.03 * dimple + 0.015 * button

    shares = np.zeros((len(points), NUM_CLASSES))
    shares[:, 0] = 1.0
    return Surface(albedo, height, 1.0 - 0.8 * button, shares)


def _cover_with_defect(under: Surface, defect: Defect, points: Floats) -> Surface:
    depth = _defect_depth(defect, points)
    if np.mean(depth > 0.0) < _LEAST_VISIBLE:
        return under  # a sliver at the outline would be a few labelled pixels that nobody can see
    softness = _SOFTNESS[defect.class_id]
    intensity = smoothstep(-softness, softness, depth)
    touched = np.flatnonzero(intensity)
    grain = np.zeros(len(points))
    grain[touched] = evaluate_waves(defect.grain, points[touched])

    colour, relief, gloss = _LOOKS[defect.class_id](np.maximum(depth, 0.0), grain)
    shares = under.shares * (1.0 - intensity)[:, None]
    shares[:, defect.class_id] += intensity
    return Surface(
        albedo=mix(under.albedo, colour, defect.strength * intensity),
        height=under.height + relief * intensity,
        gloss=under.gloss + (gloss - under.gloss) * intensity,
        shares=shares,
    )


def _defect_depth(defect: Defect, points: Floats) -> Floats:
    """Radians inside (+) or outside (-) the defect's ragged rim."""
    inside: Floats = np.max(defect.radii - _angle_to(points, defect.lobes), axis=1)
    # The rim wanders only close to the patch: elsewhere the noise would scatter specks over the fruit.
    near = np.flatnonzero(inside > -0.6 * defect.radii[0])
    inside[near] += 0.14 * defect.radii[0] * evaluate_waves(defect.border, points[near])
    return inside


def _angle_to(points: Floats, middles: Floats) -> Floats:
    """Angles (N, K) in radians between unit vectors (N, 3) and (K, 3)."""
    return np.asarray(np.arccos(np.clip(points @ middles.T, -1.0, 1.0)), dtype=np.float64)


# Each look maps depth (N,) and grain (N,) to colour (N, 3), relief (N,) and one gloss.


def _blemish_look(depth: Floats, grain: Floats) -> tuple[Floats, Floats, float]:
    """A corky scar: tan inside, browner at its rim, cracked all over."""
    cork = smoothstep(0.0, 0.16, depth + 0.05 * grain)
    colour = mix(linear_rgb(108, 62, 32), linear_rgb(158, 110, 72), cork)
    cracks = 1.0 - 0.4 * smoothstep(0.5, 1.4, grain)
    return colour * cracks[:, None], 0.006 + 0.005 * grain, 0.25


def _gangrene_look(depth: Floats, grain: Floats) -> tuple[Floats, Floats, float]:
    """A sunken rot, wet brown at its rim and all but black within."""
    colour = mix(linear_rgb(74, 40, 24), linear_rgb(30, 21, 19), smoothstep(0.0, 0.12, depth))
    sunken = -0.07 * smoothstep(-0.05, 0.25, depth)
    return colour * (1.0 + 0.2 * np.clip(grain, -1.0, 1.0))[:, None], sunken + 0.003 * grain, 0.5


def _mould_look(depth: Floats, grain: Floats) -> tuple[Floats, Floats, float]:
    """A white felt around a grey-green heart, speckled with spores."""
    heart = smoothstep(0.06, 0.24, depth + 0.04 * grain)
    colour = mix(linear_rgb(228, 230, 216), linear_rgb(136, 160, 142), heart)
    spores = smoothstep(0.7, 1.6, grain)
    return mix(colour, linear_rgb(92, 112, 100), 0.6 * spores), 0.012 + 0.006 * grain, 0.0


_LOOKS = {BLEMISH: _blemish_look, GANGRENE: _gangrene_look, MOULD: _mould_look}
