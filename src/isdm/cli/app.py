"""The application: its commands, and how a wrong command line is answered."""

import os
from typing import Annotated, Any

import typer

from isdm.cli import data, run, stages, studio, tune
from isdm.cli.help import INTRODUCTION, MAKE, DataFirst
from isdm.cli.outcome import complain
from isdm.progress import plain_console
from isdm.text import printable_lines
from isdm.version import __version__

app = typer.Typer(
    name="isdm",
    cls=DataFirst,
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


_ParserError: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's ClickException, which some versions of typer take from click and others hold themselves."""


def run_command() -> int:
    """Run the command that was typed; gives its exit code, 2 where the command line itself is wrong."""
    try:
        return int(app(standalone_mode=False) or 0)
    except _ParserError as error:
        _show_usage(error)
        return 2
    except typer.Abort:  # from a prompt
        return 130


def _show_usage(error: Any) -> None:
    """Say how the command is used and what is wrong; what was typed may come from a stranger's script."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # which the help says itself
        return
    if context is not None:
        console = plain_console(stderr=True)
        console.print(printable_lines(context.get_usage()))
        console.print(f"Try '{context.command_path} --help' for help.")
    complain(error.format_message())
