"""What a newcomer reads first, and what Tab offers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isdm.cli.app import app
from isdm.cli.completion import datasets, models, one_of
from isdm.config import (
    AuditConfig,
    EvaluateConfig,
    FinetuneConfig,
    PrimaryContrast,
    SampleConfig,
    SelectConfig,
    StageConfig,
    TrainConfig,
    TuneConfig,
    UNetConfig,
)
from isdm.hardware import describe


def test_help_names_the_stages_in_the_order_of_the_way_and_what_to_do_first() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"}).output
    assert "isdm demo" in text
    places = [text.index(f"\u2502 {name} ") for name in ("demo", "train", "sample", "evaluate", "studio", "convert")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("data import", "SRC DST"),
        ("data check", "DATASET"),
        ("data describe", "DATASET"),
        ("data export", "DATASET DST"),
        ("train", "DATASET"),
        ("sample", "MODEL"),
    ],
)
def test_arguments_are_called_alike(command: str, arguments: str) -> None:
    usage = (
        CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "120"}).output.strip().splitlines()[0]
    )
    named = usage.partition("[OPTIONS]")[2].translate(str.maketrans("", "", "{}")).split()
    assert named == arguments.split()


def test_doctor_says_how_to_get_every_extra() -> None:
    names = {name for name, _ in describe()}
    assert {"Extra: studio", "Extra: tune", "Extra: cluster", "Extra: features", "Extra: inception"} <= names


def test_folders_are_completed_by_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, mark in (("tiles", "dataset.json"), ("runs/model", "isdm.json"), ("runs/synthetic", "dataset.json")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / mark).touch()
    monkeypatch.chdir(tmp_path)
    assert datasets("") == ["runs/", "tiles"]
    assert datasets("t") == ["tiles"]
    assert models("runs/") == ["runs/model"]
    assert datasets("runs/s") == ["runs/synthetic"]
    assert models("nowhere/") == []
    assert one_of("tiny", "small")("t") == ["tiny"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("command", ["train", "data check", "data describe", "data export"])
def test_the_shell_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, shell: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "dataset.json").touch()
    typed = f"isdm {command} ti"
    words = {"_TYPER_COMPLETE_ARGS": typed, "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    env = {**os.environ, **words, "_ISDM_COMPLETE": f"complete_{shell}"}
    assert "tiles" in CliRunner().invoke(app, [], env=env, prog_name="isdm").output


def test_installed_completion_works_in_bash(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash is installed")
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "dataset.json").touch()
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "isdm"
    command.write_text(f"#!{sys.executable}\nfrom isdm.cli import main\nmain()\n")
    command.chmod(0o755)
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    ask = (
        "isdm --install-completion >/dev/null || exit 3; . ~/.bashrc; "
        "COMP_WORDS=(isdm train ti); COMP_CWORD=2; _isdm_completion isdm; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    told = subprocess.run(
        [bash, "-c", ask], check=False, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert told.stdout.split() == ["tiles"], told.stderr


def help_of(command: str) -> str:
    return CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80"}).output


def keys_of(kind: type[StageConfig], below: str = "") -> set[str]:
    keys = set()
    for name in kind.model_fields:
        inner = {"unet": UNetConfig, "primary": PrimaryContrast}.get(name)
        keys |= {f"{below}{name}"} if inner is None else keys_of(inner, f"{name}.")
    return keys


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("train", TrainConfig),
        ("finetune", FinetuneConfig),
        ("sample", SampleConfig),
        ("select", SelectConfig),
        ("audit", AuditConfig),
        ("evaluate", EvaluateConfig),
        ("tune", TuneConfig),
    ],
)
def test_every_key_of_set_is_explained_on_a_narrow_terminal(command: str, kind: type[StageConfig]) -> None:
    told = help_of(command).partition("All keys for --set")[2]
    explained = {line.split()[0] for line in told.splitlines() if re.match(r" \w[\w.]*  +\S", line)}
    assert explained == keys_of(kind)
    assert "…" not in told
    assert max(map(len, told.splitlines())) <= 80


def test_defaults_are_those_that_a_training_would_take() -> None:
    told = " ".join(help_of("train").split())
    assert "tiny, small, base or paper (small)." in told
    assert "batch_size Images a step and process; what does not fit into memory at once is worked through" in told
    assert "in parts. (16)" in told, "of the preset"
    assert "learning_rate AdamW's learning rate. (0.0002)" in told
    assert "unet.channel_multipliers Width of each level as a multiple of base_channels" in told
    assert "([1, 2, 3, 4])" in told
    tuned = " ".join(help_of("finetune").split())
    assert "batch_size Images a step. (12)" in tuned
    assert "learning_rate AdamW's learning rate. warmup_steps" in tuned, "that is the model's own"


def test_help_of_run_says_what_its_keys_are() -> None:
    told = " ".join(help_of("run").split())
    assert "train.steps=2000, sample.guidance=2" in told
    assert "evaluate.KEY Options of isdm evaluate; see isdm evaluate --help." in told
    assert "folds Cross-validation" in told


def test_help_loads_no_torch() -> None:
    program = "import sys; from isdm.cli.app import app; app(['train', '--help'], standalone_mode=False); "
    done = subprocess.run(
        [sys.executable, "-c", program + "print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
