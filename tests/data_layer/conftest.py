"""Small image folders to read, check and import."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike
from PIL import Image

NUM_FRUITS = 5
NUM_VIEWS = 3
SIZE_PX = 8


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Save an array of integers, or a Pillow image, as `tmp_path / name`."""

    def save(name: str, picture: ArrayLike | Image.Image, **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(picture, Image.Image):
            picture = Image.fromarray(np.asarray(picture, np.uint8))
        picture.save(path, **options)
        return path

    return save


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Give a repeatable noisy picture of a shape."""

    def make(seed: int, *shape: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape or (SIZE_PX, SIZE_PX, 3), np.uint8)

    return make


@pytest.fixture
def fruit_source(tmp_path: Path, put: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Path:
    """A source of 15 RGB images with masks of 0 and 255: five fruits, seen from three sides each."""
    for fruit in range(NUM_FRUITS):
        for view in range(NUM_VIEWS):
            mask = np.zeros((SIZE_PX, SIZE_PX))
            mask[: view + 1, :4] = 255
            put(f"source/images/fruit{fruit}_{view}.png", noise(10 * fruit + view))
            put(f"source/masks/fruit{fruit}_{view}.png", mask)
    return tmp_path / "source"


@pytest.fixture
def four_classes(tmp_path: Path, put: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Path:
    """One image whose mask has the rows 0, 1, 2, 3 and 255."""
    put("source/images/a.png", noise(0, 5, 4, 3))
    put("source/masks/a.png", np.array([0, 1, 2, 3, 255])[:, None].repeat(4, axis=1))
    (tmp_path / "source" / "classes.txt").write_text("belt\nmould\nblemish\nstain\n")
    return tmp_path / "source"


@pytest.fixture
def hashes() -> Callable[[Path], dict[str, str]]:
    """Hash every file below a folder."""

    def of(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return of
