"""Train the small model that the studio's tests paint with, and keep it in `tests/data/studio-model`.

OMP_NUM_THREADS=1 PYTHONPATH=tests python tests/record_studio_model.py
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file, save_file

from isdm.config import TrainConfig, build, with_preset
from isdm.training.diffusion import train
from studios import MODEL, TRAINING, make_parts

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
OTHERS = ("isdm.json", "model_index.json", "unet/config.json", "scheduler/scheduler_config.json")


def keep(trained: Path) -> None:
    """Copy what painting needs of a model folder."""
    shutil.rmtree(MODEL, ignore_errors=True)
    for file in OTHERS:
        (MODEL / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(trained / file, MODEL / file)
    weights = {name: value.half() for name, value in load_file(trained / WEIGHTS).items()}
    save_file(weights, MODEL / WEIGHTS, metadata={"format": "pt"})


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        train(build(TrainConfig, with_preset(TRAINING)), make_parts(Path(folder)), Path(folder) / "model")
        keep(Path(folder) / "model")
