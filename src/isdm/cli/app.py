"""The application: its commands."""

import os
from typing import Annotated

import typer

from isdm.cli import data, run, stages, tune
from isdm.version import __version__

app = typer.Typer(
    name="isdm",
    help="Paint new images for given masks, make a synthetic segmentation dataset of them, and measure "
    "honestly what it brings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
run.register(app)
stages.register(app)
tune.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"isdm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # what cannot be fetched, isdm says itself, once
