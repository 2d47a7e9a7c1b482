"""The stage `data import`: any known layout becomes a dataset folder, checked pair by pair."""

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm import provenance
from isdm.config import DataConfig
from isdm.data.dataset import (
    IGNORE_INDEX,
    SPLITS,
    DatasetInfo,
    SegmentationClass,
    SegmentationDataset,
    Split,
    check_class_ids,
    pair_names,
    write_metadata,
    write_pair,
)
from isdm.data.defect_free import read_defect_free
from isdm.data.image_files import MaskArray, read_picture, size_text
from isdm.data.image_rules import ImageFacts, ImageRule
from isdm.data.instances import check_instance_size, outside_id, read_instances
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source, class_colours
from isdm.data.splits import grouped_split, split_sizes
from isdm.data.transforms import fit_instances, fit_pair
from isdm.errors import ConfigError, DataError, OutputError
from isdm.files import ASIDE_MARK, sha256_of_file, sha256_of_json, written_aside
from isdm.progress import say, track

MOST_PROBLEMS_SHOWN = 20


def import_dataset(config: DataConfig, out: Path) -> SegmentationDataset:
    """Import `config.source` into the dataset folder `out`.

    Every file is opened and checked before anything is written; `out` appears whole or not at all.

    Raises:
        DataError: listing all problems of the source.
        OutputError: when `out` holds something else.
    """
    watch = provenance.Stopwatch()
    if not out.name:
        raise OutputError(f"{out} has no name of its own; give a new folder, such as {out / 'dataset'}.")
    layout, source = read_source(config)
    inputs = {"source": _fingerprint(source)}
    if config.defect_free is not None:
        extra = read_defect_free(config.defect_free, {pair.stem for pair in source.pairs})
        inputs["defect-free folder"] = _fingerprint(replace(source, pairs=extra))
        note = f"{len(extra)} defect-free pictures are all background, and for training alone"
        source = replace(source, pairs=[*source.pairs, *extra], notes=[*source.notes, note])
    provenance.check(out, "data import", config.plain(), inputs, may_change={"source", "defect_free"})
    record = provenance.read(out)
    if record is not None and record.finished:
        say(f"{out} is already imported.")
        return SegmentationDataset(out)
    source = _with_groups(source, config.group_by)
    classes, table = _classes(source, config)
    images, class_pixels = _check_all(source, classes, table)
    source, class_pixels = _limit_defect_free(source, class_pixels, config)
    source, splits = _splits(source, class_pixels, config)
    info = DatasetInfo(
        name=out.resolve().name,
        classes=classes,
        channels=images.channels,
        bit_depth=images.bit_depth,
        source={"layout": layout, "folder": config.source.resolve().name, "notes": [*source.notes, *images.notes]},
        split={"by": "group", "seed": config.seed, **dict(Counter(splits))},
    )
    _remove_stale_asides(out)
    with written_aside(out) as aside:
        provenance.begin(aside, "data import", config.plain(), inputs)
        _write_all(aside, source, splits, info, images, table, config)
        provenance.finish(aside, config.plain(), watch.seconds)
        if out.is_dir():
            out.rmdir()  # `check` let only an empty folder pass
    for note in source.notes:
        say(f"Masks: {note}.")
    for note in images.notes:
        say(f"Images: {note}.")
    return SegmentationDataset(out)


def _fingerprint(source: Source) -> str:
    files = {path for pair in source.pairs for path in (pair.image, pair.mask, pair.instances) if path is not None}
    contents = [(path.name, sha256_of_file(path)) for path in sorted(files) if path.is_file()]
    return sha256_of_json([source.class_names, contents])


def _with_groups(source: Source, pattern: str | None) -> Source:
    if pattern is None:
        return source
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"group_by = {pattern!r} is not a regular expression: {error}.") from None
    pairs = []
    for pair in source.pairs:
        match = expression.search(pair.stem)
        if match is None:
            raise DataError(f"group_by = {pattern!r} does not match {pair.stem!r}; every name must match.")
        pairs.append(replace(pair, group=match.group(1) if expression.groups else match.group(0)))
    return replace(source, pairs=pairs)


def _classes(source: Source, config: DataConfig) -> tuple[tuple[SegmentationClass, ...], NDArray[np.uint8]]:
    """Classes after merging and choosing, and the table (256,) from the source's ids to theirs."""
    colour_of = dict(zip(source.class_names, source.colours or class_colours(len(source.class_names)), strict=True))
    foreground = source.class_names[1:]
    new_name = {name: name for name in foreground}
    for merged_name, parts in config.merge.items():
        for part in parts:
            _require_class(part, foreground, "merge")
            new_name[part] = merged_name
            colour_of.setdefault(merged_name, colour_of[part])
    known = tuple(dict.fromkeys(new_name.values()))
    for name in config.classes or ():
        _require_class(name, known, "classes")
    kept = [name for name in known if config.classes is None or name in config.classes]
    names = (source.class_names[0], *kept)
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[len(source.class_names) : IGNORE_INDEX] = np.arange(len(source.class_names), IGNORE_INDEX)
    for old_id, name in enumerate(source.class_names):
        target = new_name.get(name, name)
        table[old_id] = names.index(target) if target in names else 0
    return tuple(SegmentationClass(i, name, colour_of[name]) for i, name in enumerate(names)), table


def _require_class(name: str, known: Sequence[str], option: str) -> None:
    if name not in known:
        raise ConfigError(f"{option}: class {name!r} is unknown; the source has {', '.join(known)}.")


def _check_all(
    source: Source, classes: tuple[SegmentationClass, ...], table: NDArray[np.uint8]
) -> tuple[ImageRule, NDArray[np.int64]]:
    """Open every pair; give how to read the images and the pixels (N, K) of each class."""
    problems = list(source.problems)
    declared = DatasetInfo("", tuple(SegmentationClass(i, n, (0, 0, 0)) for i, n in enumerate(source.class_names)))
    facts, images = ImageFacts(), ImageRule(1, 8, 8)
    pixels = np.zeros((len(source.pairs), len(classes)), np.int64)
    stems: Counter[tuple[Split | None, str]] = Counter()
    for index, pair in enumerate(track(source.pairs, "Checking pairs", total=len(source.pairs), unit="pairs")):
        stems[(pair.split, pair.stem)] += 1
        try:
            image = read_picture(pair.image)
            facts.add(pair.image, image)
            mask = pair.load_mask()
            if image.shape[:2] != mask.shape:
                raise DataError(
                    f"{pair.image} is {size_text(image)} but {pair.mask} is {size_text(mask)}; they must agree."
                )
            check_class_ids(mask, declared, pair.mask)
            if pair.instances is not None:
                check_instance_size(read_instances(pair.instances), pair.instances, mask, pair.mask)
        except DataError as error:
            if str(error) not in problems:
                problems.append(str(error))
            continue
        pixels[index] = np.bincount(table[mask].ravel(), minlength=256)[: len(classes)]
    problems += [
        f"the name {stem!r} occurs {n} times; file stems must differ" for (_, stem), n in stems.items() if n > 1
    ]
    try:
        images = facts.rule(source.used_bits)
    except DataError as error:
        problems.append(str(error))
    if problems:
        shown = "\n".join(f"  {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN])
        more = len(problems) - MOST_PROBLEMS_SHOWN
        tail = f"\n  … and {more} more" if more > 0 else ""
        raise DataError(f"{len(problems)} problem(s) in the source; nothing was written:\n{shown}{tail}")
    return images, pixels


def _limit_defect_free(
    source: Source, pixels: NDArray[np.int64], config: DataConfig
) -> tuple[Source, NDArray[np.int64]]:
    """Keep a seeded random part of the pairs without foreground, where the configuration limits them."""
    if config.max_defect_free is None:
        return source, pixels
    empty = np.flatnonzero(pixels[:, 1:].sum(axis=1) == 0)
    limit = int(config.max_defect_free * (len(pixels) - len(empty)))
    dropped = np.random.default_rng(config.seed).permutation(empty)[limit:]
    kept = np.setdiff1d(np.arange(len(pixels)), dropped)
    note = f"{len(dropped)} of {len(empty)} pairs without foreground were left out (max_defect_free)"
    return replace(source, pairs=[source.pairs[i] for i in kept], notes=[*source.notes, note]), pixels[kept]


def _splits(source: Source, pixels: NDArray[np.int64], config: DataConfig) -> tuple[Source, list[Split]]:
    """The split of each pair; pairs for training alone are left out where their group is in another split."""
    groups = [pair.group or pair.stem for pair in source.pairs]
    own = [index for index, pair in enumerate(source.pairs) if not pair.train_only]
    of_own = _own_splits(replace(source, pairs=[source.pairs[i] for i in own]), pixels[own], config)
    split_of = dict(zip(own, of_own, strict=True))
    held_out = {groups[index] for index, split in split_of.items() if split != "train"}
    kept = [i for i, group in enumerate(groups) if i in split_of or group not in held_out]
    left_out = len(groups) - len(kept)
    if left_out:
        note = f"{left_out} defect-free pictures were left out: the validation or test split has their groups"
        source = replace(source, pairs=[source.pairs[i] for i in kept], notes=[*source.notes, note])
    return source, [split_of.get(i, "train") for i in kept]


def _own_splits(source: Source, pixels: NDArray[np.int64], config: DataConfig) -> list[Split]:
    given = [pair.split for pair in source.pairs]
    if all(split is not None for split in given) and "test" in given:
        chosen: list[Split] = [split or "train" for split in given]
        if "validation" not in chosen:
            chosen = _validation_from_train(source, pixels, chosen, config)
        _refuse_parted_groups(source, chosen)
        return chosen
    groups = [pair.group or pair.stem for pair in source.pairs]
    sizes = split_sizes(len(groups), config.test, config.validation)
    return grouped_split(groups, pixels > 0, sizes, config.seed)


def _refuse_parted_groups(source: Source, splits: list[Split]) -> None:
    """The source's own splits must not part a group that it, or --group-by, names."""
    found: dict[str, set[str]] = {}
    for pair, split in zip(source.pairs, splits, strict=True):
        found.setdefault(pair.group or f"{split}/{pair.stem}", set()).add(split)
    parted = sorted(group for group, places in found.items() if len(places) > 1)
    if parted:
        raise DataError(
            f"The source's own splits part {len(parted)} group(s), such as {parted[0]!r} in "
            f"{' and '.join(sorted(found[parted[0]]))}; put all pairs into one images/ and masks/ to split anew."
        )


def _validation_from_train(
    source: Source, pixels: NDArray[np.int64], splits: list[Split], config: DataConfig
) -> list[Split]:
    """The source gives train and test: take validation images from train alone."""
    rows = [index for index, split in enumerate(splits) if split == "train"]
    groups = [source.pairs[index].group or source.pairs[index].stem for index in rows]
    sizes = split_sizes(len(rows), 0, config.validation)
    for index, split in zip(rows, grouped_split(groups, pixels[rows] > 0, sizes, config.seed), strict=True):
        splits[index] = split
    return splits


def _write_all(
    folder: Path,
    source: Source,
    splits: Sequence[Split],
    info: DatasetInfo,
    images: ImageRule,
    table: NDArray[np.uint8],
    config: DataConfig,
) -> None:
    lines: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS if split in splits}
    totals = Counter(splits)
    has_instances = any(pair.instances for pair in source.pairs)
    rows = list(zip(source.pairs, splits, strict=True))
    for pair, split in track(rows, "Writing pairs", total=len(rows), unit="pairs"):
        image = images.load(pair.image)
        mask: MaskArray = table[pair.load_mask()]
        instances = None
        if has_instances:  # a defect-free picture shows no object
            instances = read_instances(pair.instances) if pair.instances else np.zeros(mask.shape, np.uint16)
            instances = fit_instances(instances, config.size, config.fit, outside_id(instances, mask))
        image, mask = fit_pair(image, mask, config.size, config.fit)
        names = pair_names(pair.stem, len(lines[split]), totals[split], instances=instances is not None)
        write_pair(folder / split, names, image, mask, info, instances)
        lines[split].append({**names, "group": pair.group or pair.stem, "source": "real"})
    for split, metadata in lines.items():
        write_metadata(folder / split, metadata)
    info.write(folder)


def _remove_stale_asides(out: Path) -> None:
    """Remove what a killed import of the same folder left beside it."""
    for stale in out.parent.glob(f"{ASIDE_MARK}*"):
        if stale.name.removeprefix(ASIDE_MARK).partition("-")[2] == out.name:
            shutil.rmtree(stale)
