"""Everything that reads a stranger's files, with a small valid tree to begin from.

Each target writes its seed into an empty folder and reads it from there; a reader returns, or raises an `IsdmError`.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from safetensors.torch import save_file

import coco_trees
import label_studio_trees
import labelme_trees
import yolo_trees
from isdm import provenance
from isdm.cli.experiment import read_experiment
from isdm.config import DataConfig, EvaluateConfig, TrainConfig, build, parse_settings, read_yaml, with_preset
from isdm.data.archives import opened_source
from isdm.data.dataset import SPLITS, DatasetInfo, SegmentationClass, SegmentationDataset, write_metadata, write_pair
from isdm.data.image_files import image_header, read_picture
from isdm.data.layouts import read_source
from isdm.data.mask_rules.decoding import holds_planes, read_raw
from isdm.data.mask_rules.planes import fold
from isdm.evaluation.cells import read_cell
from isdm.files import read_json_lines
from isdm.model_info import ModelInfo, training_scheduler
from isdm.models.published import load_published_state
from isdm.models.state_files import UnreadableStateError, load_plain_tensors, load_weights
from isdm.models.unet import SemanticUNet
from isdm.pipeline import SemanticDiffusionPipeline
from isdm.report.study_files import read_results, read_study
from isdm.training import checkpoint
from studies import write_study


@dataclass(frozen=True)
class Target:
    """A reader and what it reads."""

    write: Callable[[Path], object]
    """Writes a valid tree into an empty folder."""
    read: Callable[[Path], object]
    """Reads the folder."""
    weight: float = 1.0
    """Share of the inputs, relative to the others'."""
    spare: tuple[str, ...] = ()
    """Endings of files that are left as they are."""
    alone: bool = False
    """The damaged file is read without the others."""


CLASSES = (SegmentationClass(0, "background", (0, 0, 0)), SegmentationClass(1, "crack", (230, 159, 0)))
HEIGHT, WIDTH = 12, 16
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels><label><name>scratch</name><color>#ff6037</color></label>
<label><name>dent</name></label></labels></task></meta>
<image id="0" name="a.png" subset="Train" width="16" height="12">
<polygon label="scratch" points="1.0,1.0;9.0,1.0;9.0,8.0" z_order="0"></polygon>
<box label="dent" xtl="2" ytl="2" xbr="6" ybr="7" rotation="30" z_order="1"></box>
<ellipse label="dent" cx="6" cy="6" rx="2" ry="3"></ellipse>
<mask label="scratch" rle="3, 2, 3" left="2" top="3" width="4" height="2" z_order="0"></mask></image></annotations>
"""
EXPERIMENT = {
    "name": "tiles",
    "seed": 0,
    "data": {"source": "photos", "size": "32x48", "test": 0.2, "merge": {"defect": ["crack", "fray"]}},
    "train": {"preset": "tiny", "max_time": "1h", "unet": {"base_channels": 32}},
    "finetune": {"drop_rate": 0.2},
    "sample": {"num_samples": 10, "sampler": "dpmsolver++", "steps": 20, "guidance_interval": [0, 1000]},
    "select": {"best_of": 2},
    "evaluate": {"synthetic_counts": [0, "equal"], "primary": {"synthetic": "equal"}},
}


def picture(seed: int, *shape: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape or (HEIGHT, WIDTH, 3), np.uint8))


def striped() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[3:8, 2:9] = 1
    return mask


def write_masks(folder: Path) -> None:
    mask = striped()
    paletted = Image.fromarray(mask)
    paletted.putpalette([0, 0, 0, 230, 159, 0])
    paletted.save(folder / "palette.png", transparency=0)
    Image.fromarray(mask * 255).save(folder / "grey.png")
    Image.fromarray(mask.astype(np.uint16) * 900).save(folder / "wide.png")
    picture(1, HEIGHT, WIDTH, 4).save(folder / "alpha.png")
    for name in ("a.jpg", "a.bmp", "a.webp", "a.tif"):
        picture(2).save(folder / name)
    Image.fromarray(mask).save(folder / "pages.tif", save_all=True, append_images=[Image.fromarray(1 - mask)])
    np.save(folder / "ids.npy", mask.astype(np.int64))
    np.save(folder / "planes.npy", np.stack([mask, 1 - mask], axis=2).astype(bool))


def read_masks(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if holds_planes(path):
            fold(path)
            continue
        if path.suffix != ".npy":
            image_header(path)
            read_picture(path)
        read_raw(path)


def from_source(**options: Any) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        _, source = read_source(DataConfig(source=folder, **options))
        for pair in source.pairs:
            pair.load_mask()

    return read


def write_coco(folder: Path) -> None:
    cross = np.eye(coco_trees.HEIGHT, coco_trees.WIDTH, dtype=np.uint8)
    text = coco_mask.encode(np.asfortranarray(cross))["counts"]
    rle = {
        "size": [coco_trees.HEIGHT, coco_trees.WIDTH],
        "counts": [5, 20, coco_trees.HEIGHT * coco_trees.WIDTH - 25],
    }
    shapes = [
        coco_trees.annotation(1, 1, 7, [coco_trees.SQUARE, coco_trees.INNER]),
        coco_trees.annotation(2, 1, 3, rle, iscrowd=1),
        coco_trees.annotation(3, 1, 3, rle | {"counts": text.decode()}),
    ]
    coco_trees.one_image_tree(folder, shapes)


def write_labelme(folder: Path) -> None:
    square, points = labelme_trees.SQUARE, [[10.0, 5.0], [20.0, 15.0]]
    bitmap = labelme_trees.png(np.eye(11) * 255)
    labelme_trees.save_annotated(
        folder,
        "a",
        labelme_trees.shape("dent", square),
        labelme_trees.shape("dent", points, "rectangle"),
        labelme_trees.shape("rust", points, "circle"),
        labelme_trees.shape("rust", points, "line"),
        labelme_trees.shape("rust", [[10.0, 5.0], [20.0, 15.0]], "mask", mask=bitmap),
    )


def write_cvat(folder: Path) -> None:
    (folder / "images").mkdir()
    picture(3).save(folder / "images" / "a.png")
    (folder / "annotations.xml").write_text(CVAT)


def write_voc(folder: Path) -> None:
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    picture(4).save(folder / "JPEGImages" / "a.jpg")
    colours = np.array([[0, 0, 0], [10, 20, 30]], np.uint8)
    Image.fromarray(colours[striped()]).save(folder / "SegmentationClass" / "a.png")
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nscratch:10,20,30::\n")


def write_yolo(folder: Path) -> None:
    texts: dict[str, str | None] = {"images/train/a.jpg": yolo_trees.SQUARE, "images/val/b.jpg": None}
    yolo_trees.save_outlined(folder, texts, yolo_trees.ULTRALYTICS)


def write_label_studio(folder: Path) -> None:
    block = np.zeros((40, 60), np.int64)
    block[10:12, 5:50] = 1
    box = label_studio_trees.box("dent", 5, 5, 10, 10, 30)
    brush = label_studio_trees.brush("dent", label_studio_trees.encoded(block))
    shapes = label_studio_trees.annotation(label_studio_trees.SQUARE, box, brush)
    label_studio_trees.save_tasks(folder, label_studio_trees.task("/data/upload/1/a.jpg", shapes))


def write_folders(folder: Path) -> None:
    for part, image in (("images", picture(5)), ("masks", Image.fromarray(striped()))):
        (folder / part).mkdir()
        image.save(folder / part / "a.png")
    (folder / "classes.txt").write_text("background #000000\ncrack #e69f00\n")


def write_dataset(folder: Path) -> None:
    info = DatasetInfo("tiles", CLASSES, source={"notes": ["by hand"]})
    names = {"image_file_name": "images/a.png", "mask_file_name": "masks/a.png"}
    write_pair(folder / "train", names, np.asarray(picture(6)), striped(), info)
    write_metadata(folder / "train", [names | {"group": "a", "scores": {"agreement": 0.5}, "kept": True}])
    info.write(folder)
    provenance.Provenance("data import", {"seed": 0}, {"source": "x"}, finished=True).write(folder)


def read_dataset(folder: Path) -> None:
    dataset = SegmentationDataset(folder)
    for split in SPLITS:
        for pair in dataset.pairs(split):
            dataset.load(pair)
        dataset.fingerprint(split)
    lines = [dict(pair.metadata) for pair in dataset.pairs("train")]  # what is read must be possible to write again
    json.dumps([lines, asdict(dataset.info)], ensure_ascii=False, allow_nan=False).encode()


def write_options(folder: Path) -> None:
    (folder / "train.yaml").write_text(yaml.safe_dump(EXPERIMENT["train"]))
    (folder / "settings.json").write_text(json.dumps(["repeats=3", "primary.synthetic=equal", "architectures=[fpn]"]))


def read_options(folder: Path) -> None:
    build(TrainConfig, with_preset(read_yaml(folder / "train.yaml")))
    try:
        settings = json.loads((folder / "settings.json").read_text())
    except (ValueError, RecursionError):
        return
    if isinstance(settings, list) and all(isinstance(one, str) for one in settings):
        build(EvaluateConfig, parse_settings(settings))


def write_experiment(folder: Path) -> None:
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))


def write_model(folder: Path) -> None:
    unet = SemanticUNet(base_channels=8, norm_groups=4, channel_multipliers=(1,), num_res_blocks=1, spade_channels=8)
    pipeline = SemanticDiffusionPipeline(unet, training_scheduler(1000))
    pipeline.info = ModelInfo(CLASSES, channels=3, image_size=(8, 8), drop_rate=0.1)
    pipeline.save_pretrained(folder)


def write_weights(folder: Path) -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}
    save_file(weights, folder / "a.safetensors")
    torch.save({"state_dict": weights, "epoch": 3}, folder / "a.pt")


def write_states(folder: Path) -> None:
    tensors = {"time_embed.0.weight": torch.zeros(32, 8), "input_blocks.0.0.weight": torch.zeros(8, 3, 3, 3)}
    torch.save(tensors, folder / "ema.pt")
    optimizer = torch.optim.AdamW([torch.zeros(2, requires_grad=True)])
    checkpoint.write_state(folder, {"a": torch.zeros(2)}, {"a": torch.zeros(2)}, optimizer, checkpoint.Counters())


def read_weights(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        try:
            load_weights(path)
            load_plain_tensors(path)
        except UnreadableStateError:
            continue


def read_states(folder: Path) -> None:
    checkpoint.read_state(folder)
    load_published_state(folder / "ema.pt")


def write_cells(folder: Path) -> None:
    write_study(folder)
    cell = {"row": {}, "validation_iou": 0.5, "num_steps": 3, "train_seconds": 1.0, "images": ["a"], "groups": ["a"]}
    cell["counts"] = {name: [[5, 1]] for name in ("tp", "fp", "fn")}
    (folder / "cell.json").write_text(json.dumps(cell))


def read_study_files(folder: Path) -> None:
    read_study(folder / "study.yaml")
    table = read_results(folder / "results.parquet")
    assert isinstance(table, pl.DataFrame)
    read_cell(folder / "cell.json")


def write_archives(folder: Path) -> None:
    content = io.BytesIO()
    picture(7).save(content, "PNG")
    with zipfile.ZipFile(folder / "a.zip", "w") as packed:
        packed.writestr("images/a.png", content.getvalue())
        packed.writestr("masks/a.png", content.getvalue())
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("images/a.png")
        member.size = len(content.getvalue())
        tar.addfile(member, io.BytesIO(content.getvalue()))


def read_archives(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        with ExitStack() as stack:
            opened = opened_source(path, folder / "out" / "data", stack).folder
            assert opened.resolve().is_relative_to(folder.resolve())


def write_records(folder: Path) -> None:
    provenance.Provenance("train", {"seed": 0, "unet": {"a": 1}}, {"train split": "x"}).write(folder)
    (folder / "lines.jsonl").write_text('{"a": 1}\n{"b": [1.5]}\n')


def read_records(folder: Path) -> None:
    read_json_lines(folder / "lines.jsonl")
    read_json_lines(folder / "lines.jsonl", tolerate_cut_tail=True)
    provenance.check(folder, "train", {"seed": 0, "unet": {"a": 1}}, {"train split": "x"})


_PICTURES = (".jpg", ".png", ".bmp")

# Fast readers take more of the inputs than those that look through whole folders.
TARGETS: Mapping[str, Target] = {
    "masks and images": Target(write_masks, read_masks, 20, alone=True),
    "plain folders": Target(write_folders, from_source(layout="folders"), 1),
    "COCO": Target(write_coco, from_source(layout="coco"), 1.5, _PICTURES),
    "LabelMe": Target(write_labelme, from_source(layout="labelme"), 1.5, _PICTURES),
    "CVAT": Target(write_cvat, from_source(layout="cvat"), 1.5, _PICTURES),
    "Pascal VOC": Target(write_voc, from_source(layout="voc"), 0.5),
    "YOLO": Target(write_yolo, from_source(layout="yolo"), 1.5, _PICTURES),
    "Label Studio": Target(write_label_studio, from_source(layout="label-studio"), 1.5, _PICTURES),
    "layout told by itself": Target(write_label_studio, from_source(), 0.25, _PICTURES),
    "dataset": Target(write_dataset, read_dataset, 2),
    "options": Target(write_options, read_options, 2),
    "experiment": Target(write_experiment, lambda folder: read_experiment(folder / "experiment.yaml"), 1.5),
    "model folder": Target(write_model, SemanticDiffusionPipeline.from_pretrained, 0.3),
    "weights": Target(write_weights, read_weights, 22, alone=True),
    "states": Target(write_states, read_states, 10),
    "study": Target(write_cells, read_study_files, 0.5),
    "archives": Target(write_archives, read_archives, 11, alone=True),
    "records": Target(write_records, read_records, 21),
}
