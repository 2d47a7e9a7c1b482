"""What a run's folder already has, compared with what is wanted now: told before anything in it is touched.

Every stage refuses a folder of other options by itself, but only when its turn comes: by then a finished training has
been trained on, and what was painted with it fits no more.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isdm import provenance
from isdm.config import ExperimentConfig, StageConfig, TrainConfig, read_yaml
from isdm.differences import differences, told
from isdm.errors import OutputError

_LIMITS = ("steps", "epochs", "max_time", "patience_steps")
"""Options of a training that say where it stops; given anew, they may let a finished one go on."""
_OPTIONAL = {"finetuned": "finetune", "selected": "select"}
"""Folders of the stages that an experiment may leave out and others are made from, with their keys."""
_FOLDERS = ("data", "model", "finetuned", "synthetic", "selected", "audit", "study")
"""In the order in which they are made."""


@dataclass(frozen=True)
class WantedStage:
    """A stage of an experiment: its folder below the run's, its key in the file, and its options."""

    folder: str
    key: str
    options: StageConfig
    may_change: Collection[str]


def wanted_stages(config: ExperimentConfig) -> Iterator[WantedStage]:
    """The stages of an experiment, with the options that a folder which is there may be given anew."""
    from isdm.evaluation.study import MAY_CHANGE as OF_STUDY
    from isdm.synthesis.generate import MAY_CHANGE as OF_SAMPLING
    from isdm.training.diffusion import MAY_CHANGE as OF_TRAINING

    yield WantedStage("data", "data", config.data, {"source", "defect_free"})
    yield WantedStage("model", "train", config.train, OF_TRAINING)
    if config.finetune is not None:
        yield WantedStage("finetuned", "finetune", config.finetune, OF_TRAINING)
    yield WantedStage("synthetic", "sample", config.candidates(), OF_SAMPLING)
    if config.select is not None:
        yield WantedStage("selected", "select", config.select, {"device"})
    if config.audit is not None:
        yield WantedStage("audit", "audit", config.audit, {"device"})
    yield WantedStage("study", "evaluate", config.evaluate, OF_STUDY)


def changes(config: ExperimentConfig, out: Path) -> dict[str, list[str]]:
    """By folder, how the options of what is there differ from those wanted; only of folders that would be refused.

    Args:
        config: one experiment, or one fold.
        out: its folder.
    """
    found = _added_or_left_out(config, out)
    for stage in wanted_stages(config):
        record = provenance.read(out / stage.folder)
        if record is None:
            continue
        changed = provenance.changed_options(
            record, stage.options, may_change=stage.may_change, below=stage.key
        ) or _longer(stage, record, out)
        if changed:
            found.setdefault(stage.folder, []).extend(changed)
    return found


def refusal(found: Mapping[str, Sequence[str]], out: Path, whole: Path | None = None) -> str | None:
    """Why an experiment cannot be run in `out`, and what to do instead; None where it can.

    Args:
        found: see `changes`.
        out: the folder of one experiment, or of one fold.
        whole: the folder of all folds.
    """
    if not found:
        return None
    whole = whole or out
    reuse = "data" not in found and provenance.read(out / "study") is not None
    lines = [
        f"{out} was made with other options: {told([change for each in found.values() for change in each])}.",
        "Repeat the first run's options, or give another --out"
        + (f" and, for what stays the same, --reuse {whole}." if reuse else "."),
    ]
    if all(change.startswith(tuple(f"train.{limit} " for limit in _LIMITS)) for change in found.get("model", [""])):
        lines.append(f"To train its model on there instead of anew, copy {out / 'model'} to the same place first.")
    return "\n".join(lines)


def check_recorded(config: ExperimentConfig, out: Path, whole: Path | None = None) -> None:
    """Refuse a run in a folder of other options while everything in it is as it was; see `refusal`.

    Raises:
        OutputError: naming what was changed.
    """
    message = refusal(changes(config, out), out, whole)
    if message is not None:
        raise OutputError(message)


def _is_followed(out: Path, folder: str) -> bool:
    """Whether something is there that comes after a stage, and was made from its output."""
    after = _FOLDERS[_FOLDERS.index(folder) + 1 :]
    return any(provenance.read(out / name) is not None for name in after)


def _longer(stage: WantedStage, record: provenance.Provenance, out: Path) -> list[str]:
    """The limits of a training that would let it go on though others were made from where it stands."""
    from isdm.data.dataset import DATASET_FILE, SegmentationDataset
    from isdm.training.diffusion import would_go_on

    options = stage.options
    if not isinstance(options, TrainConfig) or not _is_followed(out, stage.folder):
        return []
    before, now = options.completed(record.config), options.plain()
    changed = differences({x: before.get(x) for x in _LIMITS}, {x: now[x] for x in _LIMITS}, below=stage.key)
    if not changed or not (out / "data" / DATASET_FILE).is_file():
        return []
    return changed if would_go_on(options, SegmentationDataset(out / "data"), out / stage.folder) else []


def _added_or_left_out(config: ExperimentConfig, out: Path) -> dict[str, list[str]]:
    """Stages that the run had not, or had, though what follows was made without, or with them."""
    file = out / "experiment.yaml"
    if not file.is_file():
        return {}
    before = read_yaml(file)
    found = {}
    for folder, key in _OPTIONAL.items():
        was, now = ("given" if given is not None else "left out" for given in (before.get(key), getattr(config, key)))
        if was != now and _is_followed(out, folder):
            found[folder] = [f"{key} was {was}, now {now}"]
    return found
