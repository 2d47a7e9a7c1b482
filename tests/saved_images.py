"""Pictures written for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def save_image(path: Path, array: np.ndarray) -> None:
    """Write an array as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
