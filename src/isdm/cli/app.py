"""The application: its commands, and how errors reach the user."""

import os
import sys
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from isdm.cli import data, run, stages, studio, tune
from isdm.cli.help import INTRODUCTION, MAKE
from isdm.errors import IsdmError, UsageError
from isdm.progress import plain_console
from isdm.signals import StopRequestedError, stop_on_signals
from isdm.text import printable_lines
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


_ParserError: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's ClickException, which some versions of typer take from click and others hold themselves."""


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 a problem to mend, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."""
    stop_on_signals()
    _write_whatever_the_encoding()
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except _ParserError as error:  # the command line itself is wrong
        _show_usage(error)
        sys.exit(2)
    except UsageError as error:
        _complain(str(error))
        sys.exit(2)
    except IsdmError as error:
        _complain(str(error))
        sys.exit(1)
    except OSError as error:  # disk full, no permission, a file that vanished: the system's words name the file
        _complain(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
        sys.exit(1)
    except (MemoryError, RecursionError) as error:
        _complain(
            f"This input needs more memory than there is ({type(error).__name__}); give smaller or fewer files."
        )
        sys.exit(1)
    except StopRequestedError as stop:
        _complain("What is finished is saved; the same command goes on from there.", "Interrupted: ")
        sys.exit(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):  # from a prompt, or before signals were ours
        sys.exit(130)


def _write_whatever_the_encoding() -> None:
    """A character that the terminal's encoding lacks is written as an escape instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show_usage(error: Any) -> None:
    """Say how the command is used and what is wrong; what was typed may come from a stranger's script."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # which the help says itself
        return
    if context is not None:
        console = plain_console(stderr=True)
        console.print(printable_lines(context.get_usage()))
        console.print(f"Try '{context.command_path} --help' for help.")
    _complain(error.format_message())


def _complain(message: str, title: str = "Error: ") -> None:
    console = plain_console(stderr=True)
    console.print(title, style="bold red", end="")
    console.print(printable_lines(message))
