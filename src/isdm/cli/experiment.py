"""`isdm run`: all stages from one validated file, each skipped when it is done."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isdm.cli.folds import check_folds, run_fold, summed_costs
from isdm.cli.recorded import check_recorded
from isdm.cli.reused_stages import take_over_stages
from isdm.config import MOST_SEED, ExperimentConfig, build, inherited_by_finetuning, merged, read_yaml, with_preset
from isdm.files import remove_abandoned, write_yaml
from isdm.locking import one_at_a_time
from isdm.progress import say

if TYPE_CHECKING:
    from isdm.evaluation.executors import Execution

_SEEDED = ("data", "train", "finetune", "sample", "select", "audit", "evaluate")


def read_experiment(path: Path, changes: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """Read and validate an experiment file; folders in it (source, defect_free, photographs) are relative to it.

    Args:
        path: the file.
        changes: values, nested as in the file, that win over it.

    Raises:
        ConfigError: naming each unknown key, with the nearest known one, and each value out of range.
    """
    values = merged(read_yaml(path), changes or {})
    seed = values.get("seed", 0)
    seed = (
        seed if isinstance(seed, int) and 0 <= seed <= MOST_SEED else 0
    )  # a wrong one is told once, not for every stage
    for stage in _SEEDED:
        if isinstance(values.get(stage), Mapping):
            values[stage] = merged({"seed": seed}, values[stage])
    values["train"] = _filled_in(values.get("train") or {"seed": seed})
    if isinstance(values.get("finetune"), Mapping) and isinstance(values["train"], Mapping):
        values["finetune"] = merged(inherited_by_finetuning(values["train"], values["finetune"]), values["finetune"])
    config = build(ExperimentConfig, values, where=f"{path} with --set" if changes else str(path))
    folders = {"source": config.data.source, "defect_free": config.data.defect_free}
    folders = {name: (path.parent / folder).resolve() for name, folder in folders.items() if folder is not None}
    config = config.model_copy(update={"data": config.data.model_copy(update=folders)})
    if config.sample.photographs is not None:
        photographs = (path.parent / config.sample.photographs).resolve()
        config = config.model_copy(update={"sample": config.sample.model_copy(update={"photographs": photographs})})
    return config


def _filled_in(train: Any) -> Any:
    return with_preset(train) if isinstance(train, Mapping) else train


@one_at_a_time
def run_experiment(
    config: ExperimentConfig, out: Path, execution: "Execution | None" = None, reuse: Path | None = None
) -> Path:
    """Run every stage that is not finished; returns the path of the report.

    `execution` says who trains the cells of the study; with Ray its workers paint the samples too. From `reuse`,
    another run's folder, stages and cells of the study are taken that would come out the same.

    Folders below `out`: data, model, finetuned, synthetic, selected, audit, study; with `folds` these lie in
    fold-0, fold-1, … and the pooled study in study.

    Raises:
        OutputError: a stage is there that was made with other options; nothing is changed.
    """
    from isdm.report import report

    remove_abandoned(out)
    if config.folds is None:
        check_recorded(config, out)
        run_stages(config, out, execution, reuse)
        say("Writing the report.")
        audited = out / "audit" / "audit.json" if config.audit is not None else None
        return report(out / "study", audit=audited, costs=stage_costs(out))
    from isdm.evaluation.pooling import pool_studies

    check_folds(config, out)
    studies = [run_fold(config, fold, out, execution, reuse) for fold in range(config.folds)]
    write_yaml(out / "experiment.yaml", config.plain())
    pool_studies(studies, out / "study", config.name)
    say("Writing the report.")
    return report(out / "study", costs=summed_costs([stage_costs(study.parent) for study in studies]))


@one_at_a_time
def run_stages(
    config: ExperimentConfig, out: Path, execution: "Execution | None" = None, reuse: Path | None = None
) -> None:
    """Run every stage of one experiment, or of one fold, that is not finished; see `run_experiment`."""
    from isdm.data.importing import import_dataset
    from isdm.evaluation.reuse import check_reusable, fingerprints
    from isdm.evaluation.study import evaluate
    from isdm.report.audit_page import write_audit_page
    from isdm.synthesis.audit import audit
    from isdm.synthesis.generate import sample
    from isdm.synthesis.select import select
    from isdm.training.diffusion import finetune, train

    remove_abandoned(out)
    dataset = import_dataset(config.data, out / "data")
    check_grid(config, len(dataset.require("train")))
    check_encoders(config)
    other = None if reuse is None else reuse / "study"
    if other is not None:
        check_reusable(other, config.evaluate, fingerprints(dataset))
    write_yaml(out / "experiment.yaml", config.plain())
    if reuse is not None:
        take_over_stages(reuse, config, out)
    train(config.train, dataset, out / "model")
    model = out / "model"
    if config.finetune is not None:
        finetune(config.finetune, model, dataset, out / "finetuned")
        model = out / "finetuned"
    ray = None if execution is None else execution.ray
    synthetic = sample(config.candidates(), model, dataset, out / "synthetic", ray)
    if config.select is not None:
        synthetic = select(config.select, synthetic, dataset, out / "selected")
    if config.audit is not None:
        audit(config.audit, synthetic, dataset, out / "audit")
        write_audit_page(out / "audit", synthetic, dataset)
    evaluate(config.evaluate, dataset, {"synthetic": synthetic}, out / "study", config.name, execution, other)


def check_encoders(config: ExperimentConfig) -> None:
    """Find out before hours of training whether the segmenters' names and weights are to be had."""
    from isdm.models.segmenters import build_segmenter

    evaluate, audit, select = config.evaluate, config.audit, config.select
    for architecture in evaluate.architectures:
        build_segmenter(architecture, evaluate.encoder, evaluate.encoder_weights, num_classes=2)
    if audit is not None:
        build_segmenter(audit.architecture, audit.encoder, audit.encoder_weights, num_classes=2)
    if select is not None:
        for architecture in select.architectures:
            build_segmenter(architecture, select.encoder, select.encoder_weights, num_classes=2)


def check_grid(config: ExperimentConfig, num_real: int) -> None:
    """Find out before hours of training whether the study's counts can be met."""
    from isdm.evaluation.rows import make_rows, primary_row

    rows = make_rows(config.evaluate, num_real, {"synthetic": config.sample.num_samples})
    primary_row(config.evaluate, rows, num_real)


def stage_costs(out: Path) -> list[dict[str, Any]]:
    """Seconds that each finished stage took, by its own record; the study adds its own line."""
    from isdm import provenance

    folders = {
        "data": "import",
        "model": "diffusion training",
        "finetuned": "fine-tuning",
        "synthetic": "sampling",
        "selected": "selection",
        "audit": "audit",
    }
    costs = []
    for folder, stage in folders.items():
        record = provenance.read(out / folder)
        if record is not None:
            costs.append(
                {"stage": stage, "seconds": record.seconds, "note": _cost_note(out / folder, record.seconds)}
            )
    return costs


def _cost_note(folder: Path, seconds: float) -> str:
    """Disk space of a stage's folder and, of pictures, how many a second."""
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    note = f"{size / 1e6:.0f} MB on disk"
    num_images = sum(1 for _ in folder.glob("*/images/**/*.*"))
    return f"{num_images:,} images, {num_images / seconds:.2g} a second, {note}" if num_images and seconds else note
