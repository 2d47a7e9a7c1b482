"""`isdm studio`: the page to paint and judge on."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from isdm.cli import folders
from isdm.cli.completion import datasets, models
from isdm.cli.help import USE
from isdm.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel=USE)(studio)


def studio(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder.", autocompletion=models)],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The real dataset, for its photographs and defects.", autocompletion=datasets),
    ] = None,
    synthetic: Annotated[
        Path | None,
        typer.Option("--synthetic", help="Synthetic dataset whose pairs are to be judged.", autocompletion=datasets),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Synthetic dataset for what is painted.")] = Path("painted"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any that is free.")] = 8580,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
) -> None:
    """Paint masks in the browser and see the pictures; keep or drop synthetic pairs.

    Needs no network. Example: isdm studio runs/model --data tiles --synthetic runs/synthetic
    """
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise ConfigError("The studio is not installed: pip install 'isdm[studio]'")
    folders.check_model(model)
    from isdm.studio import serve
    from isdm.studio.bench import open_bench

    serve(open_bench(model, data, synthetic, out, device), host, port)
