"""The files that a study leaves for its report."""

from pathlib import Path
from typing import Any

import polars as pl

from isdm.errors import DataError
from isdm.provenance import FORMAT_VERSION, check_format_version
from isdm.report.tables import RESULT_COLUMNS
from isdm.yaml_text import YamlTextError, parse_yaml


def read_study(path: Path) -> dict[str, Any]:
    """What `study.yaml` says of a study; what an earlier version did not write is empty.

    Raises:
        DataError: the file is missing or damaged.
    """
    if not path.is_file():
        inside = path.parent / "study"
        remedy = f"Did you mean {inside}?" if (inside / path.name).is_file() else "Make one with `isdm evaluate`."
        raise DataError(f"{path} does not exist, so this is no study folder. {remedy}")
    try:
        facts = parse_yaml(path.read_text("utf-8"))
    except (YamlTextError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid YAML ({error}). Restore it or run `isdm evaluate` again.") from None
    if not isinstance(facts, dict):
        raise DataError(f"{path} holds no mapping. Restore it or run `isdm evaluate` again.")
    check_format_version(facts, path, FORMAT_VERSION, DataError)
    numbers = ("num_train_images", "num_validation_images", "num_test_images")
    defaults: dict[str, Any] = {"name": path.parent.name, "isdm_version": "", "classes": []}
    defaults |= {
        "config": {},
        "dataset": {},
        "class_pixels": {},
        "leaks": [],
        "primary_row": None,
        "named_late": False,
        "folds": 1,
    } | dict.fromkeys(numbers)
    return defaults | {key: value for key, value in facts.items() if value is not None}


def read_results(path: Path) -> pl.DataFrame:
    """The table `results.parquet`: one line a finished cell and class.

    Raises:
        DataError: the file is missing, damaged, empty or lacks columns.
    """
    again = "Run `isdm evaluate` again with the same options; it goes on where it stopped."
    if not path.is_file():
        raise DataError(f"{path} does not exist: the study has no finished cells. {again}")
    try:
        results = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}). {again}") from None
    absent = [name for name in RESULT_COLUMNS if name not in results.columns]
    if absent:
        raise DataError(f"{path} lacks the columns {', '.join(absent)}. {again}")
    if results.is_empty():
        raise DataError(f"{path} is empty: the study has no finished cells. {again}")
    return results.with_columns(pl.col("synthetic_set").fill_null(""))
