"""How the networks that judge are trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isdm.config import AuditConfig, SelectConfig, build
from isdm.synthesis import judges
from isdm.synthesis.audit import agreement
from isdm.training.segmentation import LabelledImages


@pytest.mark.parametrize("augment", [False, True])
def test_judges_train_on_augmented_pictures_where_that_is_asked(
    augment: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bool] = []

    def train(*_: Any, **options: Any) -> None:
        asked.append(options["augment"])
        raise KeyboardInterrupt  # nothing needs to be trained to see how

    monkeypatch.setattr(agreement, "train_segmenter", train)
    monkeypatch.setattr(judges, "train_segmenter", train)
    images = LabelledImages(np.zeros((6, 8, 8, 3), np.uint8), np.zeros((6, 8, 8), np.uint8))
    values = {"augment": augment, "encoder_weights": "none", "encoder": "resnet18"}
    with pytest.raises(KeyboardInterrupt):
        agreement.train_judge(build(AuditConfig, values), images, images, 2)
    with pytest.raises(KeyboardInterrupt):
        judges.train_judges(build(SelectConfig, values), images, list("abcdef"), 2, tmp_path, lambda: None)
    assert asked == [augment, augment]


def test_an_audits_judge_augments_unless_told_otherwise_and_those_of_selection_do_not() -> None:
    assert build(AuditConfig, {}).augment
    assert not build(SelectConfig, {}).augment
    assert AuditConfig.completed({})["augment"] is False, "as earlier versions acted"
