"""The stage `data import`: any known layout becomes a dataset folder, checked pair by pair."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isdm import provenance
from isdm.config import DataConfig
from isdm.data.archives import opened_source
from isdm.data.classes import ChosenClasses, chosen_classes
from isdm.data.dataset import DatasetInfo, SegmentationDataset, Split, pair_names, write_metadata
from isdm.data.defect_free import read_defect_free
from isdm.data.grouping import with_found_groups, with_told_groups
from isdm.data.image_files import image_header, read_mask
from isdm.data.import_hints import COMPARED_PAIRS, enlarged_pictures, harmed_objects, parts_by_name
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source, SourcePair
from isdm.data.matches import Matches
from isdm.data.near_duplicates import find_same
from isdm.data.outcomes import Outputs
from isdm.data.pairs_on_disk import pairs_on_disk
from isdm.data.placing import (
    empty_splits,
    splits_of,
    with_fewer_to_train_on,
    with_source_splits,
    without_leaking_extras,
)
from isdm.data.preparing import Preparation, declared_info, finds_groups, image_rule, pooled, prepare_all
from isdm.data.recipes import find_recipe, with_recipe
from isdm.data.splits import split_sizes
from isdm.errors import ConfigError, DataError, IsdmError, OutputError
from isdm.files import ASIDE_MARK, flush_system, sha256_of_file, sha256_of_json_with, write_text
from isdm.locking import beside, locked
from isdm.on_disk import LazySequence, RowsOnDisk, distinct_sorted, repeated
from isdm.parallel import in_threads
from isdm.progress import say

MOST_PROBLEMS_SHOWN = 1000
LEFT_OUT_FILE = "left_out.txt"


def import_dataset(config: DataConfig, out: Path) -> SegmentationDataset:
    """Import `config.source`, a folder or an archive, into the dataset folder `out`.

    Every file is opened and checked; `out` appears whole or not at all. An interrupted import keeps what it has
    done beside `out` and goes on there when it is started again with the same options.

    Args:
        config: the options; `config.source` is never written to.
        out: the dataset folder to make; it must not exist, be empty, or hold this same import.

    Raises:
        ConfigError: the layout, the recipe, a class or a split's size is not there.
        DataError: listing all problems of the source.
        OutputError: when `out` holds something else, or lies in the source.
    """
    watch = provenance.Stopwatch()
    _check_place(config.source, out)
    if config.recipe is not None:
        find_recipe(config.recipe)
    with ExitStack() as stack:
        stack.enter_context(locked(beside(out)))
        folder, archive, told = opened_source(config.source, out, stack)
        layout, source = read_source(config.model_copy(update={"source": folder}))
        say(f"{config.source} has the layout {layout}: {len(source.pairs)} pairs.")
        inputs = {"source": sha256_of_file(archive) if archive is not None else _fingerprint(source)}
        chosen = config
        if config.recipe is not None:
            source, chosen = with_recipe(source, config)
        if config.defect_free is not None:
            source, inputs["defect-free folder"] = _with_defect_free(source, config.defect_free)
        provenance.check(out, "data import", config, inputs, may_change={"source", "defect_free"})
        record = provenance.read(out)
        if record is not None and record.finished:
            say(f"{out} is already imported.")
            return SegmentationDataset(out)
        pairs, unnamed = with_source_splits(source.pairs, chosen)
        source = with_told_groups(replace(source, pairs=pairs, notes=[*source.notes, *unnamed]), chosen)
        classes = chosen_classes(source, chosen)
        split_sizes(len(source.pairs), chosen.test, chosen.validation)  # wrong sizes are told now, not after the work
        if chosen.train is not None and chosen.train > len(source.pairs):
            raise ConfigError(f"train = {chosen.train} but there are {len(source.pairs)} pairs in all; lower it.")
        work = _work_folder(out, config, inputs)
        try:
            notes = _import(source, chosen, classes, layout, work, told)
        except IsdmError:
            shutil.rmtree(work)
            raise
        provenance.finish(work, config, watch.seconds)
        flush_system()
        if out.is_dir():
            out.rmdir()  # `check` let only an empty folder pass
        work.replace(out)
    for note in notes:
        say(f"{note}.")
    return SegmentationDataset(out)


def _check_place(source: Path, out: Path) -> None:
    if not out.name:
        raise OutputError(f"{out} has no name of its own; give a new folder, such as {out / 'dataset'}.")
    if out.resolve().is_relative_to(source.resolve()):
        raise OutputError(f"{out} lies in the source {source}, which is never written to; give a place outside it.")


def _with_defect_free(source: Source, folder: Path) -> tuple[Source, str]:
    extra = read_defect_free(folder, {pair.stem for pair in source.pairs})
    note = f"{len(extra)} defect-free pictures are all background, and for training alone"
    with_extra = replace(source, pairs=pairs_on_disk(chain(source.pairs, extra)), notes=[*source.notes, note])
    return with_extra, _fingerprint(replace(source, pairs=extra))


def _fingerprint(source: Source) -> str:
    files = (
        os.fsencode(file).replace(b"/", b"\0")  # so that they are sorted folder by folder, as paths are
        for pair in source.pairs
        for file in (pair.image_file, pair.mask_file, pair.instance_file, *pair.further_files)
        if file is not None
    )
    paths = (Path(os.fsdecode(file.replace(b"\0", b"/"))) for file in distinct_sorted(files))
    hashes = in_threads(_name_and_hash, (path for path in paths if path.is_file()))
    return sha256_of_json_with(source.class_names, hashes)


def _name_and_hash(path: Path) -> tuple[str, str]:
    try:
        return path.name, sha256_of_file(path)
    except PermissionError:
        return path.name, "unreadable"  # named as a problem when it is opened


def _work_folder(out: Path, config: DataConfig, inputs: dict[str, str]) -> Path:
    """The folder beside `out` where the import is made; what is left there of another import is removed."""
    work = out.parent / f"{ASIDE_MARK}import-{out.name}"
    try:
        record = provenance.read(work)
    except (DataError, OutputError):
        record = None
    if record is None or (record.config, record.inputs) != (config.plain(), inputs):
        shutil.rmtree(work, ignore_errors=True)
    elif work.is_dir():
        say("An interrupted import of the same source goes on where it stood.")
    provenance.begin(work, "data import", config, inputs)
    return work


def _import(
    source: Source,
    config: DataConfig,
    classes: ChosenClasses,
    layout: str,
    work: Path,
    told: Callable[[str], str],
) -> list[str]:
    """Make the dataset in `work`; returns the sentences that say what was done, which pass `told` as problems do."""
    images, unusable = image_rule(source)
    if images is None:
        raise DataError(
            _listed([*source.problems, *_double_names(source.pairs)[0], *unusable], can_be_left_out=False)
        )
    info = DatasetInfo(
        work.name, classes.classes, images.channels, images.bit_depth, has_background=classes.has_background
    )
    has_instances = any(pair.instances for pair in source.pairs)
    pool = work / "pool"
    preparation = Preparation(
        config, images, info, declared_info(source.class_names), classes.table, has_instances, pool
    )
    outcomes, thumbnails = prepare_all(source.pairs, preparation)
    double_names, doubles = _double_names(source.pairs)
    problems = list(dict.fromkeys(map(told, [*source.problems, *double_names, *outcomes.problems])))
    is_good = outcomes.is_good
    is_good[doubles] = False  # nobody can tell which is meant
    if not is_good.any() or (problems and not config.skip_bad):
        raise DataError(_listed(problems, can_be_left_out=bool(is_good.any())))
    notes = [f"Masks: {note}" for note in (*source.notes, *classes.notes)] + [
        f"Images: {note}" for note in images.notes
    ]
    good = np.flatnonzero(is_good)
    pairs: Sequence[SourcePair] = LazySequence(len(good), lambda place: source.pairs[good[place]])
    knows_groups = any(pair.group is not None for pair in source.pairs)
    if finds_groups(config):
        pairs, found = with_found_groups(pairs, _same_among(good, outcomes.digests, thumbnails))
        notes += [f"Groups: {note}" for note in (*found, *([] if knows_groups else parts_by_name(pairs)))]

    def pairs_of(outputs: Outputs) -> Sequence[SourcePair]:
        places = np.searchsorted(good, outputs.indices)
        return LazySequence(len(outputs), lambda row: pairs[places[row]])

    outputs, left = _limit_defect_free(outcomes.outputs(is_good), info, config)
    notes += _effects_of_size(source.pairs, outputs, preparation)
    chosen, by = splits_of(pairs_of(outputs), outputs.pixels, config)
    rows, fewer = with_fewer_to_train_on(pairs_of(outputs), chosen, outputs.pixels, config)
    outputs, chosen = outputs.take(rows), [chosen[row] for row in rows]
    rows, leaking = without_leaking_extras(pairs_of(outputs), chosen)
    outputs, chosen = outputs.take(rows), [chosen[row] for row in rows]
    notes += [f"Pairs: {note}" for note in (*left, *fewer, *leaking)]
    notes += [f"Splits: {note}" for note in empty_splits(pairs_of(outputs), chosen, config)]
    if problems:
        write_text(work / LEFT_OUT_FILE, "".join(f"{problem}\n" for problem in problems))
        notes.append(f"{len(problems)} problem(s): what they name was left out and is listed in {LEFT_OUT_FILE}")
    notes = [told(note) for note in notes]
    _place(work, pairs_of(outputs), outputs, chosen, has_instances=has_instances)
    about = {"layout": layout, "folder": config.source.resolve().name, "notes": notes, "left_out": len(problems)}
    name = work.name.removeprefix(f"{ASIDE_MARK}import-")
    split: dict[str, Any] = {"by": by, "seed": config.seed, **Counter(chosen)}
    replace(info, name=name, source=about, split=split).write(work)
    del thumbnails
    shutil.rmtree(pool)
    return notes


def _same_among(good: NDArray[np.int64], digests: NDArray[np.bytes_], thumbnails: RowsOnDisk) -> Matches:
    """Matches of the good pairs (G,), by their positions among these."""
    compared, places = np.zeros_like(digests), np.zeros(len(digests), np.int32)
    compared[good], places[good] = digests[good], np.arange(len(good))
    return find_same(thumbnails, compared).renumbered(places)


def _effects_of_size(pairs: Sequence[SourcePair], outputs: Outputs, preparation: Preparation) -> list[str]:
    """What the size has done to some of the pictures and to the objects of their masks."""
    config = preparation.config
    if config.size is None or config.fit not in ("stretch", "pad"):
        return []
    step = max(1, len(outputs) // COMPARED_PAIRS)
    places = {index: pooled(preparation.pool, "masks", index, "") for index in outputs.indices[::step].tolist()}
    indices = [index for index, path in places.items() if path.is_file() and not pairs[index].train_only]
    chosen = [pairs[index] for index in indices]
    masks = [read_mask(places[index]) for index in indices]
    enlarged = enlarged_pictures([image_header(pair.image) for pair in chosen], config.size)
    harmed = harmed_objects(chosen, masks, preparation.table, preparation.info.first_foreground)
    return [f"Images: {note}" for note in enlarged] + [f"Masks: {note}" for note in harmed]


def _listed(problems: Sequence[str], *, can_be_left_out: bool) -> str:
    """All problems as one message, which tells the way out that there is."""
    shown = "\n".join(f"  {problem}" for problem in problems[:MOST_PROBLEMS_SHOWN])
    more = len(problems) - MOST_PROBLEMS_SHOWN
    tail = f"\n  … and {more} more" if more > 0 else ""
    remedy = (
        "Mend them, or leave them out with --skip-bad."
        if can_be_left_out
        else "Mend them; --skip-bad would leave no pair."
    )
    return f"{len(problems)} problem(s) in the source; nothing was written:\n{shown}{tail}\n{remedy}"


def _double_names(pairs: Sequence[SourcePair]) -> tuple[list[str], list[int]]:
    """A line for each name that occurs more than once in a split, and the positions of the pairs that have it."""
    times = repeated(lambda: ((pair.split, pair.stem) for pair in pairs))
    lines = [f"the name {stem!r} occurs {n} times; file stems must differ" for (_, stem), n in times.items()]
    return lines, [place for place, pair in enumerate(pairs) if (pair.split, pair.stem) in times] if times else []


def _limit_defect_free(outputs: Outputs, info: DatasetInfo, config: DataConfig) -> tuple[Outputs, list[str]]:
    """Keep a seeded random part of the pairs without foreground, where the configuration limits them."""
    if config.max_defect_free is None:
        return outputs, []
    empty = np.flatnonzero(outputs.pixels[:, info.first_foreground :].sum(axis=1) == 0)
    limit = int(config.max_defect_free * (len(outputs) - len(empty)))
    dropped = np.random.default_rng(config.seed).permutation(empty)[limit:]
    if not len(dropped):
        return outputs, []
    note = f"{len(dropped)} of {len(empty)} pairs without foreground were left out (max_defect_free)"
    return outputs.take(np.setdiff1d(np.arange(len(outputs)), dropped)), [note]


def _place(
    work: Path, pairs: Sequence[SourcePair], outputs: Outputs, splits: Sequence[Split], *, has_instances: bool
) -> None:
    """Move the finished files out of the pool to where they belong; what an earlier run moved is there already."""

    def placed(split: Split, total: int) -> Iterator[dict[str, Any]]:
        rows = (row for row, own in enumerate(splits) if own == split)
        for place, row in enumerate(rows):
            pair, suffix = pairs[row], outputs.suffixes[row]
            names = pair_names(pair.stem + suffix, place, total, instances=has_instances)
            _move(work, split, names, int(outputs.indices[row]), suffix)
            yield {**names, "group": pair.group or pair.stem, "source": "real"}

    for split, total in Counter(splits).items():
        write_metadata(work / split, placed(split, total))


def _move(work: Path, split: Split, names: Mapping[str, str], index: int, suffix: str) -> None:
    """Move one pair's files to where they belong."""
    for name in names.values():
        path = work / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        waiting = pooled(work / "pool", name.partition("/")[0], index, suffix)
        if waiting.is_file():
            waiting.replace(path)
        assert path.is_file(), f"{path} is neither in its place nor in the pool"
