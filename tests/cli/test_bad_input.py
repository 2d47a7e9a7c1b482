"""Whatever a user gets wrong: exit code 1 or 2, a few lines that name it, no traceback, nothing half-written."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isdm.cli import main
from isdm.config import DataConfig, build
from isdm.data.importing import import_dataset

MOST_LINES = 3


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    error: str


Isdm = Callable[..., Outcome]


@pytest.fixture
def isdm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run a command in `tmp_path` as the installed script would."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["isdm", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return Outcome(int(caught.value.code or 0), capsys.readouterr().err)

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six images of 16x16 pixels with masks of three classes."""
    folder = tmp_path / "photos"
    for index in range(6):
        mask = np.zeros((16, 16), np.uint8)
        mask[: index + 1], mask[10:] = 1, 2
        image = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
        for part, picture in (("images", image), ("masks", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / part / f"tile{index}.png")
    (folder / "classes.txt").write_text("background\ncrack\nfray\n")
    return folder


@pytest.fixture
def dataset(source: Path, tmp_path: Path) -> Path:
    return import_dataset(build(DataConfig, {"source": source}), tmp_path / "tiles").folder


def assert_mendable(outcome: Outcome, *named: str, code: int = 1) -> None:
    """The exit code (1: to mend, 2: wrong usage) and a short message that names what is wrong and what to do."""
    assert outcome.code == code, outcome.error
    assert "Error: " in outcome.error
    assert "Traceback" not in outcome.error
    message = outcome.error[outcome.error.index("Error: ") :].strip()
    assert len(message.splitlines()) <= MOST_LINES, message
    for text in named:
        assert text in message, message


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_missing_mask(isdm: Isdm, source: Path, tmp_path: Path) -> None:
    (source / "masks" / "tile3.png").unlink()
    before = files_below(tmp_path)
    assert_mendable(
        isdm("data", "import", "photos", "out"),
        "images/tile3.png has no mask",
        "expected photos/masks/tile3.png",
    )
    assert files_below(tmp_path) == before


def test_an_image_and_a_mask_of_different_sizes(isdm: Isdm, source: Path, tmp_path: Path) -> None:
    Image.new("L", (16, 12)).save(source / "masks" / "tile3.png")
    before = files_below(tmp_path)
    assert_mendable(
        isdm("data", "import", "photos", "out"),
        "images/tile3.png is 16x16",
        "masks/tile3.png is 16x12",
        "must agree",
    )
    assert files_below(tmp_path) == before


def test_an_undeclared_class(isdm: Isdm, source: Path, tmp_path: Path) -> None:
    Image.new("L", (16, 16), 7).save(source / "masks" / "tile3.png")
    before = files_below(tmp_path)
    assert_mendable(isdm("data", "import", "photos", "out"), "masks/tile3.png", "class id 7", "declared are 0 to 2")
    assert files_below(tmp_path) == before


def test_a_truncated_image(isdm: Isdm, source: Path, tmp_path: Path) -> None:
    path = source / "images" / "tile3.png"
    path.write_bytes(path.read_bytes()[:100])
    before = files_below(tmp_path)
    assert_mendable(
        isdm("data", "import", "photos", "out"), "images/tile3.png cannot be read", "replace or remove it"
    )
    assert files_below(tmp_path) == before


def test_an_empty_source(isdm: Isdm, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert_mendable(isdm("data", "import", "photos", "out"), "photos has none of the known layouts", "images/")
    assert files_below(tmp_path) == {"photos"}


@pytest.mark.parametrize("command", ["describe", "check"])
def test_a_folder_that_is_no_dataset(isdm: Isdm, tmp_path: Path, command: str) -> None:
    (tmp_path / "empty").mkdir()
    assert_mendable(isdm("data", command, "empty"), "empty is not a dataset", "isdm data import empty DST")
    assert_mendable(isdm("data", command, "nowhere"), "nowhere is not a folder")


def test_a_damaged_dataset_is_named_by_the_check(isdm: Isdm, dataset: Path) -> None:
    path = next((dataset / "train" / "masks").iterdir())
    path.write_bytes(path.read_bytes()[:80])
    assert_mendable(isdm("data", "check", "tiles"), f"{path.name} cannot be read", "replace or remove it")


def test_training_on_a_folder_that_is_no_dataset(isdm: Isdm, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_mendable(
        isdm("train", "empty", "--out", "model", "--preset", "tiny"),
        "empty is not a dataset",
        "isdm data import",
    )
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--size", "big"), ("size = 'big'", "write 256 or HEIGHTxWIDTH")),
        (("--size", "0"), ("size", "0", "greater than 0")),
        (("--test", "-1"), ("test", "-1")),
        (("--fit", "squash"), ("fit = 'squash'", "'crop'")),
        (("--layout", "coconut"), ("layout = 'coconut'", "magnetic-tile")),
        (("--recipe", "pears"), ("recipe = 'pears'", "lemons-blemish")),
        (("--merge", "defect"), ("merge.defect", "at least 1 item")),
        (("--group-by", "("), ("'('", "not a regular expression")),
        (("--group-by", "a", "--groups", "g.csv"), ("exclude one another",)),
    ],
)
def test_import_options_that_are_wrong_by_themselves(
    isdm: Isdm, source: Path, tmp_path: Path, options: tuple[str, ...], named: tuple[str, ...]
) -> None:
    before = files_below(tmp_path)
    assert_mendable(isdm("data", "import", "photos", "out", *options), *named, code=2)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--test", "6"), ("test = 6", "leave no training image of 6; lower them")),
        (("--classes", "crak"), ("'crak' is unknown", "crack, fray")),
        (("--group-by", "lemon"), ("'lemon' does not match 'tile0'", "every name must match")),
    ],
)
def test_import_options_that_do_not_fit_the_data(
    isdm: Isdm, source: Path, tmp_path: Path, options: tuple[str, ...], named: tuple[str, ...]
) -> None:
    before = files_below(tmp_path)
    assert_mendable(isdm("data", "import", "photos", "out", *options), *named)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--preset", "large"), ("preset 'large' is unknown", "base, paper, small, tiny")),
        (("--preset", "../presets/tiny"), ("is unknown", "base, paper, small, tiny")),
        (("--steps", "0"), ("steps = 0", "greater than or equal to 1")),
        (("--max-time", "soon"), ("max_time = 'soon'", "write 90s, 45m or 2h")),
        (("--drop-rate", "2"), ("drop_rate = 2.0", "less than or equal to 1")),
        (("--set", "unet.base_chanels=64"), ("'unet.base_chanels'", "did you mean 'base_channels'")),
        (("--set", "learning_rate"), ("--set 'learning_rate'", "key=value")),
        (("--set", "stop_on_copying=true"), ("needs held-out",)),
    ],
)
def test_training_options_that_are_wrong(
    isdm: Isdm, tmp_path: Path, options: tuple[str, ...], named: tuple[str, ...]
) -> None:
    assert_mendable(isdm("train", "tiles", "--out", "model", *options), *named, code=2)
    assert files_below(tmp_path) == set()


def test_a_missing_file_of_options(isdm: Isdm) -> None:
    assert_mendable(
        isdm("train", "tiles", "--out", "model", "--config", "nowhere.yaml"), "nowhere.yaml does not exist"
    )


def test_options_of_a_file_are_the_files_and_those_beside_it_wrong_usage(isdm: Isdm, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("steps: 0\n")
    train = ("train", "tiles", "--out", "model", "--config", "train.yaml")
    assert_mendable(isdm(*train), "steps = 0", code=1)
    assert_mendable(isdm(*train, "--seed", "1"), "steps = 0", code=1)
    assert_mendable(isdm(*train, "--steps", "-1"), "steps = -1", code=2)


def test_sampling_options_that_do_not_go_together(isdm: Isdm, tmp_path: Path) -> None:
    options = ("--timesteps", "rescaled", "--sampler", "unipc")
    assert_mendable(
        isdm("sample", "model", "--data", "tiles", "--out", "synth", *options),
        "not unipc; use 'respaced'",
        code=2,
    )
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "data: {source: photos}\nevalute: {repeats: 1}\n",
            ("In experiment.yaml: ", "'evalute'", "did you mean 'evaluate'"),
        ),
        ("data: {source: photos, siz: 64}\n", ("'data.siz'", "did you mean 'size'")),
        (
            "data: {source: photos}\ntrain: {unet: {spade_chanels: 8}}\n",
            ("'train.unet.spade_chanels'", "did you mean 'spade_channels'"),
        ),
        (
            "data: {source: photos}\ntrain: {unet.norm_groups: 8}\n",
            ("unknown key 'train.unet.norm_groups'; write unet: {norm_groups: 8}.",),
        ),
        ("data: {source: photos}\ntrain.unet.dropout: 0.1\n", ("write train: {unet: {dropout: 0.1}}.",)),
        ("data: {source: photos}\nevaluate.arms: [plain]\n", ("write evaluate: {arms: …}.",)),
        ("data: {source: photos}\nsample: {guidance: -1}\n", ("sample.guidance = -1", "greater than")),
        ("data: {source: photos}\ntrain: {preset: huge}\n", ("'huge' is unknown", "small")),
        ("data: {source: photos}\ntrain: tiny\nfinetune: {}\n", ("train = 'tiny'",)),
        ("data: {source: photos}\ntrain: {steps: many}\nfinetune: {}\n", ("train.steps = 'many'",)),
        ("train: {preset: tiny}\n", ("'data' is missing",)),
        ("data: {source: photos}\ntrain: {stop_on_copying: true}\n", ("needs held-out",)),
        ("data: [\n", ("experiment.yaml cannot be read as YAML", "line 2")),
        ("just a sentence\n", ("experiment.yaml must hold 'key: value' lines",)),
        ("", ("experiment.yaml must hold 'key: value' lines",)),
        ("data: {source: nowhere}\n", ("nowhere is not a folder", "give the folder")),
    ],
)
def test_an_experiment_file_with_a_mistake(isdm: Isdm, tmp_path: Path, text: str, named: tuple[str, ...]) -> None:
    (tmp_path / "experiment.yaml").write_text(text)
    assert_mendable(isdm("run", "experiment.yaml", "--out", "result"), *named)
    assert files_below(tmp_path) == {"experiment.yaml"}


def test_an_unknown_network_in_an_experiment_file_is_the_files(isdm: Isdm, source: Path, tmp_path: Path) -> None:
    text = "data: {source: photos}\nevaluate: {architectures: [lynx], synthetic_counts: [0]}\n"
    (tmp_path / "experiment.yaml").write_text(text)
    assert_mendable(isdm("run", "experiment.yaml", "--out", "result"), "Architecture or encoder unknown", "lynx")


def test_an_experiment_file_that_is_missing(isdm: Isdm) -> None:
    assert_mendable(isdm("run", "nowhere.yaml", "--out", "result"), "nowhere.yaml does not exist")


@pytest.mark.parametrize("command", ["sample", "finetune"])
def test_a_folder_that_is_no_model(isdm: Isdm, dataset: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "model").mkdir()
    before = files_below(tmp_path)
    outcome = isdm(command, "model", "--data", "tiles", "--out", "out")
    assert_mendable(outcome, "model is not a model folder", "isdm train")
    assert files_below(tmp_path) == before


def test_a_dataset_given_as_a_model_and_a_model_as_a_dataset(isdm: Isdm, dataset: Path, tmp_path: Path) -> None:
    outcome = isdm("sample", "tiles", "--data", "tiles", "--out", "out")
    assert_mendable(outcome, "tiles is not a model folder", "isdm train tiles --out MODEL")
    (tmp_path / "runs" / "model" / "unet").mkdir(parents=True)
    (tmp_path / "runs" / "model" / "isdm.json").write_text("{}")
    assert_mendable(isdm("sample", "runs", "--data", "tiles", "--out", "out"), "give runs/model, which is one")
    assert_mendable(isdm("data", "check", "runs/model"), "is a model, not a dataset", "isdm sample runs/model")


@pytest.mark.parametrize(
    "command",
    [
        ("data", "import", "photos", "taken"),
        ("train", "tiles", "--out", "taken", "--preset", "tiny", "--steps", "1"),
    ],
)
def test_an_output_folder_that_holds_something_else(
    isdm: Isdm, dataset: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("the only copy")
    before = files_below(tmp_path)
    assert_mendable(isdm(*command), "taken holds something that isdm did not make", "give a new or empty folder")
    assert files_below(tmp_path) == before
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "the only copy"


def test_an_output_folder_made_from_other_options(isdm: Isdm, dataset: Path) -> None:
    assert_mendable(
        isdm("data", "import", "photos", "tiles", "--seed", "1"), "seed was 0, now 1", "another output folder"
    )


def test_an_output_that_is_a_file(isdm: Isdm, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert_mendable(isdm("data", "import", "photos", "out"), "out is a file", "give a folder")
    assert (tmp_path / "out").read_text() == "a file"


def write_text(path: Path) -> None:
    path.write_text("not a checkpoint")


def write_foreign_network(path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(2, 2)}, path)


def write_code(path: Path) -> None:
    torch.save({"run": print}, path)


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (write_text, "cannot be read as a checkpoint"),
        (write_foreign_network, "holds no published SDM network"),
        (write_code, "cannot be read as a checkpoint of plain tensors"),
        (Path.mkdir, "cannot be read as a checkpoint"),
        (lambda _: None, "does not exist"),
    ],
)
def test_a_checkpoint_that_is_none(isdm: Isdm, tmp_path: Path, write: Callable[[Path], object], named: str) -> None:
    write(tmp_path / "ema.pt")
    before = files_below(tmp_path)
    assert_mendable(isdm("convert", "ema.pt", "--out", "model"), f"ema.pt {named}")
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--colour", "red"),
        ("train", "tiles", "--out", "model", "--colour", "red"),
        ("train", "--out", "model"),
        ("train", "tiles"),
        ("train", "tiles", "--out", "model", "--steps", "many"),
        ("paint",),
    ],
)
def test_wrong_usage_exits_with_2(isdm: Isdm, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    outcome = isdm(*arguments)
    assert outcome.code == 2
    assert "Usage: " in outcome.error
    assert "Traceback" not in outcome.error
    assert files_below(tmp_path) == set()


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("data", "check", "nowhere"), 1, "Error: nowhere is not a folder"),
        (("--colour",), 2, "No such option"),
    ],
)
def test_the_installed_script_does_the_same(
    tmp_path: Path, arguments: tuple[str, ...], code: int, named: str
) -> None:
    script = Path(sys.executable).parent / "isdm"
    done = subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
