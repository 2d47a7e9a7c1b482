from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isdm.config import AuditConfig, build
from isdm.data.dataset import DatasetInfo, Pair, SegmentationClass, SegmentationDataset, write_metadata, write_pair
from isdm.errors import DataError
from isdm.metrics.copying import ratios
from isdm.synthesis.audit import audit, masks_of_other_images
from isdm.synthesis.audit.agreement import _interval
from isdm.synthesis.audit.copying import Side, copying

JUDGE: dict[str, Any] = {
    "architecture": "unet",
    "encoder": "resnet18",
    "encoder_weights": "none",
    "loss": "dice+crossentropy",
    "learning_rate": 2e-3,
    "batch_size": 8,
    "epochs": 30,
    "augment": False,  # what it is to read here are the pictures that it was trained on
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


def test_the_interval_of_the_agreement_is_a_bootstrap_over_groups() -> None:
    """Against one that draws the groups one by one and pools their pixels."""
    rng = np.random.default_rng(0)
    counts = {side: rng.integers(0, 50, (12, 2, 3)) for side in ("real", "synthetic")}
    groups = {"real": [f"g{k // 3}" for k in range(12)], "synthetic": [f"m{k // 2}" for k in range(12)]}

    def iou(side: str) -> float:
        names = sorted(set(groups[side]))
        drawn = rng.choice(names, len(names))
        rows = [row for name in drawn for row, own in enumerate(groups[side]) if own == name]
        return float(counts[side][rows, 1, 0].sum() / counts[side][rows, 1].sum())

    ratios = [iou("synthetic") / iou("real") for _ in range(4000)]
    found = _interval(counts, groups, 1, build(AuditConfig, {"resamples": 4000}))
    assert (found["low"], found["high"]) == pytest.approx(np.quantile(ratios, (0.025, 0.975)), abs=0.02)


def side(count: int, groups: str, seed: int, images: np.ndarray | None = None) -> Side:
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 1)).astype(np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2) if images is None else images
    return Side(images, images.reshape(len(images), -1)[:, ::64].astype(np.float32), list(groups))


def test_what_decided_is_written_down() -> None:
    config = build(AuditConfig, {"significance": 0.05, "resamples": 50})
    letters = "abcdefghijklmnopqrst"
    known, unseen = side(20, letters, 0), side(20, letters.upper(), 1)
    found = copying(config, "x", known, unseen, side(20, letters, 0, known.images)).figures
    assert found["verdict"] == "copies"
    assert found["decided_by"]["test"] == "p_copies"
    assert found["decided_by"]["p"] == found[found["decided_by"]["measure"]]["p_copies"]
    assert found["pixels"]["excess_groups"] == 20
    assert copying(config, "x", known, unseen, unseen).figures["decided_by"] is None


def test_without_a_second_group_nothing_is_a_copy() -> None:
    config = build(AuditConfig, {})
    known = side(3, "aaa", 0)
    new = side(3, "xyz", 0, np.stack([known.images[0] // 2, known.images[1], known.images[2] // 3]))
    found = copying(config, "x", known, side(3, "def", 1), new)
    assert found.figures["verdict"] is None
    assert all(np.isnan(ratios(near)).all() for near in found.neighbours.values())
    assert found.worst_first()[0] == 1, "the nearest first"


def test_an_agreement_with_almost_nothing_real_has_no_upper_bound() -> None:
    real, synthetic = np.zeros((6, 2, 3), np.int64), np.full((6, 2, 3), 5)
    real[:, 1, 2] = 9  # missed everywhere, but found in one image
    real[0, 1, 0] = 9
    groups = {"real": list("abcdef"), "synthetic": list("uvwxyz")}
    found = _interval({"real": real, "synthetic": synthetic}, groups, 1, build(AuditConfig, {}))
    assert found["high"] is None
    assert found["low"] is not None


def test_no_class_of_a_scene_is_said_to_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a background, class 0 counts in the means like the others."""
    info = DatasetInfo(
        "scenes",
        tuple(SegmentationClass(k, name, (k, k, k)) for k, name in enumerate(("sky", "road"))),
        has_background=False,
    )
    names = {"image_file_name": "images/a.png", "mask_file_name": "masks/a.png"}
    write_pair(tmp_path / "data" / "train", names, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), info)
    write_metadata(tmp_path / "data" / "train", [names])
    info.write(tmp_path / "data")
    scenes = SegmentationDataset(tmp_path / "data")
    with pytest.raises(DataError, match="no validation pairs"):
        audit(build(AuditConfig, JUDGE), scenes, scenes, tmp_path / "audit")
    assert "leave out" not in capsys.readouterr().err


@pytest.mark.slow
def test_real_pairs_agree_and_foreign_images_do_not(fruit: SegmentationDataset, tmp_path: Path) -> None:
    """Copies of real pairs follow their masks; the same images with each other's masks do not."""

    def as_synthetic(name: str, roll: int) -> SegmentationDataset:
        decoded = [fruit.load(pair) for pair in [*fruit.pairs("train"), *fruit.pairs("test")]]
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
    low, high = good["agreement_interval"].values()
    assert low < good["agreement"] < high
    assert bad["agreement_interval"]["high"] < low
    assert np.isclose(good["real_iou"], bad["real_iou"])
    assert good["light"] == bad["light"], "the pictures are the same"
    brightness = [fruit.load(pair)[0].mean() / 255 for pair in fruit.pairs("train")]
    assert good["light"]["real"] == pytest.approx({"mean": np.mean(brightness), "spread": np.std(brightness)})
