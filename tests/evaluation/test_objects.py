import numpy as np
import pytest

from isdm.data.dataset import DatasetInfo, SegmentationClass
from isdm.evaluation.objects import detect, objects_in, size_bins

INFO = DatasetInfo(
    "d", tuple(SegmentationClass(k, n, (k, k, k)) for k, n in enumerate(("background", "crack", "dent")))
)


def test_what_an_inspector_counts() -> None:
    masks = np.zeros((3, 10, 10), np.uint8)
    masks[0, 1:3, 1:5] = 1  # 8 px, half of them found, as another class
    masks[0, 7:9, 7:9] = 2  # missed
    masks[2, 0, :] = 255  # ignored: an alarm there is none
    predicted = np.zeros_like(masks)
    predicted[0, 1:3, 1:3] = 2
    predicted[1, 5, 5] = 1
    predicted[2, 0, :] = 1
    objects = objects_in(masks, INFO)
    assert [(index, thing.class_id, thing.area) for index, thing in objects] == [(0, 1, 8), (0, 2, 4)]
    found = detect(predicted, masks, objects)
    assert found.hit_px == [4, 0, 0]
    assert found.alarm_px == [0, 1, 0]
    assert found.found_share == [0.5, 0.0]
    assert objects_in(masks, DatasetInfo("scene", INFO.classes, has_background=False)) == []


def test_bins_hold_about_equally_many_objects() -> None:
    areas = np.arange(1, 41)
    names, places = size_bins(areas)
    assert names == ["1 to 10 px", "11 to 20 px", "21 to 30 px", "31 px and more"]
    assert np.bincount(places).tolist() == [10, 10, 10, 10]


@pytest.mark.parametrize(("areas", "names"), [([3, 4], ["1 px and more"]), ([1] * 30, ["1 px", "2 px and more"])])
def test_few_or_equal_objects(areas: list[int], names: list[str]) -> None:
    found, places = size_bins(np.array(areas))
    assert found == names
    assert set(places.tolist()) == {0}
