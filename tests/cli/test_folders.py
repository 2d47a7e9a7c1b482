"""A mistyped folder is answered at once, in the words that fit what the command wanted there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isdm import provenance
from isdm.cli.folders import synthetic_at
from isdm.cli.stages import named_sets
from isdm.errors import DataError

COMMANDS = [
    ("train nope --out m", "nope is not a folder; give a dataset made by `isdm data import`"),
    ("train empty --out m", "empty is not a dataset"),
    ("train real --init nope --out m", "nope is not a model folder"),
    ("finetune nope --data real --out m", "nope is not a model folder"),
    ("sample real --data real --out s", "real is not a model folder (it needs isdm.json and unet/); it is a dataset"),
    ("sample model --data nope --out s", "nope is not a folder"),
    ("select nope --real real --out s", "nope is not a folder; give a synthetic dataset made by `isdm sample` or"),
    ("audit empty --real real --out a", "give a synthetic dataset made by `isdm sample` or `isdm select`"),
    ("audit real --real nope --out a", "nope is not a folder; give a dataset made by `isdm data import`"),
    ("evaluate nope --out e", "nope is not a folder"),
    ("evaluate real --synthetic nope --out e", "give a synthetic dataset made by"),
    ("tune real --model nope --out t", "nope is not a model folder"),
]

PROGRAM = """
import json, sys
from isdm.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["isdm", *command.split()]
    try:
        main()
    except SystemExit as end:
        print(end.code, "torch" in sys.modules, file=sys.stderr)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset and a model as far as their own files tell, and an empty folder."""
    monkeypatch.chdir(tmp_path)
    classes = [{"id": number, "name": f"class{number}", "colour": [number, 0, 0]} for number in range(2)]
    (tmp_path / "empty").mkdir()
    (tmp_path / "real").mkdir()
    info = {"name": "real", "classes": classes, "channels": 3, "bit_depth": 8, "ignore_index": 255}
    (tmp_path / "real" / "dataset.json").write_text(json.dumps(info))
    (tmp_path / "model" / "unet").mkdir(parents=True)
    for name in ("isdm.json", "unet/config.json"):
        (tmp_path / "model" / name).write_text("{}")
    return tmp_path


def test_wrong_folders_are_told_before_torch_is_loaded(here: Path) -> None:
    commands = json.dumps([command for command, _ in COMMANDS])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, commands], cwd=here, capture_output=True, text=True, timeout=120, check=False
    )
    answers = done.stderr.split("1 False\n")
    assert len(answers) == len(COMMANDS) + 1, done.stderr
    for (command, told), answer in zip(COMMANDS, answers, strict=False):
        assert told in " ".join(answer.split()), command


@pytest.mark.parametrize("stage", ["sample", "select"])
def test_a_set_that_was_not_made_to_its_end_is_not_to_be_imported(tmp_path: Path, stage: str) -> None:
    provenance.begin(tmp_path / "sel", stage, {}, {})
    for open_it in (synthetic_at, lambda folder: named_sets([str(folder)])):
        with pytest.raises(DataError) as caught:
            open_it(tmp_path / "sel")
        assert f"holds an `isdm {stage}` that did not end with a dataset; run it to its end" in str(caught.value)
        assert "import" not in str(caught.value)
