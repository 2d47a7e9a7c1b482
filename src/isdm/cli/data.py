"""`isdm data …`: import, look at and check datasets."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from isdm.cli import options
from isdm.config import DataConfig

app = typer.Typer(help="Import, describe and check datasets.", no_args_is_help=True)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Folder with images and masks; it is never written to.")],
    out: Annotated[Path, typer.Argument(metavar="DST", help="Dataset folder to make.")],
    layout: Annotated[str | None, typer.Option(help="auto, folders, isdm or magnetic-tile.")] = None,
    size: Annotated[str | None, typer.Option(help="256 or HEIGHTxWIDTH; without it images keep theirs.")] = None,
    fit: Annotated[str | None, typer.Option(help="stretch, pad or crop.")] = None,
    classes: Annotated[str | None, typer.Option(help="Classes to keep, a,b; others become background.")] = None,
    merge: Annotated[list[str] | None, typer.Option(help="NEW=a,b: one class made of several.")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="Regular expression on file stems; what it matches is never parted.")
    ] = None,
    test: Annotated[str | None, typer.Option(help="Share or number of test images (0.2).")] = None,
    validation: Annotated[
        str | None, typer.Option(help="Share of what test leaves, or number, of validation images (0.2).")
    ] = None,
    defect_free: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Further pictures without any defect and without masks.")
    ] = None,
    max_defect_free: Annotated[
        float | None, typer.Option(help="Keep at most this many pairs without foreground for each with it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split (0).")] = None,
) -> None:
    """Turn images and masks in any known layout into a dataset folder, every pair opened and checked."""
    from isdm.data.importing import import_dataset

    merged = [part.partition("=") for part in merge or []]
    values = options.given(
        source=source,
        layout=layout,
        size=size,
        fit=fit,
        classes=options.comma_list(classes),
        merge={name: options.comma_list(parts) for name, _, parts in merged} or None,
        group_by=group_by,
        test=options.number(test),
        validation=options.number(validation),
        defect_free=defect_free,
        max_defect_free=max_defect_free,
        seed=seed,
    )
    import_dataset(options.config(DataConfig, values, "data import"), out)
    describe(out)


@app.command()
def describe(dataset: Annotated[Path, typer.Argument(help="Dataset folder.")]) -> None:
    """Print the pairs, groups and class pixels of each split."""
    from isdm.data.checking import count_classes
    from isdm.data.dataset import SegmentationDataset

    opened = SegmentationDataset(dataset)
    info = opened.info
    table = Table("split", "pairs", "groups", *(f"{entry.name} pixels" for entry in info.classes))
    for split in opened.splits:
        pairs = opened.pairs(split)
        pixels = count_classes(opened, pairs)
        shares = (f"{count / max(pixels.sum(), 1):.2%}" for count in pixels)
        table.add_row(split, str(len(pairs)), str(len({pair.group for pair in pairs})), *shares)
    kind = f"{'grey' if info.channels == 1 else 'RGB'} of {info.bit_depth} bits"
    with_maps = any(pair.instances for split in opened.splits for pair in opened.pairs(split))
    Console().print(f"{info.name}: {kind}, {info.num_classes} classes{', instance maps' if with_maps else ''}")
    Console().print(table)


@app.command()
def check(dataset: Annotated[Path, typer.Argument(help="Dataset folder.")]) -> None:
    """Open and verify every pair of a dataset; list all problems at once."""
    from isdm.data.checking import check_dataset
    from isdm.data.dataset import SegmentationDataset

    opened = SegmentationDataset(dataset)
    count = check_dataset(opened)
    Console().print(f"{count} pairs are sound; no group lies in two splits.")
