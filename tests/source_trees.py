"""A small tree in the true form of every layout that is imported, made by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 40, 48
NUM_PAIRS = 6


def picture(seed: int) -> np.ndarray:
    """A noisy picture (HEIGHT, WIDTH, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def rectangle(seed: int, value: int = 1, ground: int = 0) -> np.ndarray:
    """A mask (HEIGHT, WIDTH) with one rectangle of `value`."""
    mask = np.full((HEIGHT, WIDTH), ground, np.uint8)
    top, left = np.random.default_rng(seed).integers(2, 12, 2)
    mask[top : top + 12, left : left + 16] = value
    return mask


def save(path: Path, array: np.ndarray, palette: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette is not None:
        image.putpalette(palette)
    image.save(path)


def write(path: Path, text: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")


def corners(seed: int) -> list[list[float]]:
    rows, columns = np.nonzero(rectangle(seed))
    top, bottom, left, right = (float(v) for v in (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1))
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def folders(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        save(root / "images" / f"{seed}.jpg", picture(seed))
        save(root / "masks" / f"{seed}.png", rectangle(seed, 255))


def coco(root: Path) -> None:
    annotations = []
    for seed in range(NUM_PAIRS):
        save(root / "train2017" / f"{seed:012d}.jpg", picture(seed))
        shape: Any = [[value for point in corners(seed) for value in point]]
        if seed % 3 == 1:
            encoded = coco_mask.encode(np.asfortranarray(rectangle(seed)))
            shape = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        if seed % 3 == 2:
            flat = rectangle(seed).ravel(order="F")
            edges = np.flatnonzero(np.diff(flat)) + 1
            shape = {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *edges, flat.size]).tolist()}
        entry = {"id": seed + 1, "image_id": seed, "category_id": 1 + seed % 2 * 17, "segmentation": shape}
        annotations.append(entry | {"area": 192.0, "bbox": [0, 0, 9, 9], "iscrowd": int(seed % 3 == 2)})
    images = [
        {
            "id": seed,
            "file_name": f"{seed:012d}.jpg",
            "height": HEIGHT,
            "width": WIDTH,
            "license": 3,
            "flickr_url": "",
        }
        for seed in range(NUM_PAIRS)
    ]
    categories = [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 18, "name": "dog"}]
    whole = {"info": {"year": 2017}, "licenses": [{"id": 1}, {"id": 3}], "images": images}
    write(
        root / "annotations/instances_train2017.json", whole | {"annotations": annotations, "categories": categories}
    )


def voc(root: Path) -> None:
    palette = [(index * 37) % 256 for index in range(768)]
    for channel, shift in ((0, 7), (1, 7), (2, 7)):  # VOC's own colour map, bit by bit
        for index in range(256):
            bits, value = index, 0
            for step in range(8):
                value |= (bits >> channel & 1) << (shift - step)
                bits >>= 3
            palette[3 * index + channel] = value
    for seed in range(NUM_PAIRS):
        mask = rectangle(seed, 1 + seed)
        mask[0] = 255
        save(root / "VOCdevkit/VOC2012/JPEGImages" / f"2007_{seed:06d}.jpg", picture(seed))
        save(root / "VOCdevkit/VOC2012/SegmentationClass" / f"2007_{seed:06d}.png", mask, palette)
        save(root / "VOCdevkit/VOC2012/SegmentationObject" / f"2007_{seed:06d}.png", mask, palette)
    lists = root / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    stems = [f"2007_{seed:06d}\n" for seed in range(NUM_PAIRS)]
    write(lists / "train.txt", "".join(stems[:4]))
    write(lists / "val.txt", "".join(stems[4:]))
    write(lists / "trainval.txt", "".join(stems))


def cityscapes(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        split, name = ("train", "val")[seed // 4], f"aachen_{seed:06d}_000019"
        save(root / "leftImg8bit" / split / "aachen" / f"{name}_leftImg8bit.png", picture(seed))
        for kind, ground in (("labelIds", 7), ("instanceIds", 7), ("color", 9)):
            save(root / "gtFine" / split / "aachen" / f"{name}_gtFine_{kind}.png", rectangle(seed, 26, ground))
        write(root / "gtFine" / split / "aachen" / f"{name}_gtFine_polygons.json", {"objects": []})


def ade20k(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        split, short = (("training", "train"), ("validation", "val"))[seed // 4]
        save(root / "images" / split / f"ADE_{short}_{seed:08d}.jpg", picture(seed))
        save(root / "annotations" / split / f"ADE_{short}_{seed:08d}.png", rectangle(seed, 1 + 20 * seed))


def celebamask_hq(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        large = np.asarray(Image.fromarray(picture(seed)).resize((2 * WIDTH, 2 * HEIGHT)))
        save(root / "CelebA-HQ-img" / f"{seed}.jpg", large)
        for part, shift in (("skin", 0), ("hair", 50)):
            mask = np.repeat(rectangle(seed + shift, 255)[:, :, None], 3, axis=2)
            save(root / "CelebAMask-HQ-mask-anno/0" / f"{seed:05d}_{part}.png", mask)


def coco_stuff(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        split = ("train2017", "val2017")[seed // 4]
        save(root / "images" / split / f"{seed:012d}.jpg", picture(seed))
        save(root / "stuffthingmaps_trainval2017" / split / f"{seed:012d}.png", rectangle(seed, 100 + seed, 255))


def mvtec_ad(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        save(root / "train/good" / f"{seed:03d}.png", picture(100 + seed))
        kind = ("crack", "scratch")[seed % 2]
        save(root / "test" / kind / f"{seed:03d}.png", picture(seed))
        save(root / "ground_truth" / kind / f"{seed:03d}_mask.png", rectangle(seed, 255))


def magnetic_tile(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        folder = root / ("MT_Crack", "MT_Fray")[seed % 2] / "Imgs"
        save(folder / f"exp1_num_{1000 * (seed + 1)}.jpg", picture(seed)[:, :, 0])
        save(folder / f"exp1_num_{1000 * (seed + 1)}.png", rectangle(seed, 255))


def labelme(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        save(root / f"{seed}.jpg", picture(seed))
        shape = {"label": "dent", "points": corners(seed), "group_id": None, "shape_type": "polygon", "flags": {}}
        heading = {"version": "5.2.1", "flags": {}, "imagePath": f"{seed}.jpg", "imageData": None}
        write(root / f"{seed}.json", heading | {"shapes": [shape], "imageHeight": HEIGHT, "imageWidth": WIDTH})


def cvat(root: Path) -> None:
    images = []
    for seed in range(NUM_PAIRS):
        save(root / "images" / f"{seed}.jpg", picture(seed))
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in corners(seed))
        images.append(
            f'<image id="{seed}" name="{seed}.jpg" width="{WIDTH}" height="{HEIGHT}">'
            f'<polygon label="dent" source="manual" occluded="0" points="{points}" z_order="0"></polygon></image>'
        )
    labels = "<labels><label><name>dent</name><color>#ff0000</color><attributes></attributes></label></labels>"
    meta = f"<meta><task><id>1</id>{labels}</task></meta>"
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>'
    write(root / "annotations.xml", f"{head}{meta}{''.join(images)}</annotations>")


def label_studio(root: Path) -> None:
    tasks = []
    for seed in range(NUM_PAIRS):
        save(root / "images" / f"3fa85f64-{seed}.jpg", picture(seed))
        points = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in corners(seed)]
        region = {"id": "x", "type": "polygonlabels", "from_name": "label", "to_name": "image"}
        region |= {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
        region |= {"value": {"points": points, "closed": True, "polygonlabels": ["dent"]}}
        annotation = {"id": seed, "result": [region], "was_cancelled": False}
        image = f"/data/upload/1/3fa85f64-{seed}.jpg"
        tasks.append({"id": seed, "annotations": [annotation], "predictions": [], "data": {"image": image}})
    write(root / "project-1-at-2024-01-01.json", tasks)


def yolo(root: Path) -> None:
    for seed in range(NUM_PAIRS):
        split = ("train", "val")[seed // 4]
        save(root / "images" / split / f"{seed}.jpg", picture(seed))
        points = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in corners(seed))
        write(root / "labels" / split / f"{seed}.txt", f"0 {points}\n")
    write(root / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnc: 1\nnames: [dent]\n")


TREES: dict[str, Callable[[Path], None]] = {
    "folders": folders,
    "coco": coco,
    "voc": voc,
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "celebamask-hq": celebamask_hq,
    "coco-stuff": coco_stuff,
    "mvtec-ad": mvtec_ad,
    "magnetic-tile": magnetic_tile,
    "labelme": labelme,
    "cvat": cvat,
    "label-studio": label_studio,
    "yolo": yolo,
}
