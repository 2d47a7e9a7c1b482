"""A dataset's statistics as tables in the terminal."""

from rich import box
from rich.table import Table

from isdm.data.describing import Statistics
from isdm.data.describing_text import area_text, class_choice, share_text
from isdm.progress import plain_console
from isdm.text import printable


def print_description(statistics: Statistics, *, has_instances: bool) -> None:
    """Print what a dataset holds. Names are printed as they are: nothing in them is taken for markup."""
    info = statistics.info
    console = plain_console()
    kind = f"{'grey' if info.channels == 1 else 'RGB'} of {info.bit_depth} bits"
    with_maps = ", instance maps" if has_instances else ""
    console.print(f"{printable(info.name)}: {kind}, {info.num_classes} classes{with_maps}")
    tables = plain_console(wraps=True)
    tables.print(_split_table(statistics))
    console.print(
        "Percent of each split's pixels, of all foreground; images with the class; objects, median area in px:"
    )
    tables.print(_class_table(statistics))
    for line in _lines(statistics):
        console.print(line)


def _split_table(statistics: Statistics) -> Table:
    table = Table("split")
    for name in ("pairs", "groups", "largest group", "without foreground", "ignored pixels"):
        table.add_column(name, justify="right")
    for split, held in statistics.splits.items():
        table.add_row(
            split,
            str(held.num_pairs),
            str(held.num_groups),
            str(held.largest_group),
            str(held.num_without_foreground),
            share_text(held.ignored_px, int(held.class_px.sum()) + held.ignored_px),
        )
    return table


def _class_table(statistics: Statistics) -> Table:
    """One row a class: its share of each split's labelled pixels, and of all foreground pixels; its objects."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))  # narrow: it should fit into 80 characters
    table.add_column("class", overflow="fold")
    for name in (*statistics.splits, "foreground", "images", "objects", "median"):
        table.add_column(name, justify="right")
    pixels, pairs = statistics.class_px, statistics.class_pairs
    for entry in statistics.info.classes:
        shares = [
            _percent(int(held.class_px[entry.id]), int(held.class_px.sum())) for held in statistics.splits.values()
        ]
        of_foreground = objects = median = ""
        sizes = statistics.objects_of(entry)
        if sizes is not None:
            middle = sizes.quantile(0.5)
            of_foreground = _percent(int(pixels[entry.id]), statistics.foreground_px)
            objects, median = str(sizes.count), "–" if middle is None else area_text(middle)
        table.add_row(printable(entry.name), *shares, of_foreground, str(pairs[entry.id]), objects, median)
    return table


def _percent(part: int, whole: int) -> str:
    return share_text(part, whole).removesuffix(" %")


def _lines(statistics: Statistics) -> list[str]:
    (width, height), most = next(iter(statistics.image_sizes.items()))
    total, empty = statistics.num_pairs, statistics.num_without_foreground
    more = len(statistics.image_sizes) - 1
    lines = [
        f"Images: {most} of {total} have {width}x{height} pixels{'' if width == height else ' (width x height)'}"
        + (f", the others {more} other sizes." if more else "."),
        f"Without foreground: {empty} of {total} images.",
        f"Groups: {statistics.num_groups}; the largest, {printable(statistics.largest_group)}, counts "
        f"{statistics.largest_group_size}.",
    ]
    if statistics.num_parted_groups:
        lines.append(f"Groups in several splits: {statistics.num_parted_groups}; `isdm data check` names them.")
    lines += [f"Source: {printable(str(note))}." for note in statistics.info.source.get("notes", ())]
    choice = class_choice(statistics)
    if choice is not None:
        lines.append(f"{choice.option} ({choice.sentence})" if choice.option else choice.sentence)
    return lines
