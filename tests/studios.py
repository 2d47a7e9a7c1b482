"""Parts with scratches, and a studio that is served while a test runs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn
from PIL import Image
from scipy import ndimage

from isdm.config import DataConfig, TrainConfig, build, with_preset
from isdm.data.dataset import SegmentationDataset
from isdm.data.importing import import_dataset
from isdm.studio.app import make_app
from isdm.studio.bench import open_bench
from isdm.studio.server import open_socket
from isdm.training.diffusion import train

MODEL = Path(__file__).parent / "data" / "studio-model"
"""Trained on `make_parts` by `record_studio_model.py`."""
SIDE_PX = 16
TRAINING = {
    "preset": "tiny",
    "unet": {"base_channels": 16, "norm_groups": 4, "channel_multipliers": [1, 2], "spade_channels": 8},
    "batch_size": 8,
    "steps": 200,
    "learning_rate": 3e-3,
    "learning_rate_decay": "cosine",
    "ema_decay": 0.98,
    "drop_rate": 0.1,
    "precision": "float32",
    "device": "cpu",
    "trackers": [],
}


def part_with_scratch(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey part (H, W, 3), lit from a side, with a dark scratch on two of three; and its mask (H, W)."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX
    grey = 165 + 40 * np.cos(rng.uniform(0, 2 * np.pi) + 2 * x) * np.cos(rng.uniform(0, 2 * np.pi) + 2 * y)
    grey += ndimage.gaussian_filter(rng.normal(0, 8, y.shape), 0.7)
    mask = np.zeros(y.shape, np.uint8)
    if number % 3:
        ends = rng.uniform(2, SIDE_PX - 2, (2, 2))
        for share in np.linspace(0, 1, 4 * SIDE_PX):
            row, column = (ends[0] + share * (ends[1] - ends[0])).astype(int)
            mask[row : row + 2, column : column + 2] = 1
    image = np.where(mask == 1, 35 + 0.1 * grey, grey)
    return np.repeat(image.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2), mask


def save_image(path: Path, array: np.ndarray) -> None:
    """Write an array as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def make_parts(folder: Path) -> SegmentationDataset:
    """A dataset of 48 parts, of which two thirds have a scratch: the same each time."""
    for number in range(48):
        image, mask = part_with_scratch(number)
        save_image(folder / "source" / "images" / f"part{number:03d}.png", image)
        save_image(folder / "source" / "masks" / f"part{number:03d}.png", mask)
    values = {"source": folder / "source", "masks": "ids", "near_duplicates": False}
    return import_dataset(build(DataConfig, values), folder / "data")


def many_classes(
    folder: Path, num_classes: int, size: tuple[int, int] = (SIDE_PX, SIDE_PX), names: str = "class_"
) -> tuple[Path, SegmentationDataset]:
    """A model and a dataset of so many classes, `class_1`, `class_2`, …; it has not learnt to paint them."""
    rng = np.random.default_rng(0)
    for number in range(8):
        mask = rng.integers(0, num_classes, size).astype(np.uint8)
        save_image(folder / "source" / "images" / f"{number}.png", np.repeat(mask[:, :, None], 3, axis=2))
        save_image(folder / "source" / "masks" / f"{number}.png", mask)
    declared = ["background", *(f"{names}{number}" for number in range(1, num_classes))]
    (folder / "source" / "classes.txt").write_text("\n".join(declared), "utf-8")
    values = {"source": folder / "source", "masks": "ids", "near_duplicates": False}
    data = import_dataset(build(DataConfig, values), folder / "data")
    train(build(TrainConfig, with_preset({**TRAINING, "steps": 1})), data, folder / "model")
    return folder / "model", data


@contextmanager
def serving(
    model: Path, data: Path | None, synthetic: Path | None, out: Path, token: str | None = None
) -> Iterator[str]:
    """Serve a studio on a free port; gives its address."""
    app = make_app(open_bench(model, data, synthetic, out, "cpu"), token)
    opened = open_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        opened.close()
