"""`isdm run` and `isdm demo`."""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isdm.cli.help import FURTHER, START
from isdm.cli.keys import CommandOfARun
from isdm.cli.options import options_of_a_file, wrong_usage
from isdm.cli.stages import GpuShare, Jobs, Ray, Settings
from isdm.config import parse_settings
from isdm.files import read_json, write_text
from isdm.progress import answer, format_seconds, say
from isdm.signals import nothing_to_keep

if TYPE_CHECKING:
    from isdm.config import ExperimentConfig
    from isdm.evaluation.executors import Execution

DEMO_SIZE_PX = 48
DEMO_NUM_FRUITS = 60
DEMO_NUM_VIEWS = 4


def register_start(app: typer.Typer) -> None:
    """Add what a newcomer runs first."""
    app.command(rich_help_panel=START)(demo)


def register_experiments(app: typer.Typer) -> None:
    """Add the command that runs all others."""
    app.command(rich_help_panel=FURTHER, cls=CommandOfARun)(run)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo makes.")] = Path(
        "isdm-demo"
    ),
) -> None:
    """Run the whole way on a small built-in dataset of fruit; ends with the result and the report's path."""
    from isdm.cli.experiment import read_experiment
    from isdm.data.builtin import write_fruit_source

    say(f"The demo paints {DEMO_NUM_FRUITS} fruits from {DEMO_NUM_VIEWS} sides, then runs all stages in {out}.")
    write_fruit_source(
        out / "source", num_fruits=DEMO_NUM_FRUITS, num_views=DEMO_NUM_VIEWS, size_px=DEMO_SIZE_PX, seed=0
    )
    experiment = out / "demo.yaml"
    write_text(experiment, resources.files("isdm.cli").joinpath("demo.yaml").read_text("utf-8"))
    _run(read_experiment(experiment), out / "run")


def run(
    experiment: Annotated[Path, typer.Argument(metavar="experiment.yaml", help="File with all stages' options.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for all stages' outputs.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List stages, cells and estimated cost; write nothing.")
    ] = False,
    fold: Annotated[
        int | None,
        typer.Option("--fold", help="Only this fold of a cross-validation, from 0; without it all, then pooled."),
    ] = None,
    reuse: Annotated[
        Path | None,
        typer.Option(help="Another run's folder; what would come out the same is taken from it."),
    ] = None,
    jobs: Jobs = 1,
    ray: Ray = None,
    gpu_share: GpuShare = 1.0,
    settings: Settings = None,
) -> None:
    """Run all stages of an experiment file; started again, it skips what is done."""
    from isdm.cli.experiment import read_experiment
    from isdm.cli.folds import finished_folds, fold_of

    changes = parse_settings(settings or ())
    with wrong_usage(changes, from_file=True), options_of_a_file():
        config = read_experiment(experiment, changes)
    if fold is not None:
        fold_of(config, fold)
    if dry_run:
        with options_of_a_file(), nothing_to_keep():
            from isdm.cli.cost import print_plan

            print_plan(config, out, fold)
        return
    from isdm.evaluation.executors import Execution

    execution = Execution(jobs, ray, gpu_share)
    if fold is None:
        _run(config, out, execution, reuse)
        return
    _run_fold(config, fold, out, execution, reuse)
    if finished_folds(config, out) == list(range(config.folds or 0)):
        answer(f"Now isdm run {experiment} --out {out} pools them.")


def _run_fold(config: "ExperimentConfig", fold: int, out: Path, execution: "Execution", reuse: Path | None) -> None:
    from isdm.cli.folds import finished_folds, run_fold

    execution.check()
    with options_of_a_file():
        run_fold(config, fold, out, execution, reuse)
    answer(f"Fold {fold} is finished, {len(finished_folds(config, out))} of {config.folds} in {out}.")


def _run(
    config: "ExperimentConfig", out: Path, execution: "Execution | None" = None, reuse: Path | None = None
) -> None:
    from isdm.cli.experiment import run_experiment
    from isdm.cli.results import print_audit, print_results
    from isdm.provenance import Stopwatch

    watch = Stopwatch()
    if execution is not None:
        execution.check()
    with options_of_a_file():
        page = run_experiment(config, out, execution, reuse)
    if config.audit is not None and config.folds is None:
        print_audit(read_json(out / "audit" / "audit.json"))
    print_results(out / "study")
    answer(f"Done in {format_seconds(watch.seconds)}. Report: {page}")
