"""A synthetic dataset beside its nearest real images, and what people say of its pairs."""

from collections.abc import Callable, Sequence
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isdm.data.dataset import Pair, SegmentationDataset
from isdm.data.decoding import load_arrays
from isdm.data.fitting import fit_pair
from isdm.data.image_files import ImageArray
from isdm.data.judgements import VERDICTS, Verdict, append_judgement
from isdm.errors import DataError
from isdm.hardware import select_device
from isdm.metrics.copying import COPY_RATIO, Neighbours, nearest_two, nearest_two_pixels, ratios
from isdm.models.features import load_extractor
from isdm.models.segmenters import PACKAGED_ENCODER, packaged_weights
from isdm.studio.pictures import outlined, png

MOST_REFERENCES = 2000
"""Real images that are compared with; of more, evenly spread ones."""


class _Measure(NamedTuple):
    name: str
    nearest: Callable[[ImageArray], Neighbours]
    """Of pictures (N, H, W, C)."""


class Browser:
    """The pairs of a synthetic dataset in their order."""

    def __init__(self, synthetic: SegmentationDataset, dataset: SegmentationDataset | None) -> None:
        self._synthetic = synthetic
        self._dataset = dataset
        self._pairs = synthetic.all_pairs("train")
        self._split = synthetic.folder / "train"
        self._lock = Lock()
        self._looking = Lock()
        self._found: dict[int, list[dict[str, Any]]] = {}

    def listed(self) -> dict[str, Any]:
        """What the page shows of all pairs."""
        said = self._synthetic.judgements("train")
        lines = [
            {
                "name": pair.stem,
                "kept": bool(pair.metadata.get("kept", True)),
                "reason": pair.metadata.get("reason", ""),
                "scores": pair.metadata.get("scores", {}),
                "verdict": {True: "keep", False: "drop", None: "none"}[said.get(_file_name(pair))],
                "background": pair.metadata.get("background"),
            }
            for pair in self._pairs
        ]
        return {"folder": str(self._synthetic.folder), "pairs": lines, "compares": self._dataset is not None}

    def judge(self, number: int, verdict: str) -> None:
        """Write down a verdict.

        Raises:
            DataError: there is no such pair or verdict.
        """
        pair = self._pair(number)
        known: dict[str, Verdict] = {name: name for name in VERDICTS}
        if verdict not in known:
            raise DataError(f"{verdict!r} is no verdict; say {', '.join(VERDICTS)}.")
        with self._lock:
            append_judgement(self._split, _file_name(pair), known[verdict])

    def image(self, number: int) -> bytes:
        """The picture of a pair."""
        return png(self._synthetic.load(self._pair(number))[0])

    def outlined(self, number: int) -> bytes:
        """The picture of a pair with its mask over it."""
        return outlined(*self._synthetic.load(self._pair(number)), self._synthetic.info)

    def real_image(self, number: int) -> bytes:
        """A real image that others are compared with."""
        images = self._references[1]
        if not 0 <= number < len(images):
            raise DataError(f"There is no real image {number}; reload the page.")
        return png(images[number])

    def nearest(self, number: int) -> list[dict[str, Any]]:
        """The nearest real images of a pair, by features and by pixels."""
        pair = self._pair(number)
        if self._dataset is None:
            return []
        with self._looking:
            if number not in self._found:
                pairs, images = self._references
                image, mask = self._synthetic.load(pair)
                image, _ = fit_pair(image, mask, images.shape[1:3], "stretch")
                self._found[number] = [
                    _line(measure.name, measure.nearest(image[None]), pairs) for measure in self._measures
                ]
        return self._found[number]

    def _pair(self, number: int) -> Pair:
        if not 0 <= number < len(self._pairs):
            raise DataError(f"There is no pair {number}; {self._synthetic.folder} has {len(self._pairs)}.")
        return self._pairs[number]

    @cached_property
    def _references(self) -> tuple[Sequence[Pair], ImageArray]:
        """Training pairs and their images (M, H, W, C)."""
        assert self._dataset is not None
        pairs = self._dataset.require("train")
        step = -(-len(pairs) // MOST_REFERENCES)
        return pairs[::step], load_arrays(self._dataset, pairs[::step])[0]

    @cached_property
    def _measures(self) -> list[_Measure]:
        pairs, images = self._references
        groups = [pair.group for pair in pairs]
        measures = [_Measure("pixels", lambda queries: nearest_two_pixels(queries, images, groups))]
        if packaged_weights(PACKAGED_ENCODER) is not None:
            extractor = load_extractor("auto", select_device())
            features: NDArray[np.float32] = extractor.compute(images)
            by_features = lambda queries: nearest_two(extractor.compute(queries), features, groups)  # noqa: E731
            measures.insert(0, _Measure("features", by_features))
        return measures


def _line(name: str, found: Neighbours, pairs: Sequence[Pair]) -> dict[str, Any]:
    ratio = float(ratios(found)[0])
    place = int(found.nearest[0])
    known = None if np.isnan(ratio) else round(ratio, 3)
    return {
        "measure": name,
        "real": place,
        "name": pairs[place].stem,
        "ratio": known,
        "may_be_copy": known is not None and known < COPY_RATIO,
    }


def _file_name(pair: Pair) -> str:
    return str(pair.metadata["image_file_name"])
