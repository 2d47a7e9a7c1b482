"""Painted pairs become a synthetic dataset, which every tool for one takes."""

import hashlib
from dataclasses import replace
from threading import Lock
from typing import Any

from isdm import provenance
from isdm.data.dataset import pair_names, write_metadata, write_pair
from isdm.errors import DataError
from isdm.files import read_json_lines
from isdm.locking import locked
from isdm.studio.bench import Bench
from isdm.studio.defects import find_defects
from isdm.studio.jobs import Job, objects_of
from isdm.studio.photographs import Photographs

STAGE = "studio"


class PaintedPairs:
    """The folder of painted pairs: made with the first, added to by each further one, never another's."""

    def __init__(self, bench: Bench, photographs: Photographs) -> None:
        self._bench = bench
        self._photographs = photographs
        self._lock = Lock()
        trained_on = bench.model_info.trained_on
        train = trained_on.get("fingerprint") if bench.dataset is None else bench.dataset.fingerprint("train")
        self._source = {
            "synthetic": True,
            "dataset": trained_on.get("dataset") if bench.dataset is None else bench.dataset.info.name,
            "model": bench.model_fingerprint,
            "model_trained_on": trained_on,
            "masks_from": train,
            "masks": "painted",
        }
        self._inputs = {"model": bench.model_fingerprint, "train split": str(train)}

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of the model and of the training pairs, by which a page knows whose its painting was."""
        return dict(self._inputs)

    def count(self) -> int:
        """Number of pairs that are there.

        Raises:
            OutputError: the folder holds something else; it is left alone.
        """
        provenance.check(self._bench.out, STAGE, {}, self._inputs)
        return len(self._lines())

    def add(self, job: Job, variant: int) -> str:
        """Add a picture of a finished job with its mask; gives its file name. Twice the same is added once.

        Raises:
            DataError: the job is not done, or its photograph must not come into training.
            OutputError: the folder holds something else.
        """
        if job.images is None or not 0 <= variant < len(job.images):
            raise DataError(f"Job {job.number} has no picture {variant + 1} yet; wait until it is done.")
        if job.photograph is not None:
            self._photographs.check_not_held_out(job.photograph)
        with self._lock, locked(self._bench.out):
            provenance.begin(self._bench.out, STAGE, {}, self._inputs)
            lines = self._lines()
            line = self._line(job, variant, lines)
            same = [old for old in lines if _content(old) == _content(line)]
            if not same:
                self._write(job, variant, [*lines, line])
        return str((same or [line])[0]["image_file_name"])

    def _write(self, job: Job, variant: int, lines: list[dict[str, Any]]) -> None:
        assert job.images is not None
        bench, watch = self._bench, provenance.Stopwatch()
        split = bench.out / "train"
        info = replace(bench.info, name=bench.out.resolve().name, source=self._source, split={"train": len(lines)})
        objects = objects_of(job.mask) if bench.model_info.instances else None
        write_pair(split, lines[-1], job.images[variant], job.mask, info, objects)
        write_metadata(split, lines)
        info.write(bench.out)
        provenance.finish(bench.out, {}, watch.seconds)

    def _lines(self) -> list[dict[str, Any]]:
        file = self._bench.out / "train" / "metadata.jsonl"
        return read_json_lines(file) if file.is_file() else []

    def _line(self, job: Job, variant: int, lines: list[dict[str, Any]]) -> dict[str, Any]:
        config, photograph = job.config, job.photograph
        digest = mask_digest(job)
        masks = {old["mask_sha256"]: old["mask_index"] for old in lines}
        number = masks.get(digest, len(masks))
        name = f"painted-{number:06d}"
        placed = [find_defects(self._bench.dataset)[k] for k in config.defects] if self._bench.dataset else []
        groups = [defect.group for defect in placed] + ([] if photograph is None else [photograph.group])
        stem = f"{name}_{config.seed}_{variant}_{len(lines):06d}"
        return {
            **pair_names(stem, len(lines), len(lines) + 1, instances=self._bench.model_info.instances),
            "group": groups[0] if groups else name,
            "source": "synthetic",
            "source_mask": placed[0].source if placed else name,
            "source_groups": list(dict.fromkeys(groups)),
            "sample_index": variant,
            "mask_index": number,
            "mask_sha256": digest,
            **({} if photograph is None else {"background": photograph.name}),
            "seed": config.seed,
            "sampler": config.sampler,
            "timesteps": "respaced",
            "num_sampling_steps": config.steps,
            "guidance_scale": config.guidance,
            "masks": "painted",
            "model": self._bench.model_fingerprint,
        }


def _content(line: dict[str, Any]) -> dict[str, Any]:
    """A line without the names of its files."""
    return {key: value for key, value in line.items() if not key.endswith("_file_name")}


def mask_digest(job: Job) -> str:
    """SHA-256 of the painted mask, by which the pictures of one mask are known."""
    return hashlib.sha256(job.mask.tobytes()).hexdigest()
