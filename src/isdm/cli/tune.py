"""`isdm tune`: search for the best mix of real and synthetic images."""

from pathlib import Path
from typing import Annotated

import typer

from isdm.cli import folders, options
from isdm.cli.help import MEASURE
from isdm.cli.keys import with_keys
from isdm.cli.stages import ConfigFile, Dataset, Encoder, EncoderWeights, Out, Seed, Settings, named_sets
from isdm.config import SampleConfig, TuneConfig
from isdm.progress import answer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel=MEASURE, cls=with_keys(TuneConfig))(tune)


def tune(
    dataset: Dataset,
    out: Out,
    synthetic: Annotated[
        list[str] | None, typer.Option(help="[NAME=]SYNTH, a synthetic dataset; repeatable.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder that paints a set for each guidance.")] = None,
    guidance: Annotated[str | None, typer.Option(help="1,1.5,2: guidance scales to choose from.")] = None,
    num_samples: Annotated[int | None, typer.Option("-n", help="Pairs of each painted set (1000).")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler of the painted sets (ddpm).")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps of the painted sets (300).")] = None,
    trials: Annotated[int | None, typer.Option(help="Mixes to try in all (20).")] = None,
    architectures: Annotated[str | None, typer.Option(help="Networks to maximise for (fpn).")] = None,
    synthetic_counts: Annotated[str | None, typer.Option(help="0,100,400,equal,all")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the largest mix (50).")] = None,
    encoder: Encoder = None,
    encoder_weights: EncoderWeights = None,
    storage: Annotated[str | None, typer.Option(help="Database address of Optuna, for a team.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    seed: Seed = None,
) -> None:
    """Search for the best mix on the validation images, then test it once against real images alone."""
    named = options.given(
        trials=trials,
        architectures=options.comma_list(architectures),
        synthetic_counts=options.counts(synthetic_counts),
        epochs=epochs,
        encoder=encoder,
        encoder_weights=encoder_weights,
        storage=storage,
        seed=seed,
    )
    resolved = options.config(TuneConfig, "tune", named, config, settings)
    real, sets = folders.dataset_at(dataset), named_sets(synthetic or ())
    if model is not None:
        folders.check_model(model)
    from isdm.cli.results import print_results
    from isdm.evaluation import tuning
    from isdm.report import report
    from isdm.synthesis import generate

    if model is not None:
        for scale in options.comma_list(guidance) or ["1.5"]:
            wanted = options.given(guidance=scale, num_samples=num_samples, sampler=sampler, steps=steps)
            folder = out.with_name(out.name + "-sets") / f"guidance-{scale}"
            sampling = options.config(SampleConfig, "tune", wanted)
            sets[f"guidance-{scale}"] = generate.sample(sampling, model, real, folder)
    study = tuning.tune(resolved, real, sets, out).parent
    print_results(study)
    answer(f"Report: {report(study)}")
