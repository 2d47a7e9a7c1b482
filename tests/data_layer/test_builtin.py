"""The built-in fruit: repeatable, well formed, unevenly spread over the classes, and true to its masks."""

import numpy as np
import pytest
from scipy import ndimage

from isdm.data.builtin import CLASSES, FruitView, generate_fruit_views

DEFECT_IDS = (1, 2, 3)


def make(num_fruits: int, num_views: int, size_px: int = 48, seed: int = 0) -> list[FruitView]:
    return list(generate_fruit_views(num_fruits=num_fruits, num_views=num_views, size_px=size_px, seed=seed))


def same(first: FruitView, second: FruitView) -> bool:
    return (
        (first.name, first.group) == (second.name, second.group)
        and np.array_equal(first.image, second.image)
        and np.array_equal(first.mask, second.mask)
    )


@pytest.fixture(scope="module")
def demo() -> list[FruitView]:
    return make(num_fruits=30, num_views=2, size_px=64)


def test_the_same_seed_makes_the_same_views() -> None:
    assert all(same(a, b) for a, b in zip(make(3, 2, seed=5), make(3, 2, seed=5), strict=True))


def test_another_seed_makes_other_views() -> None:
    assert not np.array_equal(make(1, 1, seed=5)[0].image, make(1, 1, seed=6)[0].image)


def test_a_view_does_not_depend_on_how_many_others_are_made() -> None:
    many = {view.name: view for view in make(3, 4)}
    for view in make(2, 2):
        assert same(view, many[view.name])


def test_names_and_groups() -> None:
    views = make(2, 2)
    assert [v.name for v in views] == [
        "fruit0000_view0",
        "fruit0000_view1",
        "fruit0001_view0",
        "fruit0001_view1",
    ]
    assert [v.group for v in views] == ["fruit0000", "fruit0000", "fruit0001", "fruit0001"]


@pytest.mark.parametrize("size_px", [48, 96])
def test_shapes_types_and_ids(size_px: int) -> None:
    for view in make(3, 1, size_px):
        assert view.image.shape == (size_px, size_px, 3)
        assert view.mask.shape == (size_px, size_px)
        assert view.image.dtype == view.mask.dtype == np.uint8
        assert view.mask.max() < len(CLASSES)
        assert view.image.std() > 20, "an empty picture"


def test_size_changes_only_the_sampling() -> None:
    for small, large in zip(make(3, 1, 48), make(3, 1, 96), strict=True):
        shrunk = large.image.reshape(48, 2, 48, 2, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - small.image).mean() < 6


def test_views_of_one_fruit_differ() -> None:
    first, second = make(1, 2)
    assert first.group == second.group
    assert np.abs(first.image.astype(float) - second.image).mean() > 5


def test_colours_are_distinct() -> None:
    assert len({colour for _, colour in CLASSES}) == len(CLASSES) == 4


def test_defects_are_common_enough_and_unevenly_spread(demo: list[FruitView]) -> None:
    shares = np.bincount(np.concatenate([v.mask.ravel() for v in demo]), minlength=4) / (len(demo) * 64 * 64)
    assert 0.06 <= shares[1:].sum() <= 0.12
    assert shares[1] > 1.5 * shares[2]
    assert shares[2] > 1.2 * shares[3] > 0
    clean = np.mean([not v.mask.any() for v in demo])
    assert 0.04 <= clean <= 0.22


def test_no_defect_is_a_mere_sliver(demo: list[FruitView]) -> None:
    for view in demo:
        for class_id in np.unique(view.mask[view.mask > 0]):
            assert np.count_nonzero(view.mask == class_id) >= 8, view.name


@pytest.mark.parametrize("class_id", DEFECT_IDS)
def test_masks_match_what_is_seen(demo: list[FruitView], class_id: int) -> None:
    """Just inside its rim a defect differs clearly in colour from the skin just outside."""
    differences = []
    for view in demo:
        defect = view.mask == class_id
        # Stay clear of the outline, where the belt and not the skin lies next to the defect.
        skin = ndimage.binary_erosion(_looks_like_fruit(view), iterations=3) & (view.mask == 0)
        inside = ndimage.binary_erosion(defect)
        outside = skin & ndimage.binary_dilation(defect, iterations=4) & ~ndimage.binary_dilation(defect)
        if min(inside.sum(), outside.sum()) >= 12:
            differences.append(np.linalg.norm(view.image[inside].mean(axis=0) - view.image[outside].mean(axis=0)))
    assert len(differences) >= 4
    assert min(differences) > 30
    assert np.median(differences) > 70


def test_defect_classes_look_unlike_one_another(demo: list[FruitView]) -> None:
    means = [
        np.concatenate([v.image[ndimage.binary_erosion(v.mask == c)] for v in demo]).mean(axis=0) for c in DEFECT_IDS
    ]
    blemish, gangrene, mould = means
    assert mould.mean() - blemish.mean() > 30
    assert blemish.mean() - gangrene.mean() > 30


def _looks_like_fruit(view: FruitView) -> np.ndarray:
    """Healthy citrus is far more saturated than any belt; defects count as fruit too."""
    image = view.image.astype(int)
    return ndimage.binary_fill_holes((image.max(axis=2) - image.min(axis=2) > 60) | (view.mask > 0))
