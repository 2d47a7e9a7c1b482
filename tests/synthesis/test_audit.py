from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isdm.config import AuditConfig, build
from isdm.data.dataset import DatasetInfo, Pair, SegmentationDataset, write_metadata, write_pair
from isdm.errors import DataError
from isdm.synthesis.audit import audit, masks_of_other_images

JUDGE: dict[str, Any] = {
    "architecture": "unet",
    "encoder": "resnet18",
    "encoder_weights": "none",
    "loss": "dice+crossentropy",
    "learning_rate": 2e-3,
    "batch_size": 8,
    "epochs": 30,
    "precision": "float32",
    "device": "cpu",
}


def pair(stem: str, source: str) -> Pair:
    return Pair(Path(f"{stem}.png"), Path(f"{stem}.png"), {"source_mask": source})


def test_shuffled_masks_stem_from_other_sources() -> None:
    pairs = [pair(str(i), f"mask{i % 5}") for i in range(23)]
    other = masks_of_other_images(pairs, seed=0)
    assert sorted(other) == list(range(23))
    assert all(pairs[i].metadata["source_mask"] != pairs[j].metadata["source_mask"] for i, j in enumerate(other))


def test_a_single_mask_cannot_be_shuffled() -> None:
    with pytest.raises(DataError, match="at least two"):
        masks_of_other_images([pair("a", "m"), pair("b", "m")], seed=0)


@pytest.mark.slow
def test_real_pairs_agree_and_foreign_images_do_not(fruit: SegmentationDataset, tmp_path: Path) -> None:
    """Copies of real pairs follow their masks; the same images with each other's masks do not."""

    def as_synthetic(name: str, roll: int) -> SegmentationDataset:
        decoded = [fruit.load(pair) for pair in fruit.pairs("train") + fruit.pairs("test")]
        decoded = [(image, mask) for image, mask in decoded if mask.any()]
        folder, lines = tmp_path / name, []
        info = DatasetInfo(name, fruit.info.classes)
        for index, (image, _) in enumerate(decoded):
            names = {"image_file_name": f"images/{index}.png", "mask_file_name": f"masks/{index}.png"}
            write_pair(folder / "train", names, image, decoded[(index + roll) % len(decoded)][1], info)
            lines.append(names | {"source_mask": str(index)})
        write_metadata(folder / "train", lines)
        info.write(folder)
        return SegmentationDataset(folder)

    config = build(AuditConfig, JUDGE)
    good = audit(config, as_synthetic("good", 0), fruit, tmp_path / "good-audit")
    bad = audit(config, as_synthetic("bad", 1), fruit, tmp_path / "bad-audit")
    assert good["synthetic_iou"] > 0.5
    assert good["shuffled_iou"] < 0.4 * good["synthetic_iou"]
    assert bad["synthetic_iou"] < 0.4 * good["synthetic_iou"]
    assert good["agreement"] == pytest.approx(good["synthetic_iou"] / good["real_iou"], rel=1e-4)
    assert np.isclose(good["real_iou"], bad["real_iou"])
    assert good["light"] == bad["light"], "the pictures are the same"
    brightness = [fruit.load(pair)[0].mean() / 255 for pair in fruit.pairs("train")]
    assert good["light"]["real"] == pytest.approx({"mean": np.mean(brightness), "spread": np.std(brightness)})
