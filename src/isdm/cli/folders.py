"""The folders that a command was given, looked at before it loads torch, which takes many seconds."""

from pathlib import Path
from typing import TYPE_CHECKING

from isdm.errors import DataError

if TYPE_CHECKING:
    from isdm.data.dataset import SegmentationDataset

_PAINTERS = ("sample", "select")


def dataset_at(folder: Path) -> "SegmentationDataset":
    """The dataset in a folder.

    Raises:
        DataError: it is none, or an unfinished one.
    """
    from isdm.data.dataset import SegmentationDataset

    return SegmentationDataset(folder)


def synthetic_at(folder: Path) -> "SegmentationDataset":
    """The synthetic dataset in a folder; what is none is told how such a set is made.

    Raises:
        DataError: it is none, or an unfinished one.
    """
    from isdm import provenance
    from isdm.data.dataset import DATASET_FILE

    if (folder / DATASET_FILE).is_file() or (folder / "isdm.json").is_file():
        return dataset_at(folder)
    record = provenance.read(folder)
    if record is not None and record.stage in _PAINTERS:
        raise DataError(
            f"{folder} holds an `isdm {record.stage}` that did not end with a dataset; run it to its end, or give "
            f"another that `isdm sample` or `isdm select` made."
        )
    what = "is not a dataset (it has no dataset.json)" if folder.is_dir() else "is not a folder"
    raise DataError(f"{folder} {what}; give a synthetic dataset made by `isdm sample` or `isdm select`.")


def check_model(folder: Path) -> None:
    """Refuse a folder that is no model's.

    Raises:
        ModelError: naming what to give instead.
    """
    from isdm.model_folder import check_model_folder

    check_model_folder(folder)
