"""Painting in the background: one job at a time, its pictures visible while they are denoised."""

import base64
import binascii
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from isdm.config import SampleConfig, Sampler, build
from isdm.config.base import StageConfig
from isdm.data.dataset import IGNORE_INDEX
from isdm.data.image_files import ImageArray, MaskArray
from isdm.data.regions import connected_regions
from isdm.errors import DataError, IsdmError
from isdm.studio.bench import Bench
from isdm.studio.defects import find_defects
from isdm.studio.photographs import Photograph
from isdm.studio.pictures import png, preview
from isdm.synthesis.backgrounds import seamed

MOST_WAITING = 8
MOST_KEPT = 32
PREVIEW_SECONDS = 0.1
"""Least time between two looks at pictures that are being denoised."""
State = Literal["waiting", "painting", "done", "cancelled", "failed"]


class PaintConfig(StageConfig):
    """What the page asks for."""

    mask: str
    """The class ids of all pixels, row by row, a byte each, in base64."""
    photograph: str | None = None
    """Name of the photograph to paint into."""
    defects: tuple[int, ...] = ()
    """Numbers of the training masks' defects that were put down."""
    sampler: Sampler = "dpmsolver++-sde"
    """The method that walks from noise to image."""
    steps: int = Field(20, ge=1, le=1000)
    """Sampling steps."""
    guidance: float = Field(1.5, ge=0, le=20)
    """Guidance scale; 1 is off."""
    seed: int = Field(0, ge=0, le=2**31 - 1)
    """Seed of the pictures."""
    variants: int = Field(4, ge=1, le=16)
    """Pictures of the same mask."""


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Somebody pressed cancel."""


@dataclass
class Job:
    """Pictures that are wanted, being painted, or painted."""

    number: int
    config: PaintConfig
    mask: MaskArray
    photograph: Photograph | None
    state: State = "waiting"
    step: int = 0
    error: str = ""
    pictures: list[bytes] = field(default_factory=list)
    """PNG files, as far as they are."""
    images: ImageArray | None = None
    """(N, H, W, C) when done."""
    cancelled: Event = field(default_factory=Event)

    def as_json(self) -> dict[str, Any]:
        """What the page asks for again and again."""
        shown = {"number": self.number, "state": self.state, "step": self.step, "error": self.error}
        return {**shown, "steps": self.config.steps, "pictures": len(self.pictures), "seed": self.config.seed}


def read_mask_text(text: str, size: tuple[int, int], num_classes: int) -> MaskArray:
    """Class ids (H, W) from base64.

    Raises:
        DataError: it is no base64, of another size, or holds an id that is no class.
    """
    height, width = size
    try:
        ids = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        raise DataError("The mask is not in base64; reload the page.") from None
    if ids.size != height * width:
        raise DataError(f"The mask has {ids.size} pixels but this model paints {height}x{width}; reload the page.")
    wrong = ids[(ids >= num_classes) & (ids != IGNORE_INDEX)]
    if len(wrong):
        raise DataError(f"The mask holds class {wrong[0]}; this model has {num_classes} classes: choose another.")
    return ids.reshape(height, width)


def objects_of(mask: MaskArray) -> NDArray[np.uint16]:
    """An instance map (H, W): each connected region of a class is an object."""
    objects, total = np.zeros(mask.shape, np.uint16), 0
    for class_id in np.unique(mask):
        labels, found = connected_regions(mask == class_id)
        objects = np.where(labels > 0, labels + total, objects).astype(np.uint16)
        total += found
    return objects


class Painter:
    """A queue with one worker. Everybody else goes on meanwhile: pages are answered by other threads."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._worker = ThreadPoolExecutor(1, "painter")
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._numbers = count(1)
        self._lock = Lock()

    def add(self, values: Mapping[str, Any], photograph: Photograph | None) -> Job:
        """Put a job into the queue.

        Raises:
            ConfigError: an option is wrong.
            DataError: the mask or a defect is, or nothing is painted, or too many are waiting.
        """
        config = build(PaintConfig, values, where="what the page sent")
        mask = read_mask_text(config.mask, self._bench.size, self._bench.info.num_classes)
        if config.defects:
            self._check_defects(config.defects)
        if photograph is not None and (mask == photograph.mask).all():
            raise DataError("Nothing is painted on the photograph yet; choose a class and paint a defect into it.")
        with self._lock:
            waiting = sum(job.state in ("waiting", "painting") for job in self._jobs.values())
            if waiting >= MOST_WAITING:
                raise DataError(f"{waiting} jobs are waiting already; wait until one is done, or cancel one.")
            job = Job(next(self._numbers), config, mask, photograph)
            self._jobs[job.number] = job
            for number in [n for n, one in self._jobs.items() if one.state not in ("waiting", "painting")][
                :-MOST_KEPT
            ]:
                del self._jobs[number]
        self._worker.submit(self._paint, job).add_done_callback(lambda future: _finish(job, future))
        return job

    def _check_defects(self, numbers: Sequence[int]) -> None:
        known = [] if self._bench.dataset is None else find_defects(self._bench.dataset)
        for number in numbers:
            if not 0 <= number < len(known):
                raise DataError(f"There is no defect {number}, only {len(known)}; reload the page.")

    def get(self, number: int) -> Job:
        """The job of that number.

        Raises:
            DataError: it is not kept any more.
        """
        job = self._jobs.get(number)
        if job is None:
            raise DataError(f"Job {number} is not kept any more; paint again, the same seed gives the same pictures.")
        return job

    def cancel(self, number: int) -> Job:
        """Take a job out of the queue, or stop it at its next step."""
        job = self.get(number)
        job.cancelled.set()
        if job.state == "waiting":
            job.state = "cancelled"
        return job

    def close(self) -> None:
        """Stop everything."""
        for job in self._jobs.values():
            job.cancelled.set()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _paint(self, job: Job) -> None:
        if job.cancelled.is_set():
            raise Cancelled
        job.state = "painting"
        config, photograph, shown = job.config, job.photograph, [0.0]
        masks = np.repeat(job.mask[None], config.variants, axis=0)
        known: dict[str, Any] = {}
        if photograph is not None:
            seam_px = SampleConfig().blend * min(job.mask.shape)
            alpha = seamed(job.mask != photograph.mask, seam_px)
            known = {
                "backgrounds": np.repeat(photograph.image[None], config.variants, axis=0),
                "painted": np.repeat(alpha[None], config.variants, axis=0),
            }
        if self._bench.model_info.instances:
            known["instances"] = np.repeat(objects_of(job.mask)[None], config.variants, axis=0)

        def look(first: int, pred_xstart: Tensor) -> None:
            if job.cancelled.is_set():
                raise Cancelled
            if time.monotonic() - shown[0] >= PREVIEW_SECONDS:
                job.pictures = job.pictures[:first] + preview(pred_xstart)
                shown[0] = time.monotonic()

        def count_step() -> None:
            job.step = min(job.step + 1, config.steps)

        job.images = self._bench.pipeline(
            masks,
            seed=config.seed,
            sampler=config.sampler,
            num_sampling_steps=config.steps,
            guidance_scale=config.guidance,
            on_step=count_step,
            on_prediction=look,
            **known,
        )
        job.pictures = [png(image) for image in job.images]


def _finish(job: Job, future: "Future[None]") -> None:
    error = None if future.cancelled() else future.exception()
    if future.cancelled() or isinstance(error, Cancelled):
        job.state, job.pictures = "cancelled", []
    elif error is None:
        job.step, job.state = job.config.steps, "done"
    else:
        told = str(error) if isinstance(error, IsdmError) else f"Painting failed ({error}); the terminal says more."
        if not isinstance(error, IsdmError):
            logging.getLogger(__name__).error("Painting failed", exc_info=error)
        job.error, job.state = told, "failed"
