"""The one pass of an import over its pairs: each is opened, checked, fitted and written to a pool of finished files.

Where a pair goes (its split, its name) is known only when all have been seen; then its files are moved out of
the pool. So every image is decoded once, on all cores, with a few pairs in memory at a time. What is in the
pool is noted line by line, and an interrupted import goes on behind the last note.
"""

import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isdm.config import DataConfig
from isdm.data.dataset import (
    PAIRS_PER_FOLDER,
    DatasetInfo,
    SegmentationClass,
    check_class_ids,
    palette_image,
)
from isdm.data.fitting import fit_instances, fit_pair
from isdm.data.image_files import (
    ImageArray,
    MaskArray,
    as_picture,
    image_header,
    picture_digest,
    size_text,
    value_counts,
)
from isdm.data.image_rules import ImageFacts, ImageRule
from isdm.data.instances import InstanceArray, check_instance_size, outside_id, read_instances
from isdm.data.layouts.source import Source, SourcePair
from isdm.data.outcomes import Outcomes, Output, Prepared
from isdm.data.similarity import SIDE_PX, thumbnail
from isdm.data.windows import Window, windows_of
from isdm.errors import DataError
from isdm.files import append_json_lines, flush_system, json_lines
from isdm.on_disk import RowsOnDisk
from isdm.parallel import in_threads
from isdm.progress import progress, track

KINDS = ("images", "masks", "instances")
SECONDS_BETWEEN_NOTES = 20.0
"""What a killed import does again at most. To make files durable costs the more the oftener it is done."""
COMPRESSION = 4
"""Of 9: half the time of the usual 6, and files a few per cent larger."""


@dataclass(frozen=True)
class Preparation:
    """What every pair is prepared with."""

    config: DataConfig
    images: ImageRule
    info: DatasetInfo
    """Of the dataset to be: classes, channels, bit depth."""
    declared: DatasetInfo
    """The source's own classes."""
    table: NDArray[np.uint8]
    """(256,) from the source's class ids to the dataset's."""
    has_instances: bool
    pool: Path


def image_rule(source: Source) -> tuple[ImageRule | None, list[str]]:
    """How to read the images, found from their headers and, where those do not tell, from their pixels.

    Returns:
        The rule, or None and the problems: why there is none, and which images cannot be used.
    """
    facts = ImageFacts()
    problems: list[str] = []
    looked_at = in_threads(partial(_look, facts), (pair.image for pair in source.pairs))
    count = len(source.pairs)
    for problem in track(looked_at, "Looking at images", total=count, unit="images"):
        if problem:
            problems.append(problem)
    try:
        return facts.rule(source.used_bits), []
    except DataError as error:
        return None, [*problems, str(error)]


def _look(facts: ImageFacts, path: Path) -> str:
    try:
        facts.look_at(path)
    except DataError as error:
        return str(error)
    return ""


def prepare_all(pairs: Sequence[SourcePair], preparation: Preparation) -> tuple[Outcomes, RowsOnDisk]:
    """Prepare every pair that an earlier run has not.

    Returns:
        What became of each, and their thumbnails (N, S, S).
    """
    pool = preparation.pool
    for kind in KINDS:
        for part in range(len(pairs) // PAIRS_PER_FOLDER + 1):
            (pool / kind / f"{part:05d}").mkdir(parents=True, exist_ok=True)
    thumbnails = RowsOnDisk(len(pairs), (SIDE_PX, SIDE_PX), np.uint8, pool / "thumbnails.bin")
    notes = pool / "prepared.jsonl"
    outcomes = Outcomes(len(pairs), preparation.info.num_classes)
    for record in _noted(notes):
        if not outcomes.is_done[record.index]:
            outcomes.add(record)
    todo = np.flatnonzero(~outcomes.is_done)

    def prepared(index: int) -> Prepared:
        try:
            return _prepare(index, pairs[index], preparation, thumbnails)
        except DataError as error:
            return Prepared(index, problem=str(error))

    fresh: list[Prepared] = []
    noted_at = time.monotonic()
    with (
        ThreadPoolExecutor(1) as disk,  # one note after the other; meanwhile the others work on
        progress("Importing pairs", total=len(pairs), done=len(pairs) - len(todo), unit="pairs") as bar,
    ):
        noting = disk.submit(_note, notes, [])
        for record in in_threads(prepared, map(int, todo)):
            fresh.append(record)
            outcomes.add(record)
            if noting.done() and time.monotonic() - noted_at > SECONDS_BETWEEN_NOTES:
                noting.result()
                noting = disk.submit(_note, notes, fresh)
                fresh, noted_at = [], time.monotonic()
            bar.advance()
        noting.result()
    _note(notes, fresh)
    return outcomes, thumbnails


def _prepare(index: int, pair: SourcePair, preparation: Preparation, thumbnails: RowsOnDisk) -> Prepared:
    config = preparation.config
    image = preparation.images.load(pair.image)
    source_mask = pair.load_mask()
    if image.shape[:2] != source_mask.shape:
        is_turned = image.shape[1::-1] == source_mask.shape and image_header(pair.image).is_turned
        remedy = " (its EXIF data turn it, but the mask was drawn before: turn the mask)" if is_turned else ""
        sizes = f"{pair.image} is {size_text(image)}{remedy} but {pair.mask} is {size_text(source_mask)}"
        raise DataError(f"{sizes}; they must agree.")
    check_class_ids(value_counts(source_mask), preparation.declared, pair.mask)
    mask = _looked_up(source_mask, preparation.table)
    instances = _instances(pair, mask, source_mask) if preparation.has_instances else None
    digest = ""
    if finds_groups(config):
        thumbnails.write(index, thumbnail(image)[None])
        digest = picture_digest(image)
    outputs = []
    for window in _windows(mask, config):
        part = window.slices if window is not None else (slice(None), slice(None))
        suffix = window.suffix if window is not None else ""
        outputs.append(_write(preparation, index, suffix, image[part], mask[part], _cut(instances, part)))
    return Prepared(index, tuple(outputs), digest)


def finds_groups(config: DataConfig) -> bool:
    """Whether pictures that show the same thing are looked for: not where groups are given."""
    return config.near_duplicates and config.group_by is None and config.groups is None


def _instances(pair: SourcePair, mask: MaskArray, source_mask: MaskArray) -> InstanceArray:
    if pair.instances is None:  # a defect-free picture shows no object
        return np.zeros(mask.shape, np.uint16)
    instances = read_instances(pair.instances)
    check_instance_size(instances, pair.instances, source_mask, pair.mask)
    return instances


def _looked_up(mask: MaskArray, table: NDArray[np.uint8]) -> MaskArray:
    """What the table (256,) has for each pixel."""
    if np.array_equal(table, np.arange(256)):
        return mask
    found = mask.tobytes().translate(table.tobytes())  # four times as fast as indexing
    return np.frombuffer(found, np.uint8).reshape(mask.shape)


def _cut(instances: InstanceArray | None, part: tuple[slice, slice]) -> InstanceArray | None:
    return None if instances is None else instances[part]


def _windows(mask: MaskArray, config: DataConfig) -> list[Window | None]:
    """The windows to cut an image into; None stands for the whole image."""
    if config.fit == "tile":
        assert config.size is not None, "the options demand a size"
        return [*windows_of(mask, config.window or config.size, "tile")]
    if config.window is not None:
        return [*windows_of(mask, config.window, "crop")]
    return [None]


def _write(
    preparation: Preparation,
    index: int,
    suffix: str,
    image: ImageArray,
    mask: MaskArray,
    instances: InstanceArray | None,
) -> Output:
    config, info = preparation.config, preparation.info
    pixels = value_counts(mask)[: info.num_classes]  # small defects can vanish in the fitting
    if instances is not None:
        instances = fit_instances(instances, mask, config.size, config.fit, outside_id(instances, mask))
        _save(pooled(preparation.pool, "instances", index, suffix), Image.fromarray(instances))
    image, mask = fit_pair(image, mask, config.size, config.fit)
    _save(pooled(preparation.pool, "images", index, suffix), as_picture(np.ascontiguousarray(image)), zlib.Z_RLE)
    _save(pooled(preparation.pool, "masks", index, suffix), palette_image(np.ascontiguousarray(mask), info))
    return Output(suffix, tuple(int(count) for count in pixels))


def _save(path: Path, image: Image.Image, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> None:
    """Write a PNG file. Photographs want `Z_RLE`: they repeat nothing that is worth a search, and without it they
    are encoded in half the time and come out no larger.
    """
    image.save(path, format="PNG", compress_level=COMPRESSION, compress_type=strategy)


def pooled(pool: Path, kind: str, index: int, suffix: str) -> Path:
    """Where the pool holds a file of an output."""
    return pool / kind / f"{index // PAIRS_PER_FOLDER:05d}" / f"{index:08d}{suffix}.png"


def declared_info(class_names: Sequence[str]) -> DatasetInfo:
    """The classes of a source, to check its masks with."""
    return DatasetInfo("", tuple(SegmentationClass(i, name, (0, 0, 0)) for i, name in enumerate(class_names)))


def _note(path: Path, records: list[Prepared]) -> None:
    """Make the pool's files durable, then note what they are."""
    if records:
        flush_system()
        append_json_lines(path, (asdict(record) for record in records if not record.problem))


def _noted(path: Path) -> Iterator[Prepared]:
    """What an earlier run finished; pairs with a problem are looked at again."""
    if not path.is_file():
        return
    for line in json_lines(path, tolerate_cut_tail=True):
        outputs = tuple(Output(output["suffix"], tuple(output["pixels"])) for output in line["outputs"])
        yield Prepared(line["index"], outputs, line["digest"])
