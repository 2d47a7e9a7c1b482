"""Cross-validation: the studies of all folds pooled into one, in which every image has been a test image once.

Rows are matched by what was asked for (`key`), since folds may hold a few images more or less. Pixels are pooled over
the folds before any IoU is taken, so the pooled figures are those of one large test set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from isdm.config import read_yaml
from isdm.errors import DataError
from isdm.evaluation.counts import FILE_NAME as COUNTS
from isdm.evaluation.counts import OBJECT_RECALL
from isdm.files import copy_file, read_json, write_json, write_with, write_yaml
from isdm.progress import say
from isdm.version import __version__

_CELL = ["key", "architecture", "repeat"]
_MEANS = ("num_train_images", "num_validation_images")


def pool_studies(studies: Sequence[Path], out: Path, name: str) -> Path:
    """Pool the finished studies of all folds of a cross-validation; returns the path of `results.parquet`.

    Args:
        studies: folders of `evaluate`, one for each fold.
        out: folder of the pooled study; `isdm report` reads it like any other.
        name: title of the pooled study.

    Raises:
        DataError: a fold is not finished, or a group is tested in two folds.
    """
    for study in studies:
        for file in (study / "results.parquet", study / COUNTS, study / "study.yaml"):
            if not file.is_file():
                raise DataError(f"{file} does not exist: this fold is not finished. Run it again; it goes on.")
    facts = [read_yaml(study / "study.yaml") for study in studies]
    results = [pl.read_parquet(study / "results.parquet") for study in studies]
    counts = [pl.read_parquet(study / COUNTS) for study in studies]
    _check_groups(counts)
    keys = _common_keys(results)
    results = [table.drop("key").join(key, on="row") for table, key in zip(results, keys, strict=True)]
    write_with(out / COUNTS, _pooled_counts(counts, keys).write_parquet)
    table = _pooled_results(results, [int(fact["num_test_images"]) for fact in facts])
    write_yaml(out / "study.yaml", _pooled_facts(facts, keys, name))
    _first_gallery(studies[0], out, {str(row): str(key) for row, key in keys[0].iter_rows()})
    write_with(out / "results.parquet", table.write_parquet)
    return out / "results.parquet"


def _check_groups(counts: Sequence[pl.DataFrame]) -> None:
    fold_of: dict[str, int] = {}
    for fold, table in enumerate(counts):
        for group in table["group"].unique().to_list():
            if fold_of.setdefault(group, fold) != fold:
                raise DataError(
                    f"Group {group!r} is tested in folds {fold_of[group]} and {fold}; make the folds of one dataset "
                    f"with one seed."
                )


def _common_keys(results: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Of each fold its rows under the keys that all folds have; a row may have come to the same as another in some.

    Rows that not all folds have are said and left out.
    """
    folds = [
        {key: row for row, keys in table.select("row", "key").unique().iter_rows() for key in keys.split("|")}
        for table in results
    ]
    common: dict[tuple[str, ...], str] = {}
    for key in sorted(set(folds[0]).intersection(*folds[1:])):
        common.setdefault(tuple(fold[key] for fold in folds), key)
    for number, fold in enumerate(folds):
        pooled = {rows[number] for rows in common}
        lost = sorted(key for key, row in fold.items() if row not in pooled)
        if lost:
            say(f"Fold {number}: {', '.join(lost)} are not in all folds, and are left out of the pooled study.")
    schema = {"row": pl.String, "key": pl.String}
    return [
        pl.DataFrame([(rows[number], key) for rows, key in common.items()], schema=schema, orient="row")
        for number in range(len(folds))
    ]


def _pooled_counts(counts: Sequence[pl.DataFrame], keys: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """All folds' counts under the rows' keys; sizes are taken together, for each fold has split them its own way."""
    parts = [
        table.join(key, on="row").with_columns(pl.col("key").alias("row")).drop("key")
        for table, key in zip(counts, keys, strict=True)
    ]
    whole = pl.concat(parts, how="diagonal")
    is_size = pl.col("measure") == OBJECT_RECALL
    sizes = whole.filter(is_size).with_columns(pl.lit(0, pl.Int64).alias("place"), pl.lit("").alias("detail"))
    amounts = [column for column in ("hits", "total", "held") if column in whole.columns]
    by = [column for column in whole.columns if column not in amounts]
    sizes = sizes.group_by(by, maintain_order=True).agg(pl.col(amounts).sum())
    return pl.concat([whole.filter(~is_size), sizes.select(whole.columns)])


def _pooled_results(results: Sequence[pl.DataFrame], num_test_images: Sequence[int]) -> pl.DataFrame:
    """One line a row, architecture, repeat and class that all folds have finished."""
    weighted = [
        table.with_columns(pl.lit(fold).alias("fold"), _weight(table, num_images).alias("weight"))
        for fold, (table, num_images) in enumerate(zip(results, num_test_images, strict=True))
    ]
    whole = pl.concat(weighted, how="diagonal")
    has_mean = pl.col("mean_image_iou").is_not_null()
    pooled = whole.group_by([*_CELL, "class_id"], maintain_order=True).agg(
        pl.col("arm", "synthetic_set", "class_name", "is_foreground").first(),
        pl.col("num_real_images", "num_synthetic_images").mean().round().cast(pl.Int64),
        pl.col("tp", "fp", "fn").sum(),
        ((pl.col("mean_image_iou") * pl.col("weight")).sum() / pl.col("weight").filter(has_mean).sum())
        .fill_nan(None)
        .alias("mean_image_iou"),
        pl.col("num_steps").max(),
        pl.col("train_seconds").sum(),
        pl.col("validation_iou").mean(),
        pl.col("fold").n_unique().alias("num_folds"),
    )
    union, is_shown = pl.col("tp") + pl.col("fp") + pl.col("fn"), pl.col("tp") + pl.col("fn") > 0
    return (
        pooled.filter(pl.col("num_folds") == len(results))
        .with_columns(pl.when(is_shown).then(pl.col("tp") / union).alias("iou"), pl.col("key").alias("row"))
        .drop("num_folds")
    )


def _weight(table: pl.DataFrame, num_images: int) -> pl.Expr:
    """Images behind each line's mean; all of the fold in results of an earlier version."""
    return (
        pl.col("num_defined_images").cast(pl.Float64)
        if "num_defined_images" in table.columns
        else pl.lit(float(num_images))
    )


def _pooled_facts(facts: Sequence[dict[str, Any]], keys: Sequence[pl.DataFrame], name: str) -> dict[str, Any]:
    first = facts[0]
    sums: dict[str, Any] = {
        key: sum(int(fact[key]) for fact in facts) for key in ("num_test_images", "num_test_groups") if key in first
    }
    named = tuple(fact.get("primary_row") for fact in facts)
    keys_of = dict(zip(zip(*(key["row"] for key in keys), strict=True), keys[0]["key"], strict=True))
    pooled: dict[str, Any] = {
        "name": name,
        "folds": len(facts),
        **sums,
        **{key: round(sum(int(fact[key]) for fact in facts) / len(facts)) for key in _MEANS if key in first},
        "primary_row": keys_of.get(named),  # the rows of all folds: one alone may have come to the same as another
        "named_late": any(fact.get("named_late") for fact in facts),
        "leaks": list(dict.fromkeys(leak for fact in facts for leak in fact.get("leaks", []))),
        "isdm_version": __version__,
    }
    return {**first, **pooled}


def _first_gallery(study: Path, out: Path, keys: dict[str, str]) -> None:
    """The pictures of the first fold stand for all."""
    source = study / "gallery"
    if not (source / "gallery.json").is_file():
        return
    listed = read_json(source / "gallery.json")
    for picture in source.glob("*.png"):
        copy_file(picture, out / "gallery" / picture.name)
    for one in listed.get("predictions", []):
        for guess in one["predictions"]:
            guess["row"] = keys.get(guess["row"], guess["row"])
    write_json(out / "gallery" / "gallery.json", listed)
