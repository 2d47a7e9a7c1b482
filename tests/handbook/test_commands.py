"""Every command of the handbook is one that the command line takes, its options and their values included."""

import os
import subprocess
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from handbook_pages import PAGES, ROOT, Block, inline_code, isdm_arguments, page_commands, resolved, yaml_snippets
from isdm.cli.app import app
from isdm.cli.experiment import read_experiment
from isdm.config import (
    AuditConfig,
    EvaluateConfig,
    ExperimentConfig,
    FinetuneConfig,
    SampleConfig,
    SelectConfig,
    TrainConfig,
    TuneConfig,
    build,
    merged,
)

WORK = (
    "isdm.data.dataset.SegmentationDataset",
    "isdm.data.importing.import_dataset",
    "isdm.data.exporting.export_dataset",
    "isdm.data.checking.check_dataset",
    "isdm.data.describing.gather",
    "isdm.cli.data.describe",
    "isdm.cli.description.print_description",
    "isdm.report.dataset_page.describe_dataset",
    "isdm.training.diffusion.train",
    "isdm.training.diffusion.finetune",
    "isdm.training.conversion.convert_checkpoint",
    "isdm.synthesis.generate.sample",
    "isdm.synthesis.select.select",
    "isdm.synthesis.audit.audit",
    "isdm.report.audit_page.write_audit_page",
    "isdm.cli.folders.dataset_at",
    "isdm.cli.folders.synthetic_at",
    "isdm.cli.folders.check_model",
    "isdm.cli.results.print_audit",
    "isdm.cli.results.print_results",
    "isdm.evaluation.study.evaluate",
    "isdm.evaluation.tuning.tune",
    "isdm.report.report",
    "isdm.cli.run._run",
    "isdm.cli.run._run_fold",
    "isdm.cli.cost.print_plan",
    "isdm.studio.bench.open_bench",
    "isdm.studio.serve",
    "isdm.data.builtin.write_fruit_source",
)
"""What the commands would do after they have understood what is asked of them."""


STAGES = (TrainConfig, FinetuneConfig, SampleConfig, SelectConfig, AuditConfig, EvaluateConfig, TuneConfig)
OF_OTHERS = {"--exclude-editable", "--install-completion"}
"""Options in the text that other programs take."""


class Anything:
    """Stands for the result of any work: whatever is asked of it, it gives itself, or nothing."""

    def __call__(self, *_: Any, **__: Any) -> "Anything":
        return self

    def __getattr__(self, name: str) -> "Anything":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self) -> Any:
        return iter(())

    def __str__(self) -> str:
        return "anything"


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[list[str]], None]:
    """Runs a command up to where its work begins."""
    for name in WORK:  # all of them first: a module that is loaded later would keep what stands in for another
        resolved(name)
    for name in WORK:
        monkeypatch.setattr(name, Anything())
    audited = tmp_path / "audit"
    audited.mkdir()
    (audited / "audit.json").write_text("{}")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for example in (ROOT / "examples").glob("*.yaml"):
        (tmp_path / example.name).write_text(example.read_text("utf-8"))
    (tmp_path / "experiment.yaml").write_text("data: {source: photos}\n")
    (tmp_path / "folds.yaml").write_text("folds: 2\ndata: {source: photos}\n")
    monkeypatch.chdir(tmp_path)

    def run(arguments: list[str]) -> None:
        if arguments[:1] == ["report"]:
            for index, word in enumerate(arguments[:-1]):
                if word == "--audit":
                    folder = arguments[index + 1].rpartition("=")[2]
                    (tmp_path / folder).mkdir(exist_ok=True, parents=True)
                    (tmp_path / folder / "audit.json").write_text("{}")
        if arguments[:1] == ["run"]:
            read_experiment(Path(arguments[1]))
        app(arguments, standalone_mode=False)

    return run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_understood(page: Path, understood: Callable[[list[str]], None]) -> None:
    for block, words in page_commands(page):
        try:
            check(block, words, understood)
        except Exception as error:
            raise AssertionError(f"{block}: {' '.join(words)}: {error}") from error


def test_the_commands_of_a_script_are_understood(understood: Callable[[list[str]], None], tmp_path: Path) -> None:
    """The script runs as it is, but with an `isdm` that only notes what it is given."""
    noted = tmp_path / "noted"
    stub = tmp_path / "bin" / "isdm"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word" >> {noted}; done\necho >> {noted}\n')
    stub.chmod(0o755)
    fold = tmp_path / "fold-0"
    (fold / "model").mkdir(parents=True)
    (fold / "model" / "config.yaml").write_text("preset: tiny\n")
    (fold / "experiment.yaml").write_text("data: {source: photos}\nevaluate: {architectures: [unet]}\n")
    subprocess.run(
        ["bash", ROOT / "examples" / "magnetic-tile-questions.sh", fold],
        check=True,
        env={"PATH": f"{stub.parent}:{os.environ['PATH']}"},
    )
    commands = [lines.split("\n") for lines in noted.read_text().strip().split("\n\n")]
    assert len(commands) >= 20
    for words in commands:
        understood(words)


def check(block: Block, words: list[str], understood: Callable[[list[str]], None]) -> None:
    arguments = isdm_arguments(words)
    if arguments is not None and "COMMAND" not in arguments:
        understood(arguments)
    elif words[:2] == ["pip", "install"]:
        check_extras(words[2:])
    elif words[0] == "make":
        targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if ":" in line}
        assert set(words[1:]) <= targets
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        assert words[0] in ("ray", "export", "isdm", "OMP_NUM_THREADS=1"), "who checks this program?"


def check_extras(requirements: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for requirement in requirements:
        if requirement.endswith("]"):
            name, _, wanted = requirement.removesuffix("]").partition("[")
            assert name in ("isdm", ".")
            assert set(wanted.split(",")) <= set(extras)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "data", "--out", "model", "--set", "learning_rte=1"],
        ["train", "data", "--out", "model", "--set", "learning_rate=-1"],
        ["sample", "model", "--data", "data", "--out", "made", "--smapler", "ddpm"],
        ["select", "made", "--out", "selected"],
        ["no-such-command"],
    ],
)
def test_a_wrong_command_is_noticed(arguments: list[str], understood: Callable[[list[str]], None]) -> None:
    with pytest.raises(Exception, match=r"learning_r|No such|Missing|no-such"):
        understood(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_experiment_snippets_are_valid(page: Path) -> None:
    for block in yaml_snippets(page):
        values = yaml.safe_load(block.text)
        known = set(ExperimentConfig.model_fields)
        assert set(values) <= known, f"{block}: {set(values) - known}"
        build(ExperimentConfig, merged({"data": {"source": "photos"}}, values), where=str(block))


def test_commands_are_found() -> None:
    assert sum(len(page_commands(page)) for page in PAGES) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_in_the_text_exist(page: Path) -> None:
    options = {option for command in every_command().values() for option in command}
    settings = {name for kind in (*STAGES, ExperimentConfig) for name in kind.model_fields}
    for code in inline_code(page):
        words = code.split()
        if words[0] == "isdm" and len(words) > 1 and words[1] != "COMMAND" and words[1] not in OF_OTHERS:
            name = " ".join(words[1:3]) if words[1] == "data" and len(words) > 2 else words[1]
            assert name in every_command() or name == "data", f"{page}: {code}"
            known = every_command().get(name, options)
            assert {word for word in words if word.startswith("--")} <= known, f"{page}: {code}"
        elif words[0] == "--set" and len(words) == 2 and "key" not in words[1]:
            assert words[1].partition("=")[0].split(".")[0] in settings, f"{page}: {code}"
        elif words[0].startswith("--"):
            assert words[0].partition("=")[0] in options | OF_OTHERS, f"{page}: {code}"


@cache
def every_command() -> dict[str, set[str]]:
    """The options of each command by its name, `data import` being one."""
    found: dict[str, set[str]] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        children = getattr(command, "commands", None) or {"": command}
        for child, leaf in children.items():
            opts = {option for parameter in leaf.params for option in (*parameter.opts, *parameter.secondary_opts)}
            found[f"{name} {child}".strip()] = opts | {"--help"}
    return found
