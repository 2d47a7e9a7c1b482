"""Label Studio's exports with mistakes: each is named by file, task, region, value, rule and remedy."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isdm.config import DataConfig
from isdm.data.layouts import label_studio
from isdm.errors import DataError
from label_studio_trees import (
    CROSS_RLE,
    EXPORT,
    HEIGHT,
    SQUARE,
    WIDTH,
    Write,
    annotation,
    box,
    brush,
    encoded,
    polygon,
    region,
    save_tasks,
    source_of,
    task,
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(save_tasks, tmp_path / "source")


EMPTY_RLE = encoded(np.zeros((HEIGHT, WIDTH), np.uint8))
BAD_REGIONS = {
    "its polygonlabels is None; it must be one label": region("polygonlabels", {"points": [[1, 2], [3, 4], [5, 6]]}),
    "its polygonlabels is ['a', 'b']; it must be one label": region(
        "polygonlabels", {"points": [[1, 2], [3, 4], [5, 6]], "polygonlabels": ["a", "b"]}
    ),
    "the label is 3;": polygon(3, [[1, 2], [3, 4], [5, 6]]),  # type: ignore[arg-type]
    "its polygon is None; it must be one label": region("polygon", {"points": [[1, 2], [3, 4], [5, 6]]}, id="alone"),
    "it has no area": region("keypointlabels", {"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["dent"]}),
    "it is of an unknown type": region("cuboidlabels", {"cuboidlabels": ["dent"]}),
    "(None): it is of an unknown type": region(None, {}),  # type: ignore[arg-type]
    "(['brush']): it is of an unknown type": region(["brush"], {}),  # type: ignore[arg-type]
    "the points are None": region("polygonlabels", {"points": None, "polygonlabels": ["dent"]}),
    "the polygon has 2 point(s)": polygon("dent", [[1, 2], [3, 4]]),
    "the polygon has the point (90, 4) outside": polygon("dent", [[1, 2], [90, 4], [5, 6]]),
    "x is None; it must be a number": region("rectanglelabels", {"rectanglelabels": ["dent"]}),
    "width is 'w'": region("rectanglelabels", {"x": 1, "y": 2, "width": "w", "rectanglelabels": ["dent"]}),
    "rotation is 'r'": box("dent", 1, 2, 3, 4, "r"),  # type: ignore[arg-type]
    "the box has the point (70, 6)": box("dent", 1, 2, 69, 4),
    "the box has the sizes and rotation -3, 4, 5": box("dent", 1, 2, -3, 4, 5),
    "radiusY is None": region("ellipselabels", {"x": 1, "y": 2, "radiusX": 3, "ellipselabels": ["dent"]}),
    "the brush's rle has 0 byte(s)": brush("dent", "0,1"),
    "the brush's rle has 2 byte(s)": brush("dent", [0, 1]),
    "its rle is [0, 256]": brush("dent", [0, 256]),
    "its rle is [0, 'x']": brush("dent", [0, "x"]),
    "the brush's rle has 96 values but the image of 60x40 has 9600": brush("dent", CROSS_RLE),
    "the mask is no sound PNG": region("bitmasklabels", {"imageDataURL": "data:,xyz", "bitmasklabels": ["dent"]}),
    "the mask is 7; it must be a PNG": region("bitmasklabels", {"imageDataURL": 7, "bitmasklabels": ["dent"]}),
    "the annotation is for an image of 50x40 but": polygon("dent", [[1, 2], [3, 4], [5, 6]], original_width=50),
    "image_rotation is 90; turn the image file": polygon("dent", [[1, 2], [3, 4], [5, 6]], image_rotation=90),
}


@pytest.mark.parametrize("message", BAD_REGIONS)
def test_a_bad_region_is_named_by_its_place(write: Write, message: str) -> None:
    folder = write(
        task("good.jpg", annotation(SQUARE), id=1),
        task("bad.jpg", annotation(SQUARE, BAD_REGIONS[message]), id=2),
        pictures=("good.jpg", "bad.jpg"),
    )
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert problem.startswith(f"{folder / EXPORT}, task 2, region 2 (")
    assert message in problem
    assert len(problem) < 400


@pytest.mark.parametrize("cut", [len(EMPTY_RLE) - 3, 7])
def test_a_brush_that_ends_early_is_found_when_it_is_decoded(write: Write, cut: int) -> None:
    source = source_of(write(task("a.jpg", annotation(brush("dent", EMPTY_RLE[:cut])))))
    with pytest.raises(DataError, match=r"\.json, task 68501: the brush's rle ends before its last value; export it"):
        source.pairs[0].load_mask()


BAD_TASKS = {
    "task 2 is 7, not an object": 7,
    "task 2: annotations is 'x'; it must be a list of objects": task("b.jpg", annotations="x"),
    "task 2: annotations is [3]; it must be a list of objects": task("b.jpg", 3),
    "task 2: result is None; it must be a list of objects": task("b.jpg", annotation(result=None)),
    "task 2: result is [5]; it must be a list of objects": task("b.jpg", annotation(5)),
    "task 2 names 0 images; it must name one": task("b.jpg", annotation(SQUARE), data=None),
    "task 2 names 2 images": task("b.jpg", annotation(SQUARE), data={"one": "a.jpg", "two": "b.jpg"}),
    "task 2: the image 'http://[b.jpg' is no address": task("http://[b.jpg", annotation(SQUARE)),
    "has 0 images 'gone.jpg', not one; put it there": task("/data/upload/1/gone.jpg", annotation(SQUARE)),
    "has 0 images 'secret.jpg'": task("/data/local-files/?d=../../secret.jpg", annotation(SQUARE)),
    "has 0 images '', not one": task("", annotation(SQUARE)),
    "names the file 'images/link.jpg', which lies outside": task("link.jpg", annotation(SQUARE)),
    "text.jpg": task("text.jpg", annotation(SQUARE)),
    "task 2 annotates {images}/good.jpg, as {json}, task 1 does; remove one of them": task(
        "good.jpg", annotation(SQUARE)
    ),
    "task 2 has regions on 2 images": task("a.jpg", annotation(SQUARE, SQUARE | {"to_name": "other"})),
}


@pytest.mark.parametrize("message", BAD_TASKS)
def test_a_bad_task_is_named(
    write: Write, message: str, put: Callable[..., Path], noise: Callable[..., np.ndarray]
) -> None:
    entry = BAD_TASKS[message]
    entry = entry | {"id": 2} if isinstance(entry, dict) else entry
    folder = write(task("good.jpg", annotation(SQUARE), id=1), entry, pictures=("good.jpg", "a.jpg"))
    (folder / "images" / "link.jpg").symlink_to(put("elsewhere.jpg", noise(0, HEIGHT, WIDTH, 3)))
    (folder / "images" / "text.jpg").write_text("no picture")
    (folder.parent / "secret.jpg").write_bytes((folder / "images" / "a.jpg").read_bytes())
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    json_file = folder / EXPORT
    assert problem.startswith(str(json_file))
    assert message.format(images=folder / "images", json=json_file) in problem


def test_a_label_that_is_not_listed_is_refused(write: Write) -> None:
    folder = write(
        task("a.jpg", annotation(SQUARE)),
        task("b.jpg", annotation(polygon("bent", [[1, 2], [3, 4], [5, 6]]))),
        pictures=("a.jpg", "b.jpg"),
    )
    (folder / "classes.txt").write_text("scratch\n")
    (problem,) = source_of(folder).problems
    assert (
        "region 1 ('polygonlabels'): its label 'bent' is not in classes.txt; add it there, or correct it" in problem
    )


@pytest.mark.parametrize(
    "text",
    [
        '[{"annotations": [{"result": []',
        '[{"annotations": [{"result": ' + "[" * 100_000,
        '[{"annotations": [{"result": 1' + "0" * 5000 + "}]}]",
    ],
)
def test_an_export_that_is_no_json_is_refused(write: Write, text: str) -> None:
    folder = write(pictures=("a.jpg",))
    (folder / EXPORT).write_text(text)
    with pytest.raises(DataError, match=r"project-1-at-2024-01-31\.json (is|cannot)"):
        source_of(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"images": [], "annotations": [], "categories": []}',
        '[{"image_id": 1, "category_id": 1, "segmentation": {"size": [1, 1], "counts": "0"}, "score": 0.5}]',
        '{"version": "5.0", "shapes": []}',
    ],
)
def test_other_json_files_are_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert not label_studio.recognises(tmp_path)
    assert not label_studio.recognises(tmp_path / "nowhere")
    with pytest.raises(DataError, match="has no JSON file of Label Studio's; export the project as JSON"):
        label_studio.read(tmp_path, DataConfig(source=tmp_path))


def test_a_task_that_cannot_be_used_brings_no_class(write: Write) -> None:
    dent = polygon("dent", [[10, 5], [20, 5], [20, 15]])
    folder = write(
        task("a.jpg", annotation(SQUARE), id=1),
        task("a.jpg", annotation(dent), id=2),
        task("b.jpg", annotation(dent, polygon("dent", [[1, 2]])), id=3),
        pictures=("a.jpg", "b.jpg"),
    )
    source = source_of(folder)
    assert len(source.problems) == 2
    assert source.class_names == ("background", "scratch")


def test_an_export_without_its_images_says_which_are_missing(write: Write) -> None:
    """Label Studio's JSON export holds none, so this is the commonest first try."""
    tasks = (task(f"/data/upload/1/{name}.jpg", annotation(SQUARE), id=place) for place, name in enumerate("abc"))
    folder = write(*tasks, pictures=("other.jpg",))
    with pytest.raises(DataError, match="no usable label beside the background; mend these 3 problem") as caught:
        source_of(folder)
    for place, name in enumerate("abc"):
        expected = f"task {place}: {folder} has 0 images '{name}.jpg', not one; put it there, such as into images/"
        assert expected in str(caught.value)
