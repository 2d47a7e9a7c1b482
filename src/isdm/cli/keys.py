"""The end of a command's help: every key that `--set` and a file of options take, as the configuration tells it."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from isdm.config import ExperimentConfig, FinetuneConfig, StageConfig, TrainConfig, with_preset
from isdm.differences import written
from isdm.progress import plain_console

_OF_FINETUNING = ("batch_size", "drop_rate", "epochs", "patience_steps", "precision", "device")
"""Options of a fine-tuning that have defaults of their own; the others are those of the model's training."""
_STAGES_OF_A_RUN = {
    "data": "data import",
    "train": "train",
    "finetune": "finetune",
    "sample": "sample",
    "select": "select",
    "audit": "audit",
    "evaluate": "evaluate",
}


def with_keys(kind: type[StageConfig]) -> type[TyperCommand]:
    """A command whose help ends with the keys of its options."""

    class Command(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            _print_keys(kind)

    return Command


class CommandOfARun(TyperCommand):
    """A command whose options are those of all stages."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, and where the keys of every stage are told."""
        super().format_help(ctx, formatter)
        console = plain_console(wraps=True)
        console.print(
            "Keys of the file and of --set: a stage and its key, such as train.steps=2000, sample.guidance=2 or "
            "train.unet.norm_groups=8, which is train: {unet: {norm_groups: 8}} in the file.\n"
        )
        _print_table(console, _keys_of_a_run())


def _keys_of_a_run() -> Iterator[tuple[str, str]]:
    for name, field in ExperimentConfig.model_fields.items():
        if _inner(field) is None:
            yield name, _first_sentence(field.description or "")
    for key, command in _STAGES_OF_A_RUN.items():
        note = " (--group-by is data.group_by)" if key == "data" else ""
        yield f"{key}.KEY", f"Options of isdm {command}; see isdm {command} --help{note}."


def _print_keys(kind: type[StageConfig]) -> None:
    console = plain_console(wraps=True)
    defaults, shown = _defaults(kind)
    lead = "All keys for --set key=value and the file of --config, defaults in brackets."
    if kind is TrainConfig:
        lead += f" Those of --preset {defaults['preset']} are shown."
    elif kind is FinetuneConfig:
        lead += " The others are those of the model's own training, with a quarter of its steps."
    console.print(f"{lead}\n")
    _print_table(console, _keys(kind, defaults, shown))


def _print_table(console: Console, rows: Iterator[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=30)
    table.add_column(overflow="fold")
    for key, text in rows:
        table.add_row(Text(f" {key}"), Text(text))
    console.print(table)
    console.print()


def _defaults(kind: type[StageConfig]) -> tuple[dict[str, Any], Collection[str]]:
    """The values where nothing is given, and the keys for which they say something."""
    values = with_preset({}) if kind is TrainConfig else {}
    shown = _OF_FINETUNING if kind is FinetuneConfig else tuple(kind.model_fields)
    return kind.model_validate(values).plain(), shown


def _keys(
    kind: type[StageConfig], defaults: Mapping[str, Any], shown: Collection[str], below: str = ""
) -> Iterator[tuple[str, str]]:
    """Each key, those within others too, with what it does and, where it is in `shown`, its default."""
    for name, field in kind.model_fields.items():
        inner = _inner(field)
        if inner is not None:
            values = defaults.get(name) or inner().plain()
            yield from _keys(inner, values, tuple(inner.model_fields) if name in shown else (), f"{below}{name}.")
            continue
        told = _first_sentence(field.description or "")
        default = defaults.get(name)
        has_default = name in shown and default is not None
        yield f"{below}{name}", f"{told} ({written(default)})" if has_default else told


def _inner(field: FieldInfo) -> type[StageConfig] | None:
    """The kind of options that an option holds, which may be left out."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, StageConfig):
            return kind
    return None


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.])\s", " ".join(text.split()).replace("`", ""), maxsplit=1)[0]
