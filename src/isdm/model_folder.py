"""Whether a folder is a model's at all, told without loading torch: a mistyped path is answered at once."""

from pathlib import Path

from isdm.data.dataset import DATASET_FILE
from isdm.errors import ModelError


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that is no model's.

    Raises:
        ModelError: naming what to give instead.
    """
    if not (folder / "isdm.json").is_file() or not (folder / "unet" / "config.json").is_file():
        raise ModelError(f"{folder} is not a model folder (it needs isdm.json and unet/); {_remedy(folder)}.")


def _remedy(folder: Path) -> str:
    """What to do about a folder that was given as a model."""
    if (folder / DATASET_FILE).is_file():
        return f"it is a dataset: make a model of it with `isdm train {folder} --out MODEL`"
    inner = sorted(path.parent for path in folder.glob("*/isdm.json"))
    if inner:
        return f"give {inner[-1]}, which is one"
    return "make one with `isdm train`"
