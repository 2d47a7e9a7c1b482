"""CVAT's own form "CVAT for images 1.1", written here as CVAT writes it."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from imported import NO_SPLIT, Hashes, imported, loaded, names
from isdm.config import DataConfig
from isdm.data.layouts import cvat, read_source
from isdm.data.layouts.source import Source
from isdm.errors import DataError

HEIGHT, WIDTH = 40, 60

META = """
  <meta>
    <task>
      <id>7</id>
      <name>belt</name>
      <size>2</size>
      <mode>annotation</mode>
      <labels>
        <label>
          <name>scratch</name>
          <color>#ff6037</color>
          <type>any</type>
          <attributes>
            <attribute><name>deep</name><mutable>False</mutable><input_type>checkbox</input_type></attribute>
          </attributes>
        </label>
        <label><name>dent</name><color>#0000FF</color><type>any</type><attributes></attributes></label>
        <label><name>arm</name><color>#00ff00</color><type>points</type><parent>figure</parent></label>
      </labels>
      <owner><username>anna</username><email>anna@example.org</email></owner>
    </task>
    <dumped>2024-05-06 07:08:09.000000+00:00</dumped>
  </meta>
"""

SQUARE = (
    '<polygon label="scratch" source="manual" occluded="0" '
    'points="10.00,5.00;20.00,5.00;20.00,15.00;10.00,15.00" z_order="0"></polygon>'
)

Write = Callable[..., Path]


def image(name: str, *shapes: str, subset: str = "", size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    of_subset = f' subset="{subset}"' if subset else ""
    return (
        f'<image id="0" name="{name}"{of_subset} task_id="7" width="{size[1]}" height="{size[0]}">\n    '
        + "\n    ".join(shapes)
        + "\n  </image>"
    )


@pytest.fixture
def picture(put: Callable[..., Path], noise: Callable[..., np.ndarray]) -> Callable[[str], Path]:
    return lambda name: put(f"source/{name}", noise(len(name), HEIGHT, WIDTH, 3))


@pytest.fixture
def write(tmp_path: Path, picture: Callable[[str], Path]) -> Write:
    """Save annotations.xml of these images, and the pictures images/*.jpg of these names."""

    def save(*images: str, pictures: tuple[str, ...] = ("a.jpg",), meta: str = META) -> Path:
        for name in pictures:
            picture(f"images/{name}")
        path = tmp_path / "source" / "annotations.xml"
        path.parent.mkdir(exist_ok=True)
        inner = "\n  ".join(images)
        path.write_text(
            f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>{meta}  {inner}\n'
            "</annotations>\n"
        )
        return tmp_path / "source"

    return save


def source_of(folder: Path) -> Source:
    layout, source = read_source(DataConfig(source=folder))
    assert layout == "cvat"
    return source


def masks(source: Source) -> dict[str, np.ndarray]:
    return {pair.stem: pair.load_mask() for pair in source.pairs}


def test_shapes_lie_over_one_another_by_z_order_then_in_the_files_order(write: Write) -> None:
    tilted = "12.50,3.25;40.00,9.00;30.50,33.00"
    deep = '<attribute name="deep">true</attribute>'
    dent = f'<polygon label="dent" occluded="1" points="{tilted}" z_order="-1">{deep}</polygon>'
    same = f'<polygon label="dent" occluded="0" points="{tilted}" z_order="0"></polygon>'
    source = source_of(write(image("a.jpg", SQUARE, dent), image("b.jpg", SQUARE, same), pictures=("a.jpg", "b.jpg")))
    assert source.problems == []
    assert source.class_names == ("background", "scratch", "dent")
    assert source.colours == ((0, 0, 0), (255, 0x60, 0x37), (0, 0, 255))
    flat = [float(value) for point in tilted.split(";") for value in point.split(",")]
    below = coco_mask.decode(coco_mask.frPyObjects([flat], HEIGHT, WIDTH)[0]) * 2
    expected = below.copy()
    expected[5:15, 10:20] = 1
    np.testing.assert_array_equal(masks(source)["a"], expected)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[5:15, 10:20] = 1
    expected[below > 0] = 2
    np.testing.assert_array_equal(masks(source)["b"], expected)


def test_boxes_are_filled_and_turned_around_their_middle(write: Write) -> None:
    plain = '<box label="dent" occluded="0" xtl="3.00" ytl="4.00" xbr="13.00" ybr="9.00" z_order="0"></box>'
    turned = '<box label="dent" xtl="30.00" ytl="10.00" xbr="40.00" ybr="30.00" rotation="90.00" z_order="0"></box>'
    source = source_of(write(image("a.jpg", plain, turned)))
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[4:9, 3:13] = 2
    expected[15:25, 25:45] = 2
    np.testing.assert_array_equal(masks(source)["a"], expected)
    assert "2 box(es) were filled" in source.notes


def test_a_turned_box_turns_clockwise(write: Write) -> None:
    turned = '<box label="dent" xtl="10.00" ytl="18.00" xbr="50.00" ybr="22.00" rotation="30.00" z_order="0"></box>'
    mask = masks(source_of(write(image("a.jpg", turned))))["a"]
    assert mask[28, 44] == 2, "down to the right"
    assert mask[12, 44] == 0


def test_ellipses_turn_clockwise_around_their_middle(write: Write) -> None:
    ellipse = (
        '<ellipse label="dent" occluded="0" cx="30.00" cy="20.00" rx="18.00" ry="6.00" rotation="30.00" z_order="0"/>'
    )
    mask = masks(source_of(write(image("a.jpg", ellipse))))["a"] == 2
    assert mask.sum() == pytest.approx(np.pi * 18 * 6, rel=0.03)
    assert mask[28, 44]
    assert not mask[12, 44]
    rows, columns = np.nonzero(mask)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((20, 30), abs=0.2)


def test_masks_are_runs_row_by_row_in_their_box(write: Write) -> None:
    """Worked out by hand: a box of 5 x 3 at (20, 10)."""
    rows = [".XX..", "XXXXX", "....X"]
    box = 'left="20" top="10" width="5" height="3"'
    element = f'<mask label="dent" occluded="0" rle="1, 2, 2, 5, 4, 1" {box} z_order="0"></mask>'
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:13, 20:25] = [[2 * (letter == "X") for letter in row] for row in rows]
    np.testing.assert_array_equal(masks(source_of(write(image("a.jpg", element))))["a"], expected)


def test_a_mask_that_begins_with_set_pixels(write: Write) -> None:
    element = '<mask label="scratch" rle="0,6" left="0" top="0" width="3" height="2" z_order="0"></mask>'
    mask = masks(source_of(write(image("a.jpg", element))))["a"]
    assert mask[:2, :3].all()
    assert mask.sum() == 6


def test_images_of_subsets_have_their_splits(write: Write) -> None:
    source = source_of(
        write(
            image("a.jpg", SQUARE, subset="Train"),
            image("deep/a.jpg", SQUARE, subset="Validation"),
            image("b.jpg", SQUARE, subset="Test"),
            image("c.jpg", SQUARE, subset="default"),
            pictures=("Train/a.jpg", "Validation/deep/a.jpg", "b.jpg", "default/c.jpg"),
        )
    )
    assert source.problems == []
    assert {
        (pair.stem, pair.split, pair.image.relative_to(pair.image.parents[2]).as_posix()) for pair in source.pairs
    } == {
        ("images_Train_a", "train", "images/Train/a.jpg"),
        ("images_Validation_deep_a", "validation", "Validation/deep/a.jpg"),
        ("b", "test", "source/images/b.jpg"),
        ("c", None, "images/default/c.jpg"),
    }


@pytest.mark.parametrize("file", ["frame_000000.PNG", "frame_000000.jpg"])
def test_frames_of_a_video_are_found_without_their_suffix(write: Write, file: str) -> None:
    source = source_of(write(image("frame_000000", SQUARE), pictures=(file,)))
    assert [pair.image.name for pair in source.pairs] == [file]


def test_images_may_lie_beside_the_file(write: Write, picture: Callable[[str], Path]) -> None:
    picture("a.jpg")
    assert [pair.stem for pair in source_of(write(image("a.jpg", SQUARE), pictures=())).pairs] == ["a"]


def test_images_without_shapes_are_background_and_tags_are_ignored(write: Write) -> None:
    source = source_of(
        write(
            image("a.jpg", SQUARE),
            image("b.jpg", '<tag label="scratch" source="manual"></tag>'),
            pictures=("a.jpg", "b.jpg", "c.jpg"),
        )
    )
    assert not masks(source)["b"].any()
    notes = "; ".join(source.notes)
    assert "1 image(s) without a shape are all background" in notes
    assert "1 tag(s), which mark a whole image, were ignored" in notes
    assert "1 image(s) are not in annotations.xml and were left out" in notes


def test_the_importer_takes_it_all_and_leaves_the_source_alone(write: Write, hashes: Hashes) -> None:
    source = write(image("a.jpg", SQUARE))
    before = hashes(source)
    dataset = imported(source, **NO_SPLIT)
    assert names(dataset) == ["background", "scratch", "dent"]
    assert [entry.colour for entry in dataset.info.classes] == [(0, 0, 0), (255, 0x60, 0x37), (0, 0, 255)]
    assert loaded(dataset)["a"][1].sum() == 100
    assert hashes(source) == before


@pytest.mark.parametrize("kind", ["project", "job"])
def test_exports_of_projects_and_jobs_are_read_too(write: Write, kind: str) -> None:
    meta = META.replace("<task>", f"<{kind}>").replace("</task>", f"</{kind}>")
    assert source_of(write(image("a.jpg", SQUARE), meta=meta)).class_names == ("background", "scratch", "dent")


def test_what_stands_between_two_images_is_no_part_of_them(write: Write) -> None:
    source = write(
        f"{image('a.jpg', SQUARE)} & so on".replace("&", "&amp;"), image("b.jpg"), pictures=("a.jpg", "b.jpg")
    )
    drawn = masks(source_of(source))
    assert (drawn["a"].sum(), drawn["b"].sum()) == (100, 0)


def test_outlines_do_not_stay_in_memory(write: Write) -> None:
    corners = ";".join(f"{10 + 20 * (i % 2)}.00,{5 + i / 100:.2f}" for i in range(500))
    outline, count = f'<polygon label="scratch" points="{corners}" z_order="0"/>', 200
    folder = write(*(image(f"{i}.jpg", outline) for i in range(count)), pictures=("0.jpg",))
    for i in range(1, count):
        (folder / "images" / f"{i}.jpg").hardlink_to(folder / "images" / "0.jpg")
    tracemalloc.start()
    source = source_of(folder)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert [bool(pair.load_mask().any()) for pair in source.pairs] == [True] * count
    assert held < (folder / "annotations.xml").stat().st_size / 5


def test_labels_may_come_after_the_images_and_background_is_class_0(write: Write) -> None:
    source = write(image("a.jpg", SQUARE), meta="")
    path = source / "annotations.xml"
    meta = META.replace("<name>dent<", "<name>Background<")
    path.write_text(path.read_text().replace("</annotations>", f"{meta}</annotations>"))
    assert source_of(source).class_names == ("background", "scratch")


def test_without_colours_of_their_own_classes_get_some(write: Write) -> None:
    source = source_of(write(image("a.jpg", SQUARE), meta=META.replace("#0000FF", "#FF6037")))
    assert source.colours is not None
    assert len(set(source.colours)) == 3


BAD_SHAPES = {
    "its label 'crack' is not among the task's labels": SQUARE.replace("scratch", "crack"),
    "the label is None": SQUARE.replace("label=", "name="),
    "its points are ''; they must be x,y": SQUARE.replace("points=", "dots="),
    "its points are '1,2;3'": '<polygon label="dent" points="1,2;3"/>',
    "the coordinate is 'x'; it must be a number": '<polygon label="dent" points="1,2;x,4;5,6"/>',
    "the coordinate is nan": '<polygon label="dent" points="1,2;nan,4;5,6"/>',
    "the polygon has 2 point(s)": '<polygon label="dent" points="1,2;3,4"/>',
    "the polygon has the point (62, 4) outside": '<polygon label="dent" points="1,2;62,4;5,6"/>',
    "z_order is 'top'; it must be a whole number": SQUARE.replace('z_order="0"', 'z_order="top"'),
    "xbr is ''; it must be a number": '<box label="dent" xtl="1" ytl="2" ybr="4"/>',
    "the box has the point (70, 4)": '<box label="dent" xtl="1" ytl="2" xbr="70" ybr="4"/>',
    "the box has the sizes and rotation 0, 2, 9": '<box label="dent" xtl="1" ytl="2" xbr="1" ybr="4" rotation="9"/>',
    "the ellipse has the point (-9, 4)": '<ellipse label="dent" cx="-9" cy="4" rx="3" ry="3"/>',
    "the ellipse has the sizes and rotation 3, -1, 0": '<ellipse label="dent" cx="9" cy="4" rx="3" ry="-1"/>',
    "its rle is None; it must be numbers": '<mask label="dent" left="0" top="0" width="3" height="2"/>',
    "its rle is '2, x'": '<mask label="dent" rle="2, x" left="0" top="0" width="3" height="2"/>',
    "the mask's runs add up to 5 pixels": '<mask label="dent" rle="2, 3" left="0" top="0" width="3" height="2"/>',
    "the mask's box of 3x2 at (58, 0)": '<mask label="dent" rle="0, 6" left="58" top="0" width="3" height="2"/>',
    "width is '9999999999'": '<mask label="dent" rle="0, 6" left="0" top="0" width="9999999999" height="2"/>',
    "it has no area; draw it as a polygon": '<polyline label="dent" points="1,2;3,4"/>',
    "it has no area": '<points label="dent" points="1,2"/>',
    "it is no shape of CVAT's": '<blob label="dent"/>',
}


@pytest.mark.parametrize("message", BAD_SHAPES)
def test_a_bad_shape_is_named_by_its_place(write: Write, message: str) -> None:
    folder = write(
        image("good.jpg", SQUARE), image("bad.jpg", SQUARE, BAD_SHAPES[message]), pictures=("good.jpg", "bad.jpg")
    )
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert problem.startswith(f"{folder / 'annotations.xml'}, image 'bad.jpg', shape 2 (")
    assert message in problem


def test_every_bad_shape_is_named(write: Write) -> None:
    source = source_of(
        write(
            image("good.jpg", SQUARE),
            image("bad.jpg", '<points label="dent" points="1,2"/>', '<blob label="dent"/>', SQUARE),
            pictures=("good.jpg", "bad.jpg"),
        )
    )
    assert [problem.partition(" (")[0].rpartition(", ")[2] for problem in source.problems] == ["shape 1", "shape 2"]
    assert [pair.stem for pair in source.pairs] == ["good"]
    assert not any("are not in annotations.xml" in note for note in source.notes), "it is in there"


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (image("b.jpg", SQUARE), "the image 'b.jpg' is not in"),
        (image("", SQUARE), "names the file '', which lies outside"),
        (image("../../secret.jpg", SQUARE), "secret.jpg', which lies outside"),
        (image("/etc/hosts", SQUARE), "names the file '/etc/hosts', which lies outside"),
        (image("..\\..\\..\\secret.jpg", SQUARE), "secret.jpg', which lies outside"),
        (image("a.jpg", SQUARE, subset="../../.."), "which lies outside"),
        (image("x" * 5000, SQUARE), "is not in"),
        (image("a.jpg", SQUARE, size=(30, 60)), "the annotation is for an image of 60x30 but"),
        (image("a.jpg", SQUARE).replace(' width="60"', ""), "width is ''; it must be a whole number"),
        (image("good.jpg", SQUARE), "is {images}/good.jpg, as {xml}, image 'good.jpg' is; remove one of them"),
        (image("link.jpg", SQUARE), "names the file 'images/link.jpg', which lies outside"),
        (image("text.jpg", SQUARE), "text.jpg"),
    ],
)
def test_a_bad_image_is_named(
    write: Write,
    element: str,
    message: str,
    put: Callable[..., Path],
    noise: Callable[..., np.ndarray],
) -> None:
    folder = write(image("good.jpg", SQUARE), element, pictures=("good.jpg", "a.jpg"))
    (folder / "images" / "link.jpg").symlink_to(put("elsewhere.jpg", noise(0, HEIGHT, WIDTH, 3)))
    (folder / "images" / "text.jpg").write_text("no picture")
    source = source_of(folder)
    assert [pair.stem for pair in source.pairs] == ["good"]
    (problem,) = source.problems
    assert problem.startswith(f"{folder / 'annotations.xml'}")
    assert message.format(images=folder / "images", xml=folder / "annotations.xml") in problem


def test_tracks_of_a_video_are_refused_with_the_remedy(write: Write) -> None:
    track = '<track id="0" label="dent"><box frame="0" outside="0" xtl="1" ytl="2" xbr="3" ybr="4"/></track>'
    with pytest.raises(
        DataError, match=r"holds tracks, so was exported for video; export it as 'CVAT for images 1.1'"
    ):
        source_of(write(track))


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</annotations>", ""),
        ("<annotations>", f"{BOMB}<annotations>"),
        ("<annotations>", '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hosts">]><annotations>'),
        ('encoding="utf-8"', 'encoding="nonsense"'),
        ("scratch</name>", "\0</name>"),
    ],
)
def test_what_is_no_sound_xml_is_refused(write: Write, old: str, new: str) -> None:
    folder = write(image("a.jpg", SQUARE))
    path = folder / "annotations.xml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=r"annotations\.xml is not valid XML \(.*\); export it again"):
        cvat.read(folder, DataConfig(source=folder))


def test_deep_and_wide_files_are_read_in_bounded_time(write: Write) -> None:
    deep = "<a>" * 20_000 + "</a>" * 20_000
    source = source_of(write(deep, *(image("a.jpg", SQUARE) for _ in range(300))))
    assert len(source.pairs) == 1
    assert len(source.problems) == 299


@pytest.mark.parametrize("name", ["scratch", " "])
def test_labels_must_be_different_names(write: Write, name: str) -> None:
    with pytest.raises(DataError, match=r"annotations\.xml( names the class 'scratch' twice|: the label is ' ')"):
        source_of(write(image("a.jpg", SQUARE), meta=META.replace("<name>dent<", f"<name>{name}<")))


def test_a_task_without_labels_is_refused(write: Write) -> None:
    with pytest.raises(DataError, match="has 0 classes beside the background"):
        source_of(write(image("a.jpg", SQUARE), meta=""))


def test_other_xml_files_are_not_recognised(tmp_path: Path) -> None:
    assert not cvat.recognises(tmp_path)
    (tmp_path / "annotations.xml").write_text("<annotation><filename>a.jpg</filename></annotation>")
    assert not cvat.recognises(tmp_path)
    with pytest.raises(DataError, match="begins with <annotation>, not <annotations>"):
        cvat.read(tmp_path, DataConfig(source=tmp_path))
    with pytest.raises(DataError, match=r"annotations\.xml cannot be read \(No such file"):
        cvat.read(tmp_path / "nowhere", DataConfig(source=tmp_path))
