"""Source pairs in a temporary file: the names of hundreds of thousands take more memory than the work itself."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from isdm.data.image_files import MaskArray
from isdm.data.layouts.source import SourcePair
from isdm.on_disk import LazySequence, RecordsOnDisk


class PairsOnDisk(LazySequence[SourcePair]):
    """Source pairs in their order, each made anew when it is asked for; any thread may ask.

    Only the functions that read masks stay in memory: where one serves all pairs, as wherever the pair's files say
    the rest, that is a single one.

    Args:
        pairs: taken one at a time.

    Raises:
        DataError: the folder for temporary files has too little space.
    """

    def __init__(self, pairs: Iterable[SourcePair]) -> None:
        self._readers: list[Callable[[SourcePair], MaskArray]] = []
        self._records = RecordsOnDisk(self._as_records(pairs))
        super().__init__(len(self._records), self._pair)

    def _pair(self, index: int) -> SourcePair:
        image, mask, stem, reader, group, split, instances, train_only, further, class_ids = self._records[index]
        return SourcePair(
            image,
            mask,
            stem,
            self._readers[reader],
            group,
            split,
            instances,
            train_only,
            tuple(further),
            None if class_ids is None else frozenset(class_ids),
        )

    def _as_records(self, pairs: Iterable[SourcePair]) -> Iterator[tuple[Any, ...]]:
        place_of: dict[int, int] = {}  # by the function's identity, which `_readers` keeps alive
        for pair in pairs:
            reader = place_of.setdefault(id(pair.read), len(self._readers))
            if reader == len(self._readers):
                self._readers.append(pair.read)
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
            )
