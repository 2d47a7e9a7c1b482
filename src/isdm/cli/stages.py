"""The stages as commands: train, finetune, sample, select, audit, evaluate, report, convert, doctor."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.table import Table

from isdm.cli import folders, options
from isdm.cli.completion import datasets, models, one_of
from isdm.cli.help import FURTHER, MAKE, MEASURE, PAINT, START
from isdm.cli.keys import with_keys
from isdm.config import (
    AuditConfig,
    EvaluateConfig,
    FinetuneConfig,
    SampleConfig,
    Sampler,
    SelectConfig,
    StageConfig,
    TrainConfig,
    with_preset,
)
from isdm.errors import ConfigError, UsageError
from isdm.progress import answer, plain_console
from isdm.text import printable

if TYPE_CHECKING:
    from isdm.data.dataset import SegmentationDataset

Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="Dataset folder.", autocompletion=datasets)]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder.", autocompletion=models)]
Synthetic = Annotated[Path, typer.Argument(metavar="SYNTH", help="Synthetic dataset.", autocompletion=datasets)]
Real = Annotated[
    Path, typer.Option("--real", help="The real dataset that it was made from.", autocompletion=datasets)
]
Preset = Annotated[
    str | None,
    typer.Option(help="tiny, small, base or paper (small).", autocompletion=one_of("tiny", "small", "base", "paper")),
]
SamplerName = Annotated[
    str | None,
    typer.Option(help="ddpm, ddim, dpmsolver++, dpmsolver++-sde or unipc.", autocompletion=one_of(*SAMPLERS)),
]
Out = Annotated[Path, typer.Option("--out", help="Folder to make, or to go on in.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any option as key=value; --help ends with all keys.")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file with options.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random (0).")]
Steps = Annotated[int | None, typer.Option(help="Stop after this many optimiser steps.")]
Epochs = Annotated[int | None, typer.Option(help="Stop after this many passes over the training images.")]
MaxTime = Annotated[str | None, typer.Option(help="Stop after this time: 90s, 45m, 2h.")]
DropRate = Annotated[float | None, typer.Option(help="Probability that a sample's whole mask is dropped.")]
Encoder = Annotated[
    str | None, typer.Option(help="Any encoder of smp (segmentation models for PyTorch), such as resnet34.")
]
EncoderWeights = Annotated[str | None, typer.Option(help="imagenet, none, or a file of weights.")]
Extractor = Annotated[str | None, typer.Option(help="auto, efficientnet-lite0, inception, timm:NAME or segmenter.")]
Jobs = Annotated[int, typer.Option(help="Cells trained at the same time on this machine.")]
GpuShare = Annotated[float, typer.Option(help="Share of a GPU that a worker of a cluster takes.")]
Ray = Annotated[str | None, typer.Option(help="Share the work: auto (all cores here) or a cluster's address.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=START)(doctor)
    of_stages: tuple[tuple[str, Callable[..., None], type[StageConfig]], ...] = (
        (MAKE, train, TrainConfig),
        (MAKE, finetune, FinetuneConfig),
        (PAINT, sample, SampleConfig),
        (PAINT, select, SelectConfig),
        (PAINT, audit, AuditConfig),
        (MEASURE, evaluate, EvaluateConfig),
    )
    for panel, command, kind in of_stages:
        app.command(rich_help_panel=panel, cls=with_keys(kind))(command)
    app.command(rich_help_panel=MEASURE)(report)


def register_further(app: typer.Typer) -> None:
    """Add what few need."""
    app.command(rich_help_panel=FURTHER)(convert)


def train(
    dataset: Dataset,
    out: Out,
    preset: Annotated[
        str | None,
        typer.Option(
            help="tiny, small, base or paper (small).", autocompletion=one_of("tiny", "small", "base", "paper")
        ),
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    init: Annotated[Path | None, typer.Option(help="Model folder to take the first weights from.")] = None,
    steps: Steps = None,
    epochs: Epochs = None,
    max_time: MaxTime = None,
    drop_rate: DropRate = None,
    seed: Seed = None,
) -> None:
    """Train a diffusion model on a dataset's training split; the same command again goes on."""
    named = options.given(
        preset=preset, steps=steps, epochs=epochs, max_time=max_time, drop_rate=drop_rate, seed=seed
    )
    resolved = options.config(TrainConfig, "train", named, config, settings, complete=with_preset)
    real = folders.dataset_at(dataset)
    if init is not None:
        folders.check_model(init)
    from isdm.training import diffusion

    diffusion.train(resolved, real, out, init)
    answer(f"Model: {out}")


def finetune(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Model folder to go on from.", autocompletion=models)
    ],
    data: Annotated[Path, typer.Option("--data", help="Dataset folder.", autocompletion=datasets)],
    out: Out,
    config: ConfigFile = None,
    settings: Settings = None,
    steps: Steps = None,
    epochs: Epochs = None,
    max_time: MaxTime = None,
    drop_rate: DropRate = None,
    seed: Seed = None,
) -> None:
    """Go on from a model's raw weights, dropping whole masks so that guidance works."""
    named = options.given(steps=steps, epochs=epochs, max_time=max_time, drop_rate=drop_rate, seed=seed)
    typed, values = options.layered(config, named, settings)
    folders.check_model(model)
    real = folders.dataset_at(data)
    from isdm.training import diffusion

    with options.wrong_usage(typed, from_file=True):  # the model's own config.yaml
        resolved = diffusion.finetune_config(model, values)
    diffusion.finetune(resolved, model, real, out)
    answer(f"Model: {out}")


def sample(
    model: Model,
    data: Annotated[Path, typer.Option("--data", help="Dataset that gives the masks.", autocompletion=datasets)],
    out: Out,
    num_samples: Annotated[int | None, typer.Option("-n", "--num-samples", help="Pairs to make (1000).")] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="ddpm, ddim, dpmsolver++, dpmsolver++-sde or unipc.", autocompletion=one_of(*SAMPLERS)),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps (300).")] = None,
    timesteps: Annotated[str | None, typer.Option(help="respaced, or rescaled as the paper did.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale (1.5); 1 is off.")] = None,
    masks: Annotated[str | None, typer.Option(help="real, augmented or generated.")] = None,
    background: Annotated[str | None, typer.Option(help="generated, or real: paint only the defect.")] = None,
    photographs: Annotated[
        Path | None, typer.Option(help="Defect-free pictures to paint into, at their size.")
    ] = None,
    balance: Annotated[str | None, typer.Option(help="none, or even classes by pixels or objects.")] = None,
    variants: Annotated[int | None, typer.Option(help="Pictures for each mask (1).")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images at a time (16).")] = None,
    ray: Ray = None,
    config: ConfigFile = None,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Paint a synthetic dataset for the masks of a dataset's training split."""
    named = options.given(
        num_samples=num_samples,
        sampler=sampler,
        steps=steps,
        timesteps=timesteps,
        guidance=guidance,
        masks=masks,
        background=background,
        photographs=photographs,
        balance=balance,
        variants=variants,
        batch_size=batch_size,
        seed=seed,
    )
    resolved = options.config(SampleConfig, "sample", named, config, settings)
    folders.check_model(model)
    real = folders.dataset_at(data)
    from isdm.synthesis import generate

    generate.sample(resolved, model, real, out, ray)
    answer(f"Synthetic dataset: {out}")


def select(
    synthetic: Synthetic,
    real: Annotated[
        Path, typer.Option("--real", help="The real dataset that it was made from.", autocompletion=datasets)
    ],
    out: Out,
    best_of: Annotated[int | None, typer.Option(help="Keep the best of so many pictures of each mask (1).")] = None,
    keep: Annotated[int | None, typer.Option(help="Keep at most so many pairs, the best.")] = None,
    repair: Annotated[bool | None, typer.Option(help="Relabel pairs that show something else clearly.")] = None,
    doubt: Annotated[
        float | None, typer.Option(help="Ignore pixels whose label the judges doubt, such as 1.25 (none).")
    ] = None,
    encoder: Encoder = None,
    encoder_weights: EncoderWeights = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the judging segmenters (8).")] = None,
    extractor: Extractor = None,
    config: ConfigFile = None,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Keep the synthetic pairs that pass for real ones; say of each why it was dropped."""
    named = options.given(
        best_of=best_of,
        keep=keep,
        repair=repair,
        doubt=doubt,
        encoder=encoder,
        encoder_weights=encoder_weights,
        epochs=epochs,
        extractor=extractor,
        seed=seed,
    )
    resolved = options.config(SelectConfig, "select", named, config, settings)
    painted, dataset = folders.synthetic_at(synthetic), folders.dataset_at(real)
    from isdm.synthesis import select as selecting

    selecting.select(resolved, painted, dataset, out)
    answer(f"Selected dataset: {out}")


def audit(
    synthetic: Synthetic,
    real: Annotated[
        Path, typer.Option("--real", help="The real dataset that it was made from.", autocompletion=datasets)
    ],
    out: Out,
    encoder: Encoder = None,
    encoder_weights: EncoderWeights = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the judging segmenter (50).")] = None,
    extractor: Extractor = None,
    config: ConfigFile = None,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Measure whether synthetic images follow their masks, look real, and are copies."""
    named = options.given(
        encoder=encoder, encoder_weights=encoder_weights, epochs=epochs, extractor=extractor, seed=seed
    )
    resolved = options.config(AuditConfig, "audit", named, config, settings)
    painted, dataset = folders.synthetic_at(synthetic), folders.dataset_at(real)
    from isdm.cli.results import print_audit
    from isdm.report.audit_page import write_audit_page
    from isdm.synthesis.audit import audit as run_audit

    print_audit(run_audit(resolved, painted, dataset, out))
    answer(f"Audit: {write_audit_page(out, painted, dataset)}")


def evaluate(
    dataset: Dataset,
    out: Out,
    synthetic: Annotated[
        list[str] | None, typer.Option(help="[NAME=]SYNTH, a synthetic dataset; repeatable.")
    ] = None,
    architectures: Annotated[
        str | None, typer.Option(help="unetplusplus,fpn (with deeplabv3plus unless given).")
    ] = None,
    real_counts: Annotated[str | None, typer.Option(help="0,all")] = None,
    learning_curve: Annotated[str | None, typer.Option(help="50,100: fewer real images, alone.")] = None,
    synthetic_counts: Annotated[str | None, typer.Option(help="0,100,400,equal (and 700,1000 unless given).")] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            help="plain,augmented; also synthetic-first, duplicated and pasted, these three with +augmented or not."
        ),
    ] = None,
    repeats: Annotated[int | None, typer.Option(help="Trainings of each cell (3).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images (50).")] = None,
    encoder: Encoder = None,
    encoder_weights: EncoderWeights = None,
    protocol: Annotated[str | None, typer.Option(help="paper or equal-steps.")] = None,
    allow_leaks: Annotated[bool | None, typer.Option(help="Warn on every page instead of refusing.")] = None,
    reuse: Annotated[
        Path | None, typer.Option(help="Another study; cells that would come out the same are taken from it.")
    ] = None,
    jobs: Jobs = 1,
    ray: Ray = None,
    gpu_share: GpuShare = 1.0,
    config: ConfigFile = None,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Train segmenters on real and synthetic images and read the real test images once.

    Name the comparison that counts beforehand: --set primary.synthetic=equal (see docs/study.md).
    """
    named = options.given(
        architectures=options.comma_list(architectures),
        real_counts=options.counts(real_counts),
        learning_curve=options.counts(learning_curve),
        synthetic_counts=options.counts(synthetic_counts),
        arms=options.comma_list(arms),
        repeats=repeats,
        epochs=epochs,
        encoder=encoder,
        encoder_weights=encoder_weights,
        protocol=protocol,
        allow_leaks=allow_leaks,
        seed=seed,
    )
    resolved = options.config(EvaluateConfig, "evaluate", named, config, settings)
    real, sets = folders.dataset_at(dataset), named_sets(synthetic or ())
    from isdm.cli.results import print_results
    from isdm.evaluation import study
    from isdm.evaluation.executors import Execution

    execution = Execution(jobs, ray, gpu_share)
    study.evaluate(resolved, real, sets, out, execution=execution, reuse=reuse)
    print_results(out)
    answer(f"Study: {out}; write its report with: isdm report {out}")


def named_sets(entries: Sequence[str]) -> "dict[str, SegmentationDataset]":
    """Open the synthetic sets of `[NAME=]SYNTH` options.

    Raises:
        UsageError: a name is taken or holds other characters than letters, digits, - and _.
    """
    sets: dict[str, SegmentationDataset] = {}
    for entry in entries:
        name, equals, folder = entry.rpartition("=")
        path = Path(folder)
        name = name if equals else path.resolve().name
        if name in sets or not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"--synthetic {entry!r}: give each set its own NAME= of letters, digits, - and _.")
        sets[name] = folders.synthetic_at(path)
    return sets


def report(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study folder.")],
    audit: Annotated[
        list[str] | None, typer.Option(help="[NAME=]AUDIT, a folder that `isdm audit` wrote; repeatable.")
    ] = None,
) -> None:
    """Write a study's report, one page that works offline."""
    from isdm.report import report as write_report

    audits = {}
    for entry in audit or ():
        name, equals, folder = entry.rpartition("=")
        file = Path(folder) / "audit.json"
        if not file.is_file():
            raise ConfigError(f"--audit {entry!r}: {file} does not exist; give the folder that `isdm audit` wrote.")
        audits[name if equals else Path(folder).resolve().name] = file
    page = write_report(study, audits=audits)
    answer(f"Report: {page}")


def convert(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT.pt", help="Model or EMA file.")],
    out: Out,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The published options (JSON or YAML): head width, image size."),
    ] = None,
) -> None:
    """Turn a published SDM or ISDM checkpoint into a model folder; no code in it is run."""
    from isdm.training.conversion import convert_checkpoint

    for line in convert_checkpoint(checkpoint, out, config):
        answer(line)


def doctor() -> None:
    """Say what this machine has and what isdm will use."""
    from isdm.hardware import describe

    table = Table(show_header=False)
    for name, value in describe():
        table.add_row(name, printable(value))
    plain_console(wraps=True).print(table)
