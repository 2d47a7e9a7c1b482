"""`isdm data …`: import, look at and check datasets."""

from pathlib import Path
from typing import Annotated

import typer

from isdm.cli import options
from isdm.cli.completion import datasets
from isdm.cli.stages import Dataset
from isdm.config import DataConfig, ExportConfig
from isdm.progress import answer

app = typer.Typer(help="Import, describe and check datasets.", no_args_is_help=True)


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder or archive with images and masks; never written to.")
    ],
    out: Annotated[Path, typer.Argument(metavar="DST", help="Dataset folder to make.")],
    layout: Annotated[
        str | None, typer.Option(help="auto, or a layout's name: coco, folders, voc, … (a wrong one lists all).")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A published selection, such as lemons-blemish.")] = None,
    masks: Annotated[
        str | None,
        typer.Option(help="What mask pixels mean: auto, ids, binary, colours, instances, alpha or one-hot."),
    ] = None,
    mask_threshold: Annotated[
        int | None, typer.Option(help="Binary masks: values above are foreground (127).")
    ] = None,
    size: Annotated[str | None, typer.Option(help="256 or HEIGHTxWIDTH; without it images keep theirs.")] = None,
    fit: Annotated[str | None, typer.Option(help="stretch, pad, crop (keeps the defects) or tile.")] = None,
    window: Annotated[
        str | None, typer.Option(help="Pixels of the source that a crop or tile spans, 512 or HEIGHTxWIDTH.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Classes to keep, a,b; others become background.")] = None,
    merge: Annotated[list[str] | None, typer.Option(help="NEW=a,b: one class made of several.")] = None,
    ignore: Annotated[
        str | None, typer.Option(help="a,b: classes whose pixels count for nothing, such as unlabelled.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Regular expression on file stems; what it matches is never parted.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Groups from a file with the columns name and group.")
    ] = None,
    near_duplicates: Annotated[
        bool | None,
        typer.Option(help="Keep pictures of the same thing together, whatever the light (on, but for given groups)."),
    ] = None,
    split_by: Annotated[str | None, typer.Option(help="group, or image (leaks: for comparison).")] = None,
    splits: Annotated[
        str | None, typer.Option(help="source keeps the source's own splits, new makes others.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds of a cross-validation; fold --fold is the test split.")
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Which fold is the test split, from 0.")] = None,
    test: Annotated[str | None, typer.Option(help="Share or number of test images (0.2).")] = None,
    validation: Annotated[
        str | None, typer.Option(help="Share of what test leaves, or number, of validation images (0.2).")
    ] = None,
    train: Annotated[
        int | None, typer.Option(help="Training images to keep, by whole groups: what would fewer give? (all)")
    ] = None,
    defect_free: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Further pictures without any defect and without masks.")
    ] = None,
    max_defect_free: Annotated[
        float | None, typer.Option(help="Keep at most this many pairs without foreground for each with it.")
    ] = None,
    skip_bad: Annotated[
        bool | None, typer.Option("--skip-bad", help="Leave out pairs with a problem and record which.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split (0).")] = None,
) -> None:
    """Turn images and masks in any known layout into a dataset folder, every pair opened and checked."""
    from isdm.data.importing import import_dataset

    merged = [part.partition("=") for part in merge or []]
    values = options.given(
        source=source,
        layout=layout,
        recipe=recipe,
        masks=masks,
        mask_threshold=mask_threshold,
        size=size,
        fit=fit,
        window=window,
        classes=options.comma_list(classes),
        ignore=options.comma_list(ignore),
        merge={name: options.comma_list(parts) for name, _, parts in merged} or None,
        group_by=group_by,
        groups=groups,
        near_duplicates=near_duplicates,
        split_by=split_by,
        splits=splits,
        folds=folds,
        fold=fold,
        test=options.number(test),
        validation=options.number(validation),
        train=train,
        defect_free=defect_free,
        max_defect_free=max_defect_free,
        skip_bad=skip_bad,
        seed=seed,
    )
    import_dataset(options.config(DataConfig, "data import", values), out)
    describe(out)


@app.command()
def describe(
    dataset: Dataset,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Also write a page, figures and all numbers there.")
    ] = None,
) -> None:
    """Show what a dataset holds: pairs, groups, class pixels and object sizes; with --out as a page with pictures."""
    from isdm.cli.description import print_description
    from isdm.data.dataset import SegmentationDataset
    from isdm.data.describing import gather

    opened = SegmentationDataset(dataset)
    if out is None:
        statistics = gather(opened)
    else:
        from isdm.report.dataset_page import describe_dataset

        statistics = describe_dataset(opened, out)
    print_description(statistics, has_instances=any(pair.instances for _, pair in statistics.shown))
    if out is not None:
        answer(f"Page: {out / 'index.html'}")


@app.command()
def check(dataset: Dataset) -> None:
    """Open and verify every pair of a dataset; list all problems at once."""
    from isdm.data.checking import check_dataset
    from isdm.data.dataset import SegmentationDataset

    opened = SegmentationDataset(dataset)
    count = check_dataset(opened)
    answer(f"{count} pairs are sound; no group lies in two splits.")


@app.command()
def export(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Dataset folder, real or synthetic; it is never changed.",
            autocompletion=datasets,
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="DST", help="Folder to make.")],
    layout: Annotated[str, typer.Option(help="isdm, coco, voc, ultralytics or mmseg.")],
) -> None:
    """Write a dataset in the form that other tools read; what that form cannot hold is said."""
    from isdm.data.exporting import export_dataset

    config = options.config(ExportConfig, "data export", {"dataset": dataset, "layout": layout})
    export_dataset(config, out)
    answer(str(out))
