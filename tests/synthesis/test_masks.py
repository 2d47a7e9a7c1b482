import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from isdm.config import SampleConfig, build
from isdm.data.dataset import IGNORE_INDEX, DatasetInfo, SegmentationClass, SegmentationDataset
from isdm.data.decoding import load_masks
from isdm.errors import DataError
from isdm.synthesis.masks import DrawnMask, TrainingMasks, known, mask_source, source_index
from isdm.synthesis.masks.balance import FILE_NAME, balanced_plan
from isdm.synthesis.masks.drawn import objects_of
from isdm.synthesis.masks.known import KnownMasks
from isdm.synthesis.masks.layout import Layout
from isdm.synthesis.masks.measure import auc, classifier_auc, mask_statistics
from isdm.synthesis.masks.novelty import most_alike

Masks = NDArray[np.uint8]


def info(*names: str, background: bool = True) -> DatasetInfo:
    classes = tuple(SegmentationClass(k, name, (k, k, k)) for k, name in enumerate(names))
    return DatasetInfo("test", classes, has_background=background)


PARTS = info("background", "part", "scratch")


def parts(count: int = 12, size: int = 48) -> Masks:
    """A round part with scratches on it, at another place in each picture."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:size, 0:size]
    masks = np.zeros((count, size, size), np.uint8)
    for mask in masks:
        y, x = rng.integers(20, size - 20, 2)
        mask[(rows - y) ** 2 + (columns - x) ** 2 < 17**2] = 1
        top, left = y + rng.integers(-9, 3), x + rng.integers(-9, 3)
        mask[top : top + rng.integers(2, 6), left : left + rng.integers(3, 9)] = 2
    return masks


def training(masks: Masks, classes: DatasetInfo = PARTS, instances: Any = None) -> TrainingMasks:
    names = [str(k) for k in range(len(masks))]
    return TrainingMasks(masks, instances, names, names, classes)


def drawn(
    kind: str, given: TrainingMasks, count: int, folder: Path = Path("unused"), **options: Any
) -> list[DrawnMask]:
    source = mask_source(build(SampleConfig, {"masks": kind, **options}), given, folder)
    return [source(index) for index in range(count)]


def is_on(mask: Masks, child: int, host: int) -> bool:
    """Whether what surrounds a class is its host, but for a pixel here and there."""
    of_class = mask == child
    ring = mask[ndimage.binary_dilation(of_class, np.ones((3, 3))) & ~of_class]
    return bool((ring == host).mean() > 0.8)


def test_real_masks_are_taken_in_turn() -> None:
    masks = parts()
    found = drawn("real", training(masks), 24)
    assert all(np.array_equal(x.mask, masks[x.sources[0]]) for x in found)
    assert [x.sources[0] for x in found] == [source_index(0, k, 12) for k in range(24)]
    assert sorted(x.sources[0] for x in found[:12]) == list(range(12))


def test_the_hosts_are_read_off_the_masks() -> None:
    layout = Layout.of(parts(), None, PARTS)
    assert layout.hosts == {1: 0, 2: 1}
    with pytest.raises(DataError, match="no objects on something"):
        Layout.of(parts(), None, info("sky", "part", "scratch", background=False)).require_objects(PARTS)
    loose = parts()
    loose[::2, :5, :5] = 2
    with pytest.raises(DataError, match="scratch"):
        Layout.of(loose, None, PARTS).require_objects(PARTS)
    with pytest.raises(DataError, match="shows an object"):
        Layout.of(np.zeros_like(loose), None, PARTS).require_objects(PARTS)


@pytest.mark.parametrize("kind", ["augmented", "generated"])
def test_new_masks_are_plausible_and_depend_on_their_number_alone(kind: str) -> None:
    masks = parts()
    found = drawn(kind, training(masks), 40)
    again = mask_source(build(SampleConfig, {"masks": kind}), training(masks), Path("unused"))
    assert np.array_equal(again(17).mask, found[17].mask)
    assert len({x.mask.tobytes() for x in found}) == 40
    assert all(set(np.unique(x.mask)) <= {0, 1, 2} for x in found)
    with_scratch = [x.mask for x in found if (x.mask == 2).any()]
    assert len(with_scratch) > 30
    assert np.mean([is_on(mask, 2, 1) for mask in with_scratch]) > 0.9
    real, new = ([np.mean(m == k) for m in side] for side in (masks, [x.mask for x in found]) for k in (1,))
    assert np.mean(new) == pytest.approx(np.mean(real), rel=0.3)


def test_what_lies_on_a_class_does_not_surround_it() -> None:
    masks = np.zeros((3, 48, 48), np.uint8)
    masks[:, 10:38, 10:38] = 1
    masks[:, 14:34, 14:34] = 2
    assert Layout.of(masks, None, PARTS).hosts == {1: 0, 2: 1}


def test_an_added_object_gets_an_id_of_its_own_and_a_moved_one_leaves_no_border() -> None:
    masks = parts()
    instances = np.where(masks == 2, 65535, masks.astype(np.uint16)).astype(np.uint16)
    for x in drawn("augmented", training(masks, instances=instances), 40):
        assert x.instances is not None
        assert set(np.unique(x.instances[x.mask == 1])) <= {1}  # the part stays one thing
        added = np.setdiff1d(x.instances[x.mask == 2], [65535])
        assert len(added) <= (len(x.sources) > 1)


def test_numbers_beyond_the_balance_find_other_masks(tmp_path: Path) -> None:
    masks = (uneven() == 1).astype(np.uint8)
    classes = info("background", "defect")
    options = build(SampleConfig, {"balance": "objects", "num_samples": 20})
    source = mask_source(options, training(masks, classes), tmp_path)
    for number in range(20):
        assert any(source(number + 20 * attempt).mask.any() for attempt in range(20))


def test_augmented_masks_move_and_combine_objects() -> None:
    masks = parts()
    found = drawn("augmented", training(masks), 60)
    combined = [x for x in found if len(x.sources) > 1]
    assert 5 < len(combined) < 50
    counts = [[sum(o.class_id == 2 for o in objects_of(x.mask, None, 1)) for x in side] for side in (combined, found)]
    assert np.mean(counts[0]) > 1.3
    assert min(x.sources[0] for x in found) == 0


def test_augmented_objects_are_neither_cut_nor_lost() -> None:
    """Small objects close to the frame stay whole; what is ignored around a padded picture stays ignored."""
    masks = np.zeros((6, 48, 48), np.uint8)
    for place, mask in enumerate(masks):
        mask[2 + place : 5 + place, 40:45] = 1 + place % 2
    classes = info("background", "blowhole", "crack")
    for x in drawn("augmented", training(masks, classes), 60):
        frame = np.concatenate([x.mask[0], x.mask[-1], x.mask[:, 0], x.mask[:, -1]])
        assert not frame.any()
        assert set(np.unique(x.mask)) >= set(np.unique(masks[x.sources[0]]))
    padded = np.full((3, 48, 48), IGNORE_INDEX, np.uint8)
    padded[:, 8:40, 8:40] = 0
    padded[:, 20:28, 20:28] = 1
    for x in drawn("augmented", training(padded, classes), 20):
        assert (x.mask[[0, -1]] == IGNORE_INDEX).mean() > 0.6
        assert (x.mask[[0, 0, -1, -1], [0, -1, 0, -1]] == IGNORE_INDEX).all()


def test_augmented_scenes_are_not_torn() -> None:
    """Without a background nothing is moved apart, what is upright stays so, and nothing comes in from outside."""
    scene = np.zeros((3, 40, 40), np.uint8)
    scene[:, 20:] = 1
    classes = info("sky", "ground", background=False)
    for x in drawn("augmented", training(scene, classes), 20):
        assert set(np.unique(x.mask)) == {0, 1}
        assert len(x.sources) == 1
        assert 0.2 < (x.mask == 1).mean() < 0.8
        assert (x.mask == x.mask[:, :1]).all()
        assert (np.diff(x.mask[:, 0].astype(int)) >= 0).all()


def test_instances_follow_their_masks() -> None:
    masks = parts()
    instances = (masks * 7).astype(np.uint16)
    for kind in ("real", "augmented", "generated"):
        for x in drawn(kind, training(masks, instances=instances), 15):
            assert x.instances is not None
            assert x.instances.shape == x.mask.shape
            for thing in objects_of(x.mask, None, 1):
                assert len(np.unique(x.instances[thing.box][thing.shape])) <= 2
            if kind == "generated":
                assert ((x.instances == 0) == (x.mask == 0)).all()


def test_generated_masks_are_new_valid_and_clean(fruit: SegmentationDataset) -> None:
    masks = load_masks(fruit, fruit.pairs("train"))
    found = [x.mask for x in drawn("generated", training(masks, fruit.info), 60)]
    shown = [mask for mask in found if mask.any()]
    assert len(shown) / len(found) == pytest.approx(np.mean([mask.any() for mask in masks]), abs=0.05)
    assert np.mean([most_alike(mask, masks, 1) < 0.9 for mask in shown]) > 0.9
    real = [o.area for mask in masks for o in objects_of(mask, None, 1)]
    new = [o.area for mask in found for o in objects_of(mask, None, 1)]
    assert np.median(new) == pytest.approx(np.median(real), rel=0.6)
    assert all(x.sources == () for x in drawn("generated", training(masks, fruit.info), 3))


def test_likeness_is_the_best_iou_under_shifts_and_mirroring() -> None:
    rng = np.random.default_rng(0)
    masks = (ndimage.gaussian_filter(rng.normal(size=(5, 24, 24)), (0, 3, 3)) > 0.08).astype(np.uint8)
    masks[:, :4] = masks[:, -4:] = masks[:, :, :4] = masks[:, :, -4:] = 0
    shifted = np.roll(masks[2][:, ::-1], (2, -3), axis=(0, 1))
    assert most_alike(shifted, masks, 1) == pytest.approx(1)
    smaller = ndimage.binary_erosion(masks[2]).astype(np.uint8)
    best = 0.0
    for view in (smaller, smaller[::-1], smaller[:, ::-1], smaller[::-1, ::-1]):
        for y in range(-23, 24):
            for x in range(-23, 24):
                moved = np.zeros((72, 72), bool)
                moved[24 + y : 48 + y, 24 + x : 48 + x] = view > 0
                for mask in masks:
                    other = np.zeros((72, 72), bool)
                    other[24:48, 24:48] = mask > 0
                    best = max(best, (moved & other).sum() / (moved | other).sum())
    found = most_alike(smaller, masks, 1)
    assert found == pytest.approx(best, abs=1e-3) if best >= 0.9 else found < 0.9
    assert [most_alike(np.zeros((24, 24), np.uint8), m, 1) for m in (masks[:3], masks)] == [0, 1]


@pytest.mark.parametrize("most_overlaps", [known.MOST_OVERLAPS, 2])
def test_a_mask_is_known_exactly_where_its_likeness_says_so(
    monkeypatch: pytest.MonkeyPatch, most_overlaps: int
) -> None:
    """Masks about as like as the bound, moved and mirrored, of one class and of several; too many specks as well."""
    monkeypatch.setattr(known, "MOST_OVERLAPS", most_overlaps)
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=(12, 30, 26)), (0, 3, 3))
    masks = np.digitize(noise, (0.02, 0.1)).astype(np.uint8)
    masks[:, :4] = masks[:, -4:] = masks[:, :, :4] = masks[:, :, -4:] = 0
    masks[0, 10:14, 10:14] = IGNORE_INDEX
    masks[1] = rng.integers(0, 2, masks[1].shape)
    found = []
    for trial in range(150):
        mask = masks[trial % 12].copy()
        changed = rng.random(mask.shape) < rng.uniform(0, 0.12)
        mask[changed] = rng.integers(0, 3, changed.sum())
        mask = np.roll(mask[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])], rng.integers(-3, 4, 2), axis=(0, 1))
        expected = most_alike(mask, masks, 1) >= 0.9
        assert KnownMasks.of(masks, 1).has_like(mask) == expected
        found.append(expected)
    assert 30 < sum(found) < 120
    stripes = np.zeros((2, 30, 130), np.uint8)  # bars in the same place, whose stripes agree four pixels further on
    pattern = rng.integers(1, 3, 26).repeat(4)
    stripes[0, 10:14, 10:110], stripes[1, 10:14, 10:110] = pattern[:100], pattern[4:]
    assert KnownMasks.of(stripes[:1], 1).has_like(stripes[1])
    nothing = np.zeros((30, 26), np.uint8)
    assert [KnownMasks.of(m, 1).has_like(nothing) for m in (masks, np.stack([masks[2], nothing]))] == [False, True]


def test_the_classifier_finds_what_differs_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    same = [classifier_auc(rng.normal(size=(80, 6)), rng.normal(size=(90, 6)), seed=k) for k in range(8)]
    assert np.mean(same) == pytest.approx(0.5, abs=0.08)
    assert classifier_auc(rng.normal(size=(80, 6)), rng.normal(size=(90, 6)) + 1.5) > 0.9
    assert classifier_auc(rng.normal(size=(80, 1)), 3 * rng.normal(size=(90, 1))) > 0.7  # by its square
    assert auc(np.array([1.0, 2, 3]), np.array([0.0, 2])) == pytest.approx((1 + 1 + 1 + 0 + 0.5 + 1) / 6)


def test_statistics_of_a_mask() -> None:
    mask = np.zeros((1, 10, 20), np.uint8)
    mask[0, 2:4, 4:8] = 2
    mask[0, 8, 10] = 2
    values = mask_statistics(mask, PARTS)[0].reshape(2, 7)
    assert values[0].tolist() == [0, -4, 0, 0, 0.5, 0.5, 0]
    assert values[1, 0] == pytest.approx(9 / 200)
    assert values[1, 2] == 2
    assert values[1, 3] == pytest.approx(np.log10(5.5))
    assert values[1, 4] == pytest.approx((4 * 2 + 4 * 3 + 8) / 9 / 10)


def uneven() -> Masks:
    """Class 1 is frequent, class 2 rare, some pictures are empty."""
    masks = np.zeros((10, 16, 16), np.uint8)
    masks[:6, 2:10, 2:10] = 1
    masks[6, 3:6, 3:6] = 2
    masks[7, 3:5, 3:9] = 2
    return masks


@pytest.mark.parametrize("by", ["pixels", "objects"])
def test_classes_become_even(by: str, tmp_path: Path) -> None:
    masks = uneven()
    config = build(SampleConfig, {"balance": by, "num_samples": 200})
    plan = balanced_plan(config, masks, None, PARTS, 200, tmp_path)
    together = np.concatenate([masks, masks[plan]])
    counts = [
        sum(
            (m == k).sum() if by == "pixels" else sum(o.class_id == k for o in objects_of(m, None, 1))
            for m in together
        )
        for k in (1, 2)
    ]
    assert min(counts) / max(counts) > 0.9
    record = (tmp_path / FILE_NAME).read_text()
    assert '"met": true' in record
    taken = np.bincount(plan, minlength=10)
    assert taken[[6, 7]].min() > 40
    assert abs(taken[6] - taken[7]) <= 2, "both rare masks take their turns"
    assert taken[[8, 9]].max() == 0  # nothing to balance with


@pytest.mark.parametrize("kind", ["augmented", "generated"])
@pytest.mark.parametrize("by", ["pixels", "objects"])
def test_what_new_masks_really_show_becomes_even(kind: str, by: str, tmp_path: Path) -> None:
    masks = np.zeros((12, 48, 48), np.uint8)
    masks[:10, 10:22, 10:22] = 1  # large and frequent
    masks[4:, 30:34, 28:34] = 2  # small, on most pictures
    found = drawn(kind, training(masks), 120, tmp_path, balance=by, num_samples=120)
    together = [*masks, *(x.mask for x in found)]
    counts = [
        sum(
            int((m == k).sum()) if by == "pixels" else sum(o.class_id == k for o in objects_of(m, None, 1))
            for m in together
        )
        for k in (1, 2)
    ]
    record = json.loads((tmp_path / FILE_NAME).read_text())
    assert [record["after"][name] for name in ("part", "scratch")] == counts, "what is told is what is there"
    assert record["met"]
    assert min(counts) / max(counts) >= 0.9


def test_pictures_with_and_without_a_single_class_become_even(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    binary = info("background", "defect")
    masks = (uneven() == 1).astype(np.uint8)
    masks[0] = 0
    masks[1] = 0  # four with, six without
    config = build(SampleConfig, {"balance": "objects", "num_samples": 30, "masks": "augmented"})
    found = drawn("augmented", training(masks, binary), 30, tmp_path, balance="objects", num_samples=30)
    taken = [bool(masks[x.sources[0]].any()) for x in found]
    assert abs((4 + sum(taken)) - (6 + 30 - sum(taken))) <= 2
    assert "Balance by objects: the rarest has 0.67" in capsys.readouterr().err
    few = balanced_plan(config, masks, None, binary, 1, tmp_path)
    assert masks[few[0]].any()
    assert "sample more" in capsys.readouterr().err


def test_a_class_that_is_nowhere_cannot_be_balanced(tmp_path: Path) -> None:
    masks = np.minimum(uneven(), 1)
    with pytest.raises(DataError, match="scratch"):
        balanced_plan(build(SampleConfig, {"balance": "pixels"}), masks, None, PARTS, 5, tmp_path)
