"""Commands given damaged, absent, empty and absurd arguments, in this process, up to where their real work begins."""

import contextlib
import io
import random
import shutil
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from fuzz_mutations import damaged
from fuzz_targets import write_cells, write_dataset, write_experiment, write_folders, write_model
from isdm.cli import main
from isdm.data.dataset import SegmentationDataset, write_metadata
from isdm.errors import OutputError

PATHS = (
    "nowhere", "", ".", "..", "/", "/dev/null", "empty", "garbage.txt", "folder-of-garbage", "a" * 300,
    "[red]x[/red]", "\x1b[2Jx", "\u202egnp", "=1+1", "-x", "~", "nowhere/nowhere", "photos", "tiles",
    "model", "synth", "study", "experiment.yaml", "ema.pt", "photos/images/a.png", "dataset.json", "é\udcff",
    "a b'c\"d", "$HOME", "; ls", "%s", "tiles/train", "damaged-tiles", "damaged-model", "damaged-study",
    "damaged-synth", "damaged-photos", "damaged.yaml",
)  # fmt: skip
VALUES = (
    "", "0", "-1", "1", "2", "1e999", "nan", "inf", "-inf", "0.5", "1e-9", "9" * 30, "abc", "[red]",
    "\x1b[31m", "\u202e", "[", "{", "a=b", "=", ",", ",,", "a,b", "equal", "all", "none", "auto", "256",
    "0x0", "99999x1", "2h", "-2h", "1d1", "true", "null", "*a", "!!python/name:os.system", "'", '"',
    "a" * 3000, "cpu", "cuda:99", "mps", "x\ny", "\ud83d",
)  # fmt: skip
SETTINGS = (
    "steps", "unet.base_channels", "unet", "unet.channel_multipliers", "device", "precision", "trackers",
    "seed", "loss", "x", "", "batch_size", "learning_rate", "painted_classes", "primary",
    "primary.synthetic", "window", "extractor", "guidance_interval", "images", "holdout", "architecture",
    "architectures", "encoder", "folds", "criteria",
)  # fmt: skip
OPTIONS = {
    "train": "preset config set init steps epochs max-time drop-rate seed",
    "finetune": "config set steps epochs max-time drop-rate seed",
    "sample": "num-samples sampler steps timesteps guidance masks background photographs balance variants batch-size "
    "config set seed",
    "select": "best-of keep encoder encoder-weights epochs extractor config set seed",
    "audit": "encoder encoder-weights epochs extractor config set seed",
    "evaluate": "synthetic architectures real-counts learning-curve synthetic-counts arms repeats epochs encoder "
    "encoder-weights protocol jobs gpu-share config set seed",
    "tune": "synthetic model guidance num-samples sampler steps trials architectures synthetic-counts epochs encoder "
    "encoder-weights storage config set seed",
    "report": "audit",
    "convert": "config",
    "run": "jobs gpu-share",
    "data import": "layout recipe masks mask-threshold size fit window classes merge group-by groups split-by splits "
    "folds fold test validation defect-free max-defect-free seed",
    "data describe": "out",
    "data check": "",
    "data export": "layout",
    "doctor": "",
}
TAKES_PATH = frozenset(
    [
        "config",
        "init",
        "photographs",
        "synthetic",
        "model",
        "audit",
        "groups",
        "defect-free",
        "out",
        "encoder-weights",
    ]
)
USUAL: dict[str, tuple[str, ...]] = {
    "train": ("tiles", "--out", "OUT", "--preset", "tiny", "--steps", "1"),
    "finetune": ("model", "--data", "tiles", "--out", "OUT", "--steps", "1"),
    "sample": ("model", "--data", "tiles", "--out", "OUT", "-n", "2", "--steps", "2", "--sampler", "ddim"),
    "select": ("synth", "--real", "tiles", "--out", "OUT", "--encoder-weights", "none"),
    "audit": ("synth", "--real", "tiles", "--out", "OUT", "--encoder-weights", "none"),
    "evaluate": ("tiles", "--synthetic", "synth", "--out", "OUT", "--encoder-weights", "none"),
    "tune": ("tiles", "--synthetic", "synth", "--out", "OUT", "--encoder-weights", "none"),
    "report": ("study",),
    "convert": ("ema.pt", "--out", "OUT"),
    "run": ("experiment.yaml", "--out", "OUT"),
    "data import": ("photos", "OUT"),
    "data describe": ("tiles",),
    "data check": ("tiles",),
    "data export": ("tiles", "OUT", "--layout", "coco"),
    "doctor": (),
}
"""Arguments of each command that are in order, or fail for what the world lacks."""


@dataclass(frozen=True)
class Ending:
    """How a command ended; `code` is None where an exception came out of it."""

    arguments: list[str]
    code: int | None
    out: str
    error: str

    @property
    def problem(self) -> str | None:
        """What is wrong with the ending."""
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}"
        shown = self.out + self.error
        if "Traceback (most recent" in shown and BegunError.__name__ not in shown:
            return "a traceback is shown"
        if any(mark in shown for mark in ("\x1b[2J", "\x1b[31m", "\u202e")):
            return "a control character reaches the terminal"
        if self.code and not ("Error" in self.error or "Usage" in self.error):
            return "it fails without a word"
        return None


def make_world(folder: Path) -> None:
    """Small sound folders of each kind, the same damaged, and things that are nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    writers = (("photos", write_folders), ("tiles", write_dataset), ("model", write_model), ("study", write_cells))
    for name, write in writers:
        (folder / name).mkdir()
        write(folder / name)
    for split in ("validation", "test"):
        shutil.copytree(folder / "tiles" / "train", folder / "tiles" / split)
    shutil.copytree(folder / "tiles", folder / "synth")
    dataset = SegmentationDataset(folder / "synth")
    source = {"synthetic": True, "model_trained_on": {"fingerprint": dataset.fingerprint("train"), "num_images": 1}}
    dataset.info.source.update(source, masks_from=dataset.fingerprint("train"))
    dataset.info.write(folder / "synth")
    write_metadata(folder / "synth" / "train", [dict(pair.metadata) for pair in dataset.pairs("train")])
    write_experiment(folder)
    (folder / "empty").mkdir()
    (folder / "garbage.txt").write_bytes(np.random.default_rng(0).bytes(500))
    (folder / "dataset.json").write_text("{}")
    (folder / "folder-of-garbage").mkdir()
    for name in ("dataset.json", "isdm.json", "provenance.json", "study.yaml", "results.parquet", "metadata.jsonl"):
        (folder / "folder-of-garbage" / name).write_bytes(b"\x00garbage")
    torch.save(
        {"time_embed.0.weight": torch.zeros(8, 2), "input_blocks.0.0.weight": torch.zeros(2)}, folder / "ema.pt"
    )
    Image.new("RGB", (4, 4)).save(folder / "empty.png")


def damage_world(folder: Path, rng: random.Random) -> None:
    """Damage one file of a copy of each sound folder anew."""
    for name in ("tiles", "model", "study", "synth", "photos"):
        copy = folder / f"damaged-{name}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / name, copy)
        path = rng.choice([path for path in sorted(copy.rglob("*")) if path.is_file()])
        path.write_bytes(damaged(path.read_bytes(), path.suffix, rng))
    content = (folder / "experiment.yaml").read_bytes()
    (folder / "damaged.yaml").write_bytes(damaged(content, ".yaml", rng))


def arguments_of(rng: random.Random) -> list[str]:
    """A command whose usual arguments are changed in one to three places."""
    command = rng.choice(list(USUAL))
    arguments = ["out" if part == "OUT" else part for part in USUAL[command]]
    for _ in range(rng.choice((1, 1, 2, 3))):
        options = OPTIONS[command].split()
        kind = rng.random()
        if kind < 0.45 and arguments:
            arguments[rng.randrange(len(arguments))] = rng.choice(PATHS)
        elif kind < 0.9 and options:
            option = rng.choice(options)
            values = PATHS if option in TAKES_PATH and rng.random() < 0.7 else VALUES
            value = f"{rng.choice(SETTINGS)}={rng.choice(VALUES)}" if option == "set" else rng.choice(values)
            arguments += [f"--{option}", value]
        elif arguments:
            del arguments[rng.randrange(len(arguments))]
        else:
            arguments.append(rng.choice((*PATHS, *VALUES)))
    return [*command.split(), *(argument.replace("\x00", "") for argument in arguments)]


class BegunError(OutputError):
    """The command's real work would begin now."""


@contextlib.contextmanager
def without_work() -> Iterator[None]:
    """Stop every command where its real work begins."""
    begun = BegunError("the work begins")
    with contextlib.ExitStack() as stack:
        for place in (
            "isdm.training.run.Run.train_step",
            "isdm.training.segmentation.train_segmenter",
            "isdm.evaluation.cells.train_segmenter",
            "isdm.evaluation.tuning.train_segmenter",
            "isdm.synthesis.judges.train_segmenter",
            "isdm.synthesis.generate.paint",
            "isdm.evaluation.study.run_cells",
            "isdm.report.dataset_page._figures",
            "isdm.report.html._figures",
        ):
            stack.enter_context(mock.patch(place, side_effect=begun))
        yield


def run_command(arguments: list[str]) -> Ending:
    """Run a command in this process and this folder, as the installed script would."""
    out, error = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["isdm", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        try:
            main()
            code: int | None = 0
        except SystemExit as ending:
            code = int(ending.code or 0)
        except Exception:  # what is looked for
            code = None
            error.write(traceback.format_exc())
    return Ending(arguments, code, out.getvalue(), error.getvalue())


def case(world: Path, index: int) -> Ending:
    """Command number `index`, run in `world`."""
    rng = random.Random(f"sweep/{index}")
    damage_world(world, rng)
    shutil.rmtree(world / "out", ignore_errors=True)
    arguments = arguments_of(rng)
    with contextlib.chdir(world), without_work():
        return run_command(arguments)
