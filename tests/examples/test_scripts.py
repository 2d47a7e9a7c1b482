"""The scripts in examples/ run, on small data and with few steps."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from isdm.data.builtin import write_fruit_source
from isdm.data.dataset import SegmentationDataset
from isdm.data.layouts import layouts, register
from isdm.errors import ConfigError, DataError
from saved_images import save_image

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name: str) -> Any:
    """The script as a module, as `python examples/NAME.py` would load it."""
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_python_api_and_what_reads_its_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fruit_source(tmp_path / "photos", num_fruits=8, num_views=2, size_px=48, seed=0)
    page = script("python_api").main(tmp_path / "photos", tmp_path / "out", size=32, steps=2, epochs=1, repeats=1)
    assert "foreground IoU" in page.read_text("utf-8")
    script("custom_architecture").main(
        tmp_path / "out" / "data", tmp_path / "out" / "synthetic", tmp_path / "study", epochs=1, repeats=1
    )
    results = pl.read_parquet(tmp_path / "study" / "results.parquet")
    assert set(results["architecture"]) == {"segformer", "manet"}
    capsys.readouterr()
    script("read_results").main(tmp_path / "study")
    printed = capsys.readouterr().out
    assert "segformer" in printed
    assert "fruit" in printed, "groups of the test images"


def test_read_results_means_what_it_says(tmp_path: Path) -> None:
    read_results = script("read_results")
    pl.DataFrame(
        {
            "group": ["a", "a", "b", "b"],
            "measure": ["class_iou"] * 3 + ["image_recall"],
            "place": [1, 0, 1, 0],
            "hits": [1, 50, 3, 0],
            "total": [4, 50, 4, 1],
        }
    ).write_parquet(tmp_path / "counts.parquet")
    assert read_results.worst_groups(tmp_path).rows() == [("a", 1, 4, 0.25), ("b", 3, 4, 0.75)]


def test_custom_layout_reads_boxes_and_says_what_is_missing(tmp_path: Path) -> None:
    source = tmp_path / "plates"
    rng = np.random.default_rng(0)
    for number in range(8):
        save_image(source / f"{number:04d}.png", rng.integers(0, 255, (32, 32), np.uint8))
    lines = [f"{number:04d}.png,{kind},4,8,12,16" for number in range(4) for kind in ("scratch",)]
    (source / "defects.csv").write_text("\n".join(["file,kind,left,top,right,bottom", *lines]) + "\n")
    main = script("custom_layout").main
    dataset: SegmentationDataset = main(source, tmp_path / "data")
    assert [entry.name for entry in dataset.info.classes] == ["background", "scratch", "dent"]
    masks = {p.stem: dataset.load(p)[1] for split in ("train", "validation", "test") for p in dataset.pairs(split)}
    assert masks["0002"][8:16, 4:12].min() == masks["0002"].max() == 1
    assert (masks["0002"] == 1).sum() == 64
    assert not masks["0007"].any()
    with (source / "defects.csv").open("a") as file:
        file.write("9999.png,dent,0,0,4,4\n")
    with pytest.raises(DataError, match=r"9999\.png"):
        main(source, tmp_path / "again")


def test_a_layout_cannot_take_anothers_name() -> None:
    folders = layouts()["folders"]
    register("folders", folders)
    with pytest.raises(ConfigError, match="is there already"):
        register("folders", layouts()["coco"])
    with pytest.raises(ConfigError, match="lacks recognises and read"):
        register("mine", pytest)
