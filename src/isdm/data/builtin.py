"""The built-in demo's images: fruit seen from several sides, with defects and their exact masks.

Nothing is downloaded and nothing is drawn by hand. Each fruit is a slightly lumpy ellipsoid whose skin
carries up to four defects (see `isdm.data.builtin_skin`); each view casts one parallel ray per sample,
lights what it meets and reads the mask from the same samples as the colour, so the two always agree.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from isdm.data.builtin_skin import (
    BLEMISH,
    GANGRENE,
    MOULD,
    NUM_CLASSES,
    Floats,
    Skin,
    Surface,
    Waves,
    evaluate_waves,
    linear_rgb,
    look_at_skin,
    lump_height,
    random_skin,
    random_waves,
    smoothstep,
    unit,
)
from isdm.files import write_text, write_with

CLASSES: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("background", (0, 0, 0)),
    ("blemish", (86, 180, 233)),
    ("gangrene", (213, 94, 0)),
    ("mould", (240, 228, 66)),
)
"""Name and display colour of each class id. The colours are from the palette of Okabe and Ito, which
people with any common kind of colour blindness can tell apart; all three stand out on an orange."""

_SUPERSAMPLING = 2
_GOLDEN_RATIO = (1.0 + 5.0**0.5) / 2.0
_GOLDEN_ANGLE = 2.0 * np.pi / _GOLDEN_RATIO**2


@dataclass(frozen=True)
class FruitView:
    """One image of one fruit, with its mask."""

    name: str
    """File stem, for example "fruit0007_view2"."""
    group: str
    """The fruit, for example "fruit0007": views of one fruit must never be split over training and test."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB in display colours, 0..255."""
    mask: NDArray[np.uint8]
    """(H, W) class ids 0..3, indices into `CLASSES`; healthy skin and the belt are both background."""


def generate_fruit_views(*, num_fruits: int, num_views: int, size_px: int, seed: int) -> Iterator[FruitView]:
    """Yield `num_views` square views of each of `num_fruits` fruits, fruit by fruit.

    Made for sizes of 48 to 256 pixels; about one pixel in thirteen belongs to a defect, and about one
    view in ten shows none. A view depends on `seed` (not negative), its fruit's and its own number and
    `size_px` alone: asking for more fruits or more views adds some and changes none.
    """
    for fruit_index in range(num_fruits):
        fruit = _make_fruit(seed, fruit_index)
        group = f"fruit{fruit_index:04d}"
        for view_index in range(num_views):
            rng = _stream(_VIEW, seed, fruit_index, view_index)
            image, mask = _render_view(fruit, _random_shot(fruit, view_index, rng), size_px, rng)
            yield FruitView(f"{group}_view{view_index}", group, image, mask)


# --- drawing a fruit and a shot at random -------------------------------------------------------------

# Which stream of random numbers: first in the seed, because (seed, 3) and (seed, 3, 0) seed alike.
_CLASS_ORDER, _FRUIT, _VIEW = range(3)

_DEFECT_COUNT_ODDS = (0.22, 0.36, 0.28, 0.14)  # of 1, 2, 3 and 4 defects
_CLASS_ODDS = {BLEMISH: 0.55, GANGRENE: 0.29, MOULD: 0.16}

_BELTS = tuple(linear_rgb(*c) for c in ((92, 100, 108), (58, 72, 84), (70, 84, 76), (136, 132, 124)))


@dataclass(frozen=True)
class _Fruit:
    skin: Skin
    axes: Floats  # (3,) half axes of the ellipsoid, about 1
    pose: Rotation  # from the fruit's own coordinates to the camera's, before a view turns it
    belt: Floats  # (3,) linear RGB of what it lies on
    belt_texture: Waves


@dataclass(frozen=True)
class _Shot:
    """How one picture of a fruit is taken. Camera axes: x right, y up, z towards the camera."""

    turn: Rotation  # from the fruit's own coordinates to the camera's
    centre: Floats  # (2,) in half frame widths
    radius: float  # in half frame widths
    light: Floats  # (3,) unit vector towards the lamp
    lamp: Floats  # (3,) its linear RGB
    belt_slope: Floats  # (2,) how the belt's brightness changes across the frame
    belt_angle: float  # radians, direction of the belt's ribs


def _stream(purpose: int, seed: int, fruit_index: int = 0, view_index: int = 0) -> np.random.Generator:
    return np.random.default_rng((purpose, seed, fruit_index, view_index))


def _make_fruit(seed: int, fruit_index: int) -> _Fruit:
    rng = _stream(_FRUIT, seed, fruit_index)
    num_defects = int(rng.choice(4, p=_DEFECT_COUNT_ODDS)) + 1
    return _Fruit(
        skin=random_skin(rng, _defect_classes(seed, fruit_index)[:num_defects]),
        axes=np.array([1.0, rng.uniform(0.93, 1.02), rng.uniform(0.95, 1.1)]),
        pose=Rotation.from_quat(rng.standard_normal(4)),
        belt=_BELTS[rng.integers(len(_BELTS))] * rng.uniform(0.8, 1.25),
        belt_texture=random_waves(rng, 3.0, 30.0, count=18),
    )


def _defect_classes(seed: int, fruit_index: int) -> list[int]:
    """Class ids of a fruit's first to fourth defect.

    Steps of the golden ratio spread the classes evenly over successive fruits, so that even a demo of a
    few dozen fruits meets each class about as often as `_CLASS_ODDS` says.
    """
    positions = (_stream(_CLASS_ORDER, seed).uniform(size=4) + fruit_index * _GOLDEN_RATIO) % 1.0
    bounds = np.cumsum(list(_CLASS_ODDS.values()))[:-1]
    ids = list(_CLASS_ODDS)
    return [ids[i] for i in np.searchsorted(bounds, positions)]


def _random_shot(fruit: _Fruit, view_index: int, rng: np.random.Generator) -> _Shot:
    # Golden angles look at every side soon, however many views are asked for.
    spin = view_index * _GOLDEN_ANGLE + rng.normal(0.0, 0.15)
    turn = Rotation.from_euler("yxz", [spin, *rng.normal(0.0, 0.2, size=2)])
    azimuth, height = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.55, 0.85)
    reach = np.sqrt(1.0 - height**2)
    return _Shot(
        turn=turn * fruit.pose,
        centre=rng.uniform(-0.07, 0.07, size=2),
        radius=float(rng.uniform(0.75, 0.83)),
        light=np.array([reach * np.cos(azimuth), reach * np.sin(azimuth), height]),
        lamp=rng.uniform(0.92, 1.18) * np.array([1.0, 0.97, 0.92]) * rng.normal(1.0, 0.02, size=3),
        belt_slope=rng.uniform(-0.22, 0.22, size=2),
        belt_angle=float(rng.uniform(0.0, np.pi)),
    )


# --- taking the picture -------------------------------------------------------------------------------


def _render_view(
    fruit: _Fruit, shot: _Shot, size_px: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (H, W, 3) and mask (H, W) of one shot; `rng` gives the sensor's noise."""
    frame = _frame_points(size_px * _SUPERSAMPLING)
    around = (frame - shot.centre) / shot.radius  # the fruit's middle at 0, its rim at about 1
    hit = _cast_rays(fruit, shot, around)

    light = _lit_belt(fruit, shot, frame, around)
    shares = np.zeros((*frame.shape[:2], NUM_CLASSES))
    shares[..., 0] = 1.0

    surface = look_at_skin(fruit.skin, hit.points)
    shares[hit.seen] = surface.shares
    light[hit.seen] = _lit_fruit(surface, _bumpy_normals(hit, surface.height), shot)
    return _develop(_area_average(light), rng), _mask_of(_area_average(shares))


def _frame_points(num_samples: int) -> Floats:
    """Sample positions (S, S, 2): x right and y up, from -1 to 1 over the frame."""
    ticks = (np.arange(num_samples) + 0.5) * (2.0 / num_samples) - 1.0
    x, y = np.meshgrid(ticks, -ticks)
    return np.stack([x, y], axis=-1)


class _Hit(NamedTuple):
    """Where rays meet the fruit: N of the S x S samples."""

    seen: NDArray[np.bool_]  # (S, S), N of them true
    points: Floats  # (N, 3) unit vectors in the fruit's own coordinates
    normals: Floats  # (N, 3) unit vectors in the camera's coordinates
    step: float  # distance between samples, in fruit radii


def _cast_rays(fruit: _Fruit, shot: _Shot, around: Floats) -> _Hit:
    turn = shot.turn.as_matrix()
    to_sphere = turn.T / fruit.axes[:, None]  # camera coordinates to those where the ellipsoid is round
    form = to_sphere.T @ to_sphere

    # The lumps enter by one fixed-point step: meet the smooth ellipsoid, read the lump there, and meet
    # the ellipsoid scaled by it. Rays that miss read the rim next to them, so the outline is lumpy too.
    flat = around.reshape(-1, 2)
    smooth_points, _ = _meet_ellipsoid(form, flat)
    scale = 1.0 + lump_height(fruit.skin, unit(smooth_points @ to_sphere.T))
    points, seen = _meet_ellipsoid(form, flat / scale[:, None])
    points = points[seen]
    return _Hit(
        seen=seen.reshape(around.shape[:2]),
        points=unit(points @ to_sphere.T),
        normals=unit(points @ form),
        step=float(around[0, 1, 0] - around[0, 0, 0]),
    )


def _meet_ellipsoid(form: Floats, flat: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Front points (P, 3) with p·form·p = 1 above `flat` (P, 2), and which rays meet it at all (P,)."""
    slope = flat @ form[:2, 2]
    excess = np.einsum("pi,ij,pj->p", flat, form[:2, :2], flat) - 1.0
    discriminant = slope**2 - form[2, 2] * excess
    z = (np.sqrt(np.maximum(discriminant, 0.0)) - slope) / form[2, 2]
    return np.column_stack([flat, z]), discriminant > 0.0


def _bumpy_normals(hit: _Hit, height: Floats) -> Floats:
    """Tilt the normals (N, 3) by the slope of the relief `height` (N,), as the camera sees it."""
    relief = np.zeros(hit.seen.shape)
    relief[hit.seen] = height
    down, right = np.gradient(relief, hit.step)
    slope = np.stack([right[hit.seen], -down[hit.seen], np.zeros(len(height))], axis=1)
    # Slopes grow without bound where the surface turns away, and the relief ends at the outline: let
    # them fade out there.
    return unit(hit.normals - np.clip(slope, -0.7, 0.7) * hit.normals[:, 2:])


def _lit_fruit(surface: Surface, normals: Floats, shot: _Shot) -> Floats:
    """Linear RGB (N, 3): sky light, a lamp after Lambert that wraps a little, and a soft highlight."""
    wrap = 0.25
    lamp = np.clip((normals @ shot.light + wrap) / (1.0 + wrap), 0.0, None)
    sky = 0.16 + 0.14 * normals[:, 2]
    halfway = unit(shot.light + np.array([0.0, 0.0, 1.0]))
    highlight = 0.22 * surface.gloss * np.clip(normals @ halfway, 0.0, None) ** 36
    diffuse = surface.albedo * (0.95 * lamp + sky)[:, None]
    return np.asarray((diffuse + highlight[:, None]) * shot.lamp, dtype=np.float64)


def _lit_belt(fruit: _Fruit, shot: _Shot, frame: Floats, around: Floats) -> Floats:
    """Linear RGB (S, S, 3) of the belt under the fruit: ribs, wear, uneven light and the fruit's shadow."""
    across = np.array([np.cos(shot.belt_angle), np.sin(shot.belt_angle)])
    ribs = 0.08 * np.cos(20.0 * (frame @ across))
    flat = np.column_stack([frame.reshape(-1, 2), np.zeros(frame.size // 2)])
    wear = 0.05 * evaluate_waves(fruit.belt_texture, flat).reshape(frame.shape[:2])
    brightness = 1.0 + ribs + wear + frame @ shot.belt_slope

    distance = np.linalg.norm(around + 0.4 * shot.light[:2], axis=-1)
    contact = np.linalg.norm(around, axis=-1)
    shade = 0.62 * (1.0 - smoothstep(0.7, 1.35, distance)) + 0.3 * (1.0 - smoothstep(0.85, 1.25, contact))
    return np.asarray((brightness * (1.0 - shade))[..., None] * fruit.belt * shot.lamp, dtype=np.float64)


# --- from samples to pixels ---------------------------------------------------------------------------


def _area_average(samples: Floats) -> Floats:
    """Average each block of samples (S, S, C) into its pixel (H, W, C)."""
    size, k = samples.shape[0] // _SUPERSAMPLING, _SUPERSAMPLING
    return np.asarray(samples.reshape(size, k, size, k, -1).mean(axis=(1, 3)), dtype=np.float64)


def _develop(light: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn linear light (H, W, 3) into an 8-bit picture with the slight noise of a sensor."""
    display = np.clip(light, 0.0, 1.0) ** (1.0 / 2.2)
    noisy = display + rng.normal(0.0, 0.01, size=display.shape)
    return (np.clip(noisy, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _mask_of(shares: Floats) -> NDArray[np.uint8]:
    """Class ids (H, W): a pixel more than half covered by defects has the class that covers most of it."""
    strongest = 1 + np.argmax(shares[..., 1:], axis=-1)
    return np.where(shares[..., 0] < 0.5, strongest, 0).astype(np.uint8)


def write_fruit_source(folder: Path, *, num_fruits: int, num_views: int, size_px: int, seed: int) -> None:
    """Write fruit views as plain folders: `images/`, `masks/` and `classes.txt`; what is there stays."""
    for view in generate_fruit_views(num_fruits=num_fruits, num_views=num_views, size_px=size_px, seed=seed):
        for name, array in (("images", view.image), ("masks", view.mask)):
            path = folder / name / f"{view.name}.png"
            if not path.is_file():
                write_with(path, partial(Image.fromarray(array).save, format="PNG"))
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name, _ in CLASSES))
