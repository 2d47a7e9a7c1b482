"""How large a part of an uploaded photograph the network sees."""

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from imported import NO_SPLIT, imported
from isdm.studio.photographs import Photographs
from saved_images import save_image


@pytest.mark.parametrize(
    ("fit", "side", "seen"),
    [
        ("stretch", 100, 100),
        ("crop", 100, 40),
        ("crop", 30, 30),  # it has no whole window
    ],
)
def test_defects_keep_the_size_that_the_dataset_gave_them(tmp_path: Path, fit: str, side: int, seen: int) -> None:
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 255, (80, 80, 3), np.uint8)
        save_image(tmp_path / "source" / "images" / f"{number}.png", picture)
        save_image(tmp_path / "source" / "masks" / f"{number}.png", np.eye(80, dtype=np.uint8) * 255)
    window = {"window": 40} if fit == "crop" else {}
    dataset = imported(tmp_path / "source", fit=fit, size=20, **window, **NO_SPLIT)
    bench = SimpleNamespace(dataset=dataset, info=dataset.info, size=(20, 20))
    rows = np.linspace(0, 250, side)[:, None].repeat(side, 1).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(np.stack([rows] * 3, axis=2)).save(file, format="PNG")
    photographs = Photographs(bench)  # type: ignore[arg-type]
    image = photographs.get(photographs.add("photo.png", file.getvalue())).image
    assert image.shape == (20, 20, 3)
    assert int(image.max()) - int(image.min()) == pytest.approx(250 * seen / side, abs=20)
