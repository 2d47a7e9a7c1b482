"""Stages of another run that would come out the same: their folders are taken over instead of made again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from isdm import provenance
from isdm.config import ExperimentConfig, limited
from isdm.files import ASIDE_MARK, LOCK_NAME, copy_file, flush_system, written_aside
from isdm.progress import say
from isdm.training.checkpoint import steps_made

_ONLY_REPLACED = {".png", ".safetensors"}
"""Files that a stage may replace and never changes in place: a link to them is as good as a copy."""
_OWN_TO_A_MACHINE = {"device"}


def take_over_stages(other: Path, config: ExperimentConfig, out: Path) -> None:
    """Copy from another run the generator, its pictures and what was made of them, as far as they are the same.

    A stage is taken if it is finished there with the same options, and if the one before it was taken too. That both
    runs have the same real images must be known before.

    Args:
        other: the other run's folder.
        config: this run's experiment.
        out: this run's folder; what it has stays as it is.
    """
    taken = []
    for name, options in _stages(config, out):
        theirs, ours = provenance.read(other / name), provenance.read(out / name)
        if theirs is None or not theirs.finished or not _is_same(options, theirs):
            break
        if ours is None and not (out / name).exists():
            _copy_folder(other / name, out / name)
            taken.append(name)
        elif ours != theirs:  # made here: what follows would not fit it
            break
    if taken:
        flush_system()
        say(f"{', '.join(taken)}: finished in {other} with the same options, and taken from there.")


def _stages(config: ExperimentConfig, out: Path) -> Iterator[tuple[str, provenance.Options]]:
    """Folder and options of each stage between the data and the study, each asked for when those before are there."""
    yield "model", config.train
    if config.finetune is not None:
        yield "finetuned", limited(config.finetune, steps_made(out / "model"))
    yield "synthetic", config.candidates()
    if config.select is not None:
        yield "selected", config.select
    if config.audit is not None:
        yield "audit", config.audit


def _is_same(options: provenance.Options, theirs: provenance.Provenance) -> bool:
    before, now = options.completed(theirs.config), options.plain()
    return all(before.get(key) == now.get(key) for key in {*before, *now} - _OWN_TO_A_MACHINE)


def _copy_folder(source: Path, path: Path) -> None:
    """Give a stage's folder a second place, whole or not at all."""
    with written_aside(path) as aside:
        shutil.copytree(
            source,
            aside,
            ignore=shutil.ignore_patterns(f"{ASIDE_MARK}*", f"{LOCK_NAME}*"),
            copy_function=_copied,
        )


def _copied(source: str, path: str) -> None:
    if Path(source).suffix in _ONLY_REPLACED:
        copy_file(Path(source), Path(path))
    else:
        shutil.copyfile(source, path)
