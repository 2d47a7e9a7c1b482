"""The reference pages' own directives: commands and options as the program itself knows them, links to the code.

    .. commands::                every command with its arguments and options
    .. options:: TrainConfig     every key of a stage with type, default, range and meaning

Inline code such as `isdm.diffusion.process.q_sample` becomes a link to that function's entry, on every page.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

import click
import typer.main
from docutils import nodes
from docutils.parsers.rst import Directive
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx import addnodes
from sphinx.application import Sphinx

import isdm.config
from isdm.cli.app import app as command_line

NAME_IN_CODE = re.compile(r"isdm(\.\w+)+")
_HIDDEN = {"help", "install_completion", "show_completion"}


def leaf_commands(group: click.Command, path: tuple[str, ...] = ("isdm",)) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    children = getattr(group, "commands", None)
    if children is None:
        yield " ".join(path), group
        return
    for name, child in children.items():
        yield from leaf_commands(child, (*path, name))


class Commands(Directive):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        return [self._section(name, command) for name, command in leaf_commands(typer.main.get_command(command_line))]

    def _section(self, name: str, command: click.Command) -> nodes.section:
        section = nodes.section(ids=[name.replace(" ", "-")], names=[name])
        section += nodes.title("", name)
        section += _paragraphs(command.help or "")
        positional = [p for p in command.params if p.param_type_name == "argument"]
        given = " ".join(p.metavar or str(p.name).upper() for p in positional)
        usage = f"{name} {given} [OPTIONS]".replace("  ", " ")
        section += nodes.literal_block(usage, usage, language="text")
        entries = nodes.definition_list()
        for parameter in command.params:
            text = getattr(parameter, "help", None) or ""
            if parameter.name in _HIDDEN or not text:
                continue
            entries += _entry(_spelling(parameter), "required" if parameter.required else "", text)
        if len(entries):
            section += entries
        return section


def _spelling(parameter: click.Parameter) -> str:
    if parameter.param_type_name == "argument":
        return parameter.metavar or str(parameter.name).upper()
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


class Options(Directive):
    """The keys of one stage."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        kind = getattr(isdm.config, self.arguments[0])
        entries = nodes.definition_list()
        for name, field in kind.model_fields.items():
            entries += _entry(name, f"{_type(field)}{_range(field)}{_default(field)}", field.description or "")
        return [entries]


def _entry(term: str, facts: str, text: str) -> nodes.definition_list_item:
    item = nodes.definition_list_item()
    head = nodes.term("", "", nodes.literal(term, term))
    if facts:
        head += [nodes.Text("  "), nodes.inline(facts, facts, classes=["facts"])]
    item += head
    item += nodes.definition("", *_paragraphs(text))
    return item


def _paragraphs(text: str) -> list[nodes.paragraph]:
    """Plain paragraphs whose single backticks mark code."""
    made = []
    for block in text.split("\n\n"):
        paragraph = nodes.paragraph()
        for index, part in enumerate(" ".join(block.split()).split("`")):
            paragraph += nodes.literal(part, part) if index % 2 else nodes.Text(part)
        made.append(paragraph)
    return made


def _type(field: FieldInfo) -> str:
    return _type_name(field.annotation)


def _type_name(annotation: Any) -> str:
    """A type in plain words."""
    names = {
        int: "whole number",
        float: "number",
        str: "text",
        bool: "true or false",
        Path: "path",
        type(None): "none",
    }
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    if annotation in names:
        return names[annotation]
    if not arguments:
        return str(getattr(annotation, "__name__", annotation))
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, arguments))
    if get_origin(annotation) in (tuple, dict):
        return f"list of {_type_name(arguments[0])}" if get_origin(annotation) is tuple else "mapping"
    members = arguments[:1] if get_origin(annotation) is Annotated else arguments
    return " or ".join(dict.fromkeys(_type_name(member) for member in members))


def _range(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    parts = [f"{signs[key]} {getattr(rule, key):g}" for rule in field.metadata for key in signs if hasattr(rule, key)]
    return f", {', '.join(parts)}" if parts else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "; required"
    default = field.get_default(call_default_factory=True)
    if default is None or isinstance(default, BaseModel) or default == {}:
        return ""
    text = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
    return f"; {text}" if text else "; empty"


def link_names_in_code(app: Sphinx, doctree: nodes.document) -> None:
    """Make inline code that names something of the package a link to its entry; without entry it stays as it is."""
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext().removesuffix("()")
        if NAME_IN_CODE.fullmatch(name) and not isinstance(literal.parent, addnodes.pending_xref):
            reference = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=name, refdoc=app.env.docname, refexplicit=True
            )
            literal.replace_self(reference)
            reference += literal


def setup(app: Sphinx) -> dict[str, Any]:
    """Register directives and the step."""
    app.add_directive("commands", Commands)
    app.add_directive("options", Options)
    app.connect("doctree-read", link_names_in_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
