"""What the studio takes for one object: a region that hangs together, corners included."""

from pathlib import Path

import numpy as np

from imported import imported
from isdm.studio.defects import find_defects
from isdm.studio.jobs import objects_of
from saved_images import save_image

ASLANT = np.eye(32, dtype=np.uint8)
ASLANT[:8] = ASLANT[20:] = 0


def test_a_scratch_that_runs_aslant_is_one_defect_to_put_down(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        save_image(tmp_path / "source" / "images" / f"{number}.png", rng.integers(0, 255, (32, 32), np.uint8))
        save_image(tmp_path / "source" / "masks" / f"{number}.png", ASLANT * 255)
    dataset = imported(tmp_path / "source", test=1, validation=1)
    defects = find_defects(dataset)
    assert len(defects) == 4
    for defect in defects:
        np.testing.assert_array_equal(defect.shape, np.eye(12, dtype=bool))


def test_a_scratch_that_runs_aslant_is_one_object() -> None:
    mask = ASLANT.copy()
    mask[30, 2:5] = 1
    mask[28, 28] = 2
    objects = objects_of(mask)
    assert len(np.unique(objects[mask == 1])) == 2
    assert len(np.unique(objects[ASLANT == 1])) == 1
    assert len(np.unique(objects)) == 4  # the background is one, too
