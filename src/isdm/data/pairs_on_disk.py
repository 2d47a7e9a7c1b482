"""Source pairs in a temporary file: the names of hundreds of thousands take more memory than the work itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from isdm.data.image_files import MaskArray
from isdm.data.layouts.source import SourcePair
from isdm.on_disk import LazySequence, RecordsOnDisk

_Read = Callable[[SourcePair], MaskArray]


def pairs_on_disk(pairs: Iterable[SourcePair]) -> Sequence[SourcePair]:
    """Keep pairs in a file; each is made anew when it is asked for, by whichever thread.

    Only the functions that read masks stay in memory: where one serves all pairs, as wherever the pair's files say
    the rest, that is a single one.

    Args:
        pairs: taken one at a time.

    Raises:
        DataError: the folder for temporary files has too little space.
    """
    readers: list[_Read] = []
    records = RecordsOnDisk(_as_records(pairs, readers))
    return LazySequence(len(records), lambda index: _as_pair(records[index], readers))


def _as_records(pairs: Iterable[SourcePair], readers: list[_Read]) -> Iterator[tuple[Any, ...]]:
    """The pairs as values of JSON; their functions are added to `readers`, each once."""
    place_of: dict[int, int] = {}  # by the function's identity, which `readers` keeps alive
    for pair in pairs:
        reader = place_of.setdefault(id(pair.read), len(readers))
        if reader == len(readers):
            readers.append(pair.read)
        yield (
            pair.image_file,
            pair.mask_file,
            pair.stem,
            reader,
            pair.group,
            pair.split,
            pair.instance_file,
            pair.train_only,
            pair.further_files,
            None if pair.class_ids is None else sorted(pair.class_ids),
            pair.details,
        )


def _as_pair(record: Sequence[Any], readers: Sequence[_Read]) -> SourcePair:
    image, mask, stem, reader, group, split, instances, train_only, further, class_ids, details = record
    return SourcePair(
        image,
        mask,
        stem,
        readers[reader],
        group,
        split,
        instances,
        train_only,
        tuple(further),
        None if class_ids is None else frozenset(class_ids),
        details,
    )
