"""Cross-validation in `isdm run`: every fold is an experiment of its own, on this machine or on another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isdm import provenance
from isdm.cli.recorded import check_recorded
from isdm.config import ExperimentConfig, read_yaml
from isdm.data.dataset import DATASET_FILE
from isdm.errors import DataError, OutputError, UsageError
from isdm.progress import say

if TYPE_CHECKING:
    from isdm.evaluation.executors import Execution

_OWN_TO_A_MACHINE = {"source", "defect_free", "photographs", "device", "precision"}
"""Options of stages that may differ where a fold ran elsewhere."""


def fold_of(config: ExperimentConfig, fold: int) -> ExperimentConfig:
    """The experiment of one fold of a cross-validation.

    Raises:
        UsageError: the experiment has no folds, or not so many.
    """
    if config.folds is None:
        raise UsageError(f"--fold {fold} needs folds in the experiment file, such as folds: 5.")
    if not 0 <= fold < config.folds:
        raise UsageError(f"--fold {fold} must be from 0 to {config.folds - 1}: the file has folds: {config.folds}.")
    data = config.data.model_copy(update={"folds": config.folds, "fold": fold})
    return config.model_copy(update={"folds": None, "data": data})


def folder_of(out: Path, fold: int) -> Path:
    """Where a fold of a cross-validation lies."""
    return out / f"fold-{fold}"


def finished_folds(config: ExperimentConfig, out: Path) -> list[int]:
    """Which folds have a finished study."""
    studies = {fold: provenance.read(folder_of(out, fold) / "study") for fold in range(config.folds or 0)}
    return [fold for fold, record in studies.items() if record is not None and record.finished]


def came_from_elsewhere(config: ExperimentConfig, folder: Path) -> bool:
    """Whether `folder` holds the finished study of this fold and not the data it was made of: another machine's.

    Raises:
        OutputError: it is the study of another experiment.
    """
    record = provenance.read(folder / "study")
    if record is None or not record.finished or (folder / "data" / DATASET_FILE).exists():
        return False
    if not (folder / "experiment.yaml").is_file():
        raise OutputError(f"{folder} has a finished study but no experiment.yaml; bring that home too.")
    if _comparable(ExperimentConfig.completed(read_yaml(folder / "experiment.yaml"))) != _comparable(config.plain()):
        raise OutputError(
            f"{folder} comes from another experiment (see its experiment.yaml); remove it to make this fold here."
        )
    return True


def _comparable(values: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's options without what may differ between machines."""
    return {
        name: {key: option for key, option in value.items() if key not in _OWN_TO_A_MACHINE}
        if isinstance(value, Mapping)
        else value
        for name, value in values.items()
    }


def run_fold(
    config: ExperimentConfig,
    fold: int,
    out: Path,
    execution: "Execution | None" = None,
    reuse: Path | None = None,
) -> Path:
    """Run what is not finished of fold number `fold`; returns the path of its study.

    `reuse` is another run's folder, with the same folds or some of them.

    Raises:
        UsageError: see `fold_of`.
        OutputError: see `came_from_elsewhere` and `check_recorded`.
        DataError: `reuse` has no fold with a study.
    """
    from isdm.cli.experiment import run_stages

    one, folder = fold_of(config, fold), folder_of(out, fold)
    say(f"Fold {fold}, of 0 to {(config.folds or 1) - 1}.")
    if came_from_elsewhere(one, folder):
        say(f"{folder} is finished; its other stages were run elsewhere.")
    else:
        check_recorded(one, folder, out)
        run_stages(one, folder, execution, None if reuse is None else _same_fold(reuse, fold))
    return folder / "study"


def check_folds(config: ExperimentConfig, out: Path) -> None:
    """Refuse a cross-validation of which any fold was made with other options, before the first is touched.

    Raises:
        OutputError: see `came_from_elsewhere` and `check_recorded`.
    """
    for fold in range(config.folds or 0):
        one, folder = fold_of(config, fold), folder_of(out, fold)
        if not came_from_elsewhere(one, folder):
            check_recorded(one, folder, out)


def _same_fold(reuse: Path, fold: int) -> Path | None:
    """Where another run has this fold with a study; None, which is said, where it has only others so far."""
    folder = folder_of(reuse, fold)
    if (folder / "study").is_dir():
        return folder
    if not any(reuse.glob("fold-*/study")):
        raise DataError(f"--reuse {reuse} has no fold with a study; give the folder of an isdm run with folds.")
    say(f"{reuse} has no study of fold {fold}; all of its cells are trained.")
    return None


def summed_costs(costs: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Seconds of each stage over the folds that ran it here."""
    lines = [line for of_fold in costs for line in of_fold]
    stages = list(dict.fromkeys(line["stage"] for line in lines))
    seconds = {stage: [line["seconds"] for line in lines if line["stage"] == stage] for stage in stages}
    return [
        {"stage": stage, "seconds": sum(each), "note": f"{len(each)} fold{'s' if len(each) > 1 else ''}"}
        for stage, each in seconds.items()
    ]
