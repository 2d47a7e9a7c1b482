"""Claim: trained for the same time, a network that sees squares of 2x2 pixels paints pictures closer to real ones.

The dataset and settings of a finished run with an audit, such as a fold's; its generator against one of the same
widths with `unet.patch_size` 2, which takes more steps in the time. Both sets of pictures go through the same audit.
What is finished is kept and goes on.
    isdm run examples/magnetic-tile-folds.yaml --out runs/tiles --fold 0
    python benchmarks/patches.py runs/tiles/fold-0
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import yaml

from harness import RESULTS, alternate, machine, medians, timings
from isdm import SegmentationDataset, audit
from isdm.config import AuditConfig, TrainConfig, build, merged, with_preset
from isdm.files import read_json, write_json
from isdm.hardware import select_device, select_dtype
from isdm.models.unet import SemanticUNet
from networks import NUM_CLASSES, Setting, isdm_forward, ready, training_step
from options_downstream import painted_by

CLAIM = "Trained for the same time, a network of 2x2 patches paints pictures closer to real ones."
PLAIN, PATCHES = "plain", "patches"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="folder of a finished run with an audit")
    options.add_argument("--patch-size", type=int, default=2)
    options.add_argument("--judge-epochs", type=int, default=24)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--work", type=Path, default=Path("runs/patches"))
    options.add_argument("--out", type=Path, default=RESULTS / "patches.json")
    arguments = options.parse_args()
    settings = yaml.safe_load((arguments.run / "experiment.yaml").read_text())
    config = build(TrainConfig, with_preset(settings["train"]), where="the run")
    assert config.steps is not None, "the run says how many steps its generator is trained"
    patches = {"unet": {"patch_size": arguments.patch_size}}
    speed_file = arguments.work / "speed.json"
    if not speed_file.is_file():
        write_json(speed_file, speed(config, patches, arguments.run, arguments.rounds))
    measured = read_json(speed_file)
    more_steps = round(config.steps * measured["ratio"])
    folder = arguments.work / f"patches-of-{arguments.patch_size}"
    painted = painted_by(arguments.run, folder, patches, steps_ratio=measured["ratio"])
    audited = build(AuditConfig, merged(settings["audit"], {"epochs": arguments.judge_epochs}), where="the audit")
    real = SegmentationDataset(arguments.run / "data")
    ways = {
        PLAIN: (config.steps, SegmentationDataset(arguments.run / "synthetic")),
        PATCHES: (more_steps, painted),
    }
    result: dict[str, Any] = {"claim": CLAIM, "patch_size": arguments.patch_size, "speed": measured}
    result["generators"] = {
        name: {"steps": steps, **told(audit(audited, synthetic, real, folder / f"audit-{name}"))}
        for name, (steps, synthetic) in ways.items()
    }
    write_json(arguments.out, result | {"machine": machine()})
    print(result)


def speed(config: TrainConfig, patches: dict[str, Any], run: Path, rounds: int) -> dict[str, Any]:
    """Seconds of a training step of both networks, in turn."""
    dataset = SegmentationDataset(run / "data")
    size = dataset.load(dataset.require("train")[0])[1].shape[0]
    device = select_device(config.device)
    setting = Setting(
        config.preset, size, config.batch_size, config.unet.spade_channels, device, select_dtype("auto", device)
    )

    def step_of(change: dict[str, Any]) -> Any:
        torch.manual_seed(0)
        shape = config.unet.model_dump() | change.get("unet", {})
        unet = ready(SemanticUNet(num_classes=NUM_CLASSES, **shape), device)
        return training_step(setting, unet, isdm_forward, dtype=setting.dtype, layout=setting.layout, fused=True)

    seconds = alternate({PLAIN: step_of({}), PATCHES: step_of(patches)}, rounds)
    median = medians(seconds)
    return {**timings(seconds), "ratio": median[PLAIN] / median[PATCHES]}


def told(found: dict[str, Any]) -> dict[str, Any]:
    """What an audit says of a set of pictures."""
    fidelity = found["fidelity"]["synthetic"]
    return {
        **{name: fidelity[name] for name in ("kid", "precision", "recall", "density", "coverage")},
        "judge_iou": {name: found[f"{name}_iou"] for name in ("real", "synthetic", "shuffled")},
        "light": found["light"],
        "copying": found["copying"]["verdict"],
    }


if __name__ == "__main__":
    main()
