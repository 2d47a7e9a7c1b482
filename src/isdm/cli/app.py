"""The application: its commands, and how errors reach the user."""

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from isdm.cli import data, run, stages, studio, tune
from isdm.cli.help import INTRODUCTION, MAKE
from isdm.errors import IsdmError, UsageError
from isdm.version import __version__

app = typer.Typer(
    name="isdm",
    help=INTRODUCTION,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
run.register_start(app)
app.add_typer(data.app, name="data", rich_help_panel=MAKE)
stages.register(app)
tune.register(app)
studio.register(app)
run.register_experiments(app)
stages.register_further(app)


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


def main() -> None:
    """Run the command line; exit codes are 0 done, 1 a problem to mend, 2 wrong usage, 130 interrupted."""
    try:
        app()
    except UsageError as error:
        _complain(str(error))
        sys.exit(2)
    except IsdmError as error:
        _complain(str(error))
        sys.exit(1)
    except OSError as error:  # disk full, no permission, a file that vanished: the system's words name the file
        _complain(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
        sys.exit(1)
    except KeyboardInterrupt:
        _complain("Interrupted. The same command goes on from what is saved.")
        sys.exit(130)


def _complain(message: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("Error: ", style="bold red", end="")
    console.print(message, markup=False)
