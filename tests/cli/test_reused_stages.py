"""Stages of another run: taken where they would come out the same, and only there."""

from pathlib import Path
from typing import Any

import pytest

from isdm import provenance
from isdm.cli.reused_stages import take_over_stages
from isdm.config import ExperimentConfig, build

VALUES: dict[str, Any] = {
    "data": {"source": "source"},
    "train": {"steps": 5},
    "finetune": {"steps": 2},
    "sample": {"num_samples": 3},
    "select": {},
    "audit": {},
}
NAMES = ("model", "finetuned", "synthetic", "selected", "audit")


def config(**changes: dict[str, Any]) -> ExperimentConfig:
    values = {stage: options | changes.get(stage, {}) for stage, options in VALUES.items()}
    return build(ExperimentConfig, values)


def make(run: Path, experiment: ExperimentConfig, *names: str, seconds: float = 7.0) -> None:
    """Folders as finished stages leave them."""
    stages = {
        "model": experiment.train,
        "finetuned": experiment.finetune,
        "synthetic": experiment.candidates(),
        "selected": experiment.select,
        "audit": experiment.audit,
    }
    for name in names:
        options = stages[name]
        assert options is not None
        provenance.begin(run / name, name, options, {"what": "the same"})
        for file in ("part/weights.safetensors", "part/picture.png", "metrics.jsonl", ".isdm-lock", ".aside-x"):
            path = run / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{name} {file}")
        provenance.finish(run / name, options, seconds)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".isdm-lock", ".aside-x")
    }


def test_a_finetuning_without_a_limit_of_its_own_is_taken(tmp_path: Path) -> None:
    """Its steps follow from the generator's, which were taken just before."""
    open_end: dict[str, Any] = {"steps": None, "epochs": None}
    other = tmp_path / "other"
    make(other, config(finetune=open_end | {"steps": 10}), *NAMES)
    (other / "model" / "config.yaml").write_text("steps: 48")
    take_over_stages(other, config(finetune=open_end), tmp_path / "out")
    assert provenance.read(tmp_path / "out" / "finetuned") is None, "12 steps would be another model"
    (other / "model" / "config.yaml").write_text("steps: 40")
    take_over_stages(other, config(finetune=open_end), tmp_path / "again")
    assert provenance.read(tmp_path / "again" / "finetuned") is not None


def test_all_that_is_the_same_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, out = tmp_path / "other", tmp_path / "out"
    make(other, config(), *NAMES)
    take_over_stages(other, config(train={"device": "cpu"}), out)
    assert files(out) == files(other)
    assert f"model, finetuned, synthetic, selected, audit: finished in {other}" in capsys.readouterr().err
    assert not [*out.rglob(".isdm-lock"), *out.rglob(".aside*")]
    for name in ("part/weights.safetensors", "part/picture.png"):
        assert (out / "model" / name).samefile(other / "model" / name)
    (out / "model" / "metrics.jsonl").open("a").write("more")
    assert (other / "model" / "metrics.jsonl").read_text() == "model metrics.jsonl", "what is added to is no link"
    take_over_stages(other, config(), out)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"train": {"steps": 6}}, []),
        ({"finetune": {"steps": 3}}, ["model"]),
        ({"sample": {"guidance": 3.0}}, ["model", "finetuned"]),
        ({"select": {"best_of": 2}}, ["model", "finetuned"]),
        ({"audit": {"epochs": 3}}, ["model", "finetuned", "synthetic", "selected"]),
    ],
)
def test_what_follows_a_difference_is_not_taken(
    tmp_path: Path, changes: dict[str, dict[str, Any]], taken: list[str]
) -> None:
    make(tmp_path / "other", config(), *NAMES)
    take_over_stages(tmp_path / "other", config(**changes), tmp_path / "out")
    assert [name for name in NAMES if (tmp_path / "out" / name).exists()] == taken


def test_what_is_unfinished_there_is_not_taken(tmp_path: Path) -> None:
    other, experiment = tmp_path / "other", config()
    make(other, experiment, "model", "synthetic", "selected")
    assert experiment.finetune is not None
    provenance.begin(other / "finetuned", "finetune", experiment.finetune, {})
    take_over_stages(other, experiment, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model"]


def test_what_was_made_here_stays_and_nothing_made_from_the_others_follows(tmp_path: Path) -> None:
    other, out = tmp_path / "other", tmp_path / "out"
    make(other, config(), *NAMES)
    make(out, config(), "model", seconds=8.0)
    before = files(out)
    take_over_stages(other, config(), out)
    assert files(out) == before


def test_taking_over_goes_on_where_it_ended(tmp_path: Path) -> None:
    other, out = tmp_path / "other", tmp_path / "out"
    make(other, config(), "model")
    take_over_stages(other, config(), out)
    make(other, config(), *NAMES[1:])
    take_over_stages(other, config(), out)
    assert files(out) == files(other)
