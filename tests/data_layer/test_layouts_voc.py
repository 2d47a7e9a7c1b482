"""Pascal VOC: the published form, and data of one's own with another list of labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imported import NO_SPLIT, Noise, Put, imported, loaded, names
from isdm.config import DataConfig
from isdm.data.label_tables import voc_colour
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source
from isdm.errors import DataError

NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
VOID = (224, 224, 192)
TRAIN, VAL, UNUSED = ("2007_000032", "2007_000039"), ("2007_000033",), "2008_000001"
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nscratch:10,20,30:head,leg:walk\nrust:200,0,7::\n"


def published_palette() -> list[int]:
    """By the published rule, bit by bit."""
    palette = []
    for index in range(256):
        colour, rest = [0, 0, 0], index
        for shift in range(7, -1, -1):
            for channel in range(3):
                colour[channel] |= (rest >> channel & 1) << shift
            rest >>= 3
        palette += colour
    return palette


COLOURS = [tuple(published_palette()[3 * index : 3 * index + 3]) for index in range(21)]


def palette_mask(ids: np.ndarray, palette: list[int] | None = None) -> Image.Image:
    mask = Image.fromarray(ids.astype(np.uint8))
    mask.putpalette(palette or published_palette())
    return mask


def stripes(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)[:, None].repeat(6, axis=1)


def painted(ids: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> np.ndarray:
    picture = np.zeros((*ids.shape, 3), np.uint8)
    for value, colour in colours.items():
        picture[ids == value] = colour
    return picture


def write_list(root: Path, name: str, *lines: str) -> None:
    path = root / "ImageSets" / "Segmentation" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def read(root: Path) -> Source:
    layout, source = read_source(DataConfig(source=root))
    assert layout == "voc"
    return source


def masks(source: Source) -> dict[str, np.ndarray]:
    return {pair.stem: pair.load_mask() for pair in source.pairs}


@pytest.fixture
def root(put: Put, noise: Noise, tmp_path: Path) -> Path:
    """VOC 2012 with all its folders, in small."""
    base = "VOCdevkit/VOC2012"
    for seed, name in enumerate((*TRAIN, *VAL, UNUSED)):
        put(f"{base}/JPEGImages/{name}.jpg", noise(seed, 5, 6, 3))
        if name != UNUSED:
            put(f"{base}/SegmentationClass/{name}.png", palette_mask(stripes(0, 1, 15, 20, 255)))
            put(f"{base}/SegmentationObject/{name}.png", palette_mask(stripes(0, 1, 2, 3, 255)))
        path = tmp_path / base / "Annotations" / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("<annotation/>")
    write_list(tmp_path / base, "train.txt", *TRAIN)
    write_list(tmp_path / base, "val.txt", *VAL)
    write_list(tmp_path / base, "trainval.txt", *TRAIN, *VAL)
    main = tmp_path / base / "ImageSets" / "Main"
    main.mkdir()
    (main / "aeroplane_train.txt").write_text(f"{UNUSED} -1\n")
    return tmp_path / base


@pytest.fixture
def own(put: Put, noise: Noise, tmp_path: Path) -> Path:
    """CVAT's export: colour masks, its own labels, one list."""
    ids = stripes(0, 1, 2, 2, 0)
    colours = {1: (10, 20, 30), 2: (200, 0, 7)}
    for name in ("a", "with blank"):
        put(f"own/JPEGImages/{name}.png", noise(0, 5, 6, 3))
        put(f"own/SegmentationClass/{name}.png", painted(ids, colours))
    (tmp_path / "own" / "labelmap.txt").write_text(LABELMAP)
    write_list(tmp_path / "own", "default.txt", "a", '"with blank"')
    return tmp_path / "own"


def test_the_published_form(root: Path) -> None:
    source = read(root)
    assert " ".join(source.class_names) == NAMES
    assert list(source.colours or ()) == COLOURS
    assert source.has_background
    assert source.problems == []
    assert {pair.stem: pair.split for pair in source.pairs} == {
        **dict.fromkeys(TRAIN, "train"),
        **dict.fromkeys(VAL, "validation"),
    }
    for mask in masks(source).values():
        np.testing.assert_array_equal(mask, stripes(0, 1, 15, 20, 255))
        assert mask.dtype == np.uint8
    assert "mask values are the labels' numbers, 255 is ignored" in source.notes[0]
    assert any("1 images without a mask" in note for note in source.notes)


@pytest.mark.parametrize("up", [0, 1, 2])
def test_the_devkit_and_what_holds_it_are_recognised(root: Path, up: int) -> None:
    assert len(read([root, *root.parents][up]).pairs) == 3


def test_two_years_are_refused(root: Path, put: Put, noise: Noise) -> None:
    put("VOCdevkit/VOC2007/JPEGImages/a.jpg", noise(0))
    put("VOCdevkit/VOC2007/SegmentationClass/a.png", stripes(0))
    with pytest.raises(DataError, match=r"needs one folder .* there are VOC2007 and VOC2012; give that folder"):
        read(root.parent)


def test_numbers_without_a_palette_and_published_colours_mean_the_same(root: Path, put: Put) -> None:
    expected = masks(read(root))
    ids = stripes(0, 1, 15, 20, 255)
    for name in (*TRAIN, *VAL):
        put(f"VOCdevkit/VOC2012/SegmentationClass/{name}.png", ids)
    np.testing.assert_equal(masks(read(root)), expected)
    colours = {255: VOID, **{index: COLOURS[index] for index in (1, 15, 20)}}
    for name in (*TRAIN, *VAL):
        put(f"VOCdevkit/VOC2012/SegmentationClass/{name}.png", painted(ids, colours))
    source = read(root)
    np.testing.assert_equal(masks(source), expected)
    assert "mask colours are the labels'" in source.notes[0]
    assert "#e0e0c0 is ignored" in source.notes[0]


def test_all_256_colours_follow_the_published_rule() -> None:
    assert [part for index in range(256) for part in voc_colour(index)] == published_palette()
    assert (COLOURS[1], COLOURS[15], COLOURS[20]) == ((128, 0, 0), (192, 128, 128), (0, 64, 128))
    assert voc_colour(255) == VOID


def test_without_lists_all_masks_count(root: Path) -> None:
    for path in (root / "ImageSets" / "Segmentation").iterdir():
        path.unlink()
    source = read(root)
    assert {pair.stem: pair.split for pair in source.pairs} == dict.fromkeys((*TRAIN, *VAL))
    assert any("all masks count" in note for note in source.notes)


def test_what_is_missing_is_named(root: Path) -> None:
    (root / "SegmentationClass" / f"{TRAIN[0]}.png").unlink()
    (root / "JPEGImages" / f"{VAL[0]}.jpg").unlink()
    source = read(root)
    assert [pair.stem for pair in source.pairs] == [TRAIN[1]]
    assert len(source.problems) == 2
    assert f"{TRAIN[0]}.jpg has no mask; expected " in source.problems[0]
    assert f"names '{VAL[0]}' but there is no " in source.problems[1]


def test_a_mask_without_image_is_named_where_masks_count(root: Path) -> None:
    (root / "JPEGImages" / f"{VAL[0]}.jpg").unlink()
    for path in (root / "ImageSets" / "Segmentation").iterdir():
        path.unlink()
    (problem,) = read(root).problems
    assert f"names '{VAL[0]}' but there is no " in problem


def test_an_image_in_two_splits_is_a_problem(root: Path) -> None:
    write_list(root, "val.txt", *VAL, TRAIN[0])
    source = read(root)
    (problem,) = source.problems
    assert problem.startswith(f"'{TRAIN[0]}' is listed in ")
    assert "train.txt and " in problem
    assert {pair.stem for pair in source.pairs} == {TRAIN[1], *VAL}


def test_a_test_list_without_masks_is_left_out_and_one_with_masks_is_not(root: Path, put: Put) -> None:
    write_list(root, "test.txt", UNUSED)
    source = read(root)
    assert source.problems == []
    assert any("the 1 test images were left out" in note for note in source.notes)
    put(f"VOCdevkit/VOC2012/SegmentationClass/{UNUSED}.png", palette_mask(stripes(0, 0, 0, 0, 1)))
    assert {pair.stem for pair in read(root).pairs if pair.split == "test"} == {UNUSED}


def test_masks_in_no_list_are_left_out_with_a_note(root: Path) -> None:
    write_list(root, "val.txt")
    write_list(root, "trainval.txt", *TRAIN)
    source = read(root)
    assert {pair.stem for pair in source.pairs} == set(TRAIN)
    assert any("1 masks that no list" in note for note in source.notes)


def test_two_images_of_one_name_are_a_problem(root: Path, put: Put, noise: Noise) -> None:
    put(f"VOCdevkit/VOC2012/JPEGImages/{VAL[0]}.png", noise(0, 5, 6, 3))
    source = read(root)
    (problem,) = source.problems
    assert f"{VAL[0]}.jpg and " in problem
    assert "have one name" in problem
    assert len(source.pairs) == 2


def test_names_in_folders_get_stems_of_their_own(own: Path, put: Put, noise: Noise) -> None:
    for name in ("b/c", "b_c", "b_c_2"):
        put(f"own/JPEGImages/{name}.png", noise(0, 5, 6, 3))
        put(f"own/SegmentationClass/{name}.png", np.zeros((5, 6, 3)))
    write_list(own, "default.txt", "b/c", "b_c", "b_c_2", "b_c")
    assert [pair.stem for pair in read(own).pairs] == ["b_c", "b_c_3", "b_c_2"]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "link", "loop", "a\0b"])
def test_a_name_that_leads_out_is_a_problem(own: Path, put: Put, noise: Noise, name: str) -> None:
    outside = put("secret.png", noise(0, 5, 6, 3))
    (own / "JPEGImages" / "link.png").symlink_to(outside)
    put("own/SegmentationClass/link.png", np.zeros((5, 6, 3)))
    (own / "JPEGImages" / "loop").symlink_to("loop")
    write_list(own, "default.txt", "a", name)
    source = read(own)
    assert [pair.stem for pair in source.pairs] == ["a"]
    (problem,) = source.problems
    assert "default.txt names the file " in problem or name == "loop"  # which some Pythons follow to its end


def test_labels_of_ones_own_in_colour(own: Path) -> None:
    source = read(own)
    assert source.class_names == ("background", "scratch", "rust")
    assert source.colours == ((0, 0, 0), (10, 20, 30), (200, 0, 7))
    assert source.has_background
    assert set(masks(source)) == {"a", "with blank"}
    assert [pair.split for pair in source.pairs] == [None, None]
    for mask in masks(source).values():
        np.testing.assert_array_equal(mask, stripes(0, 1, 2, 2, 0))
    assert "mask colours are the labels'" in source.notes[0]
    assert "the 3 classes are those of labelmap.txt" in source.notes[0]
    assert {path.name for pair in source.pairs for path in pair.more_files} == {"labelmap.txt"}


def test_it_is_imported_pixel_by_pixel(own: Path) -> None:
    dataset = imported(own, **NO_SPLIT)
    assert names(dataset) == ["background", "scratch", "rust"]
    for image, mask in loaded(dataset).values():
        assert image.shape == (5, 6, 3)
        np.testing.assert_array_equal(mask, stripes(0, 1, 2, 2, 0))


def test_labels_of_ones_own_as_numbers(own: Path, put: Put) -> None:
    palette = [0, 0, 0, 10, 20, 30, 200, 0, 7] + [0] * 756 + [127, 127, 127]
    put("own/SegmentationClass/a.png", palette_mask(stripes(0, 1, 2, 255, 0), palette))
    put("own/SegmentationClass/with blank.png", stripes(2, 1, 0, 255, 0))
    source = read(own)
    np.testing.assert_equal(masks(source), {"a": stripes(0, 1, 2, 255, 0), "with blank": stripes(2, 1, 0, 255, 0)})
    assert "mask values are the labels' numbers" in source.notes[0]


def test_the_background_comes_first_wherever_its_line_is(own: Path, put: Put) -> None:
    (own / "labelmap.txt").write_text("rust:200,0,7::\nscratch:10,20,30::\nBackground:0,0,0::\n")
    source = read(own)
    assert source.class_names == ("Background", "rust", "scratch")
    np.testing.assert_array_equal(masks(source)["a"], stripes(0, 2, 1, 1, 0))
    for name in ("a", "with blank"):
        put(f"own/SegmentationClass/{name}.png", stripes(0, 1, 2, 255, 0))
    np.testing.assert_array_equal(masks(read(own))["a"], stripes(1, 2, 0, 255, 1))


def test_without_a_background_label_black_is_it_in_colours_and_nothing_in_numbers(own: Path, put: Put) -> None:
    (own / "labelmap.txt").write_text("scratch:10,20,30::\nrust:200,0,7::\n")
    source = read(own)
    assert source.class_names == ("background", "scratch", "rust")
    assert source.has_background
    assert "black, for which it has no label, is background" in source.notes[0]
    np.testing.assert_array_equal(masks(source)["a"], stripes(0, 1, 2, 2, 0))
    for name in ("a", "with blank"):
        put(f"own/SegmentationClass/{name}.png", stripes(0, 1, 0, 255, 1))
    source = read(own)
    assert source.class_names == ("scratch", "rust")
    assert not source.has_background
    np.testing.assert_array_equal(masks(source)["a"], stripes(0, 1, 0, 255, 1))


def test_a_label_of_the_void_colour_is_ignored(own: Path, put: Put) -> None:
    (own / "labelmap.txt").write_text(LABELMAP + "ignored:224,224,192::\n")
    put("own/SegmentationClass/a.png", painted(stripes(0, 1, 3, 2, 0), {1: (10, 20, 30), 2: (200, 0, 7), 3: VOID}))
    source = read(own)
    assert source.class_names == ("background", "scratch", "rust")
    assert "ignored is void" in source.notes[0]
    np.testing.assert_array_equal(masks(source)["a"], stripes(0, 1, 255, 2, 0))


def test_class_names_without_colours(own: Path, put: Put) -> None:
    (own / "labelmap.txt").unlink()
    (own / "class_names.txt").write_text("_background_\nscratch\nrust\n")
    for name in ("a", "with blank"):
        put(f"own/SegmentationClass/{name}.png", palette_mask(stripes(0, 1, 2, 255, 0)))
    source = read(own)
    assert source.class_names == ("_background_", "scratch", "rust")
    assert list(source.colours or ()) == COLOURS[:3]
    np.testing.assert_array_equal(masks(source)["a"], stripes(0, 1, 2, 255, 0))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            painted(stripes(0, 1), {1: (9, 9, 9)}),
            r"1 unknown colour\(s\), such as #090909; .*labelmap\.txt must have",
        ),
        (stripes(0, 1), r"has mode L but must be in colour \(RGB\) like the other masks"),
        (palette_mask(stripes(0, 1)), r"has mode P but must be in colour"),
    ],
)
def test_a_wrong_colour_mask_is_refused_when_decoded(
    own: Path, put: Put, mask: np.ndarray | Image.Image, message: str
) -> None:
    put("own/SegmentationClass/with blank.png", mask)
    pairs = {pair.stem: pair for pair in read(own).pairs}
    pairs["a"].load_mask()
    with pytest.raises(DataError, match=rf"with blank\.png .*{message}"):
        pairs["with blank"].load_mask()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (stripes(0, 3), r"holds the value 3; .*labelmap\.txt has labels for 0 to 2, and 255 is void"),
        (palette_mask(stripes(0, 1)), r"shows the value 1 in #800000, but .* 'scratch' there with #0a141e; save"),
        (painted(stripes(0, 1), {1: (10, 20, 30)}), r"has mode RGB but must hold one number a pixel \(P or L\)"),
    ],
)
def test_a_wrong_mask_of_numbers_is_refused_when_decoded(
    own: Path, put: Put, mask: np.ndarray | Image.Image, message: str
) -> None:
    put("own/SegmentationClass/a.png", stripes(0, 1, 2, 255, 0))
    put("own/SegmentationClass/with blank.png", mask)
    pairs = {pair.stem: pair for pair in read(own).pairs}
    pairs["a"].load_mask()
    with pytest.raises(DataError, match=rf"with blank\.png {message}"):
        pairs["with blank"].load_mask()


def test_an_unreadable_first_mask_does_not_decide(own: Path) -> None:
    (own / "SegmentationClass" / "a.png").write_bytes(b"no picture")
    pairs = {pair.stem: pair for pair in read(own).pairs}
    np.testing.assert_array_equal(pairs["with blank"].load_mask(), stripes(0, 1, 2, 2, 0))
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        pairs["a"].load_mask()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("background:0,0,0::\nrust:300,0,0::\n", r"line 2 is 'rust:300,0,0::'; it must be name:red,green,blue"),
        ("background:0,0,0::\nrust:red::\n", r"line 2 is 'rust:red::'"),
        (":0,0,0::\n", "line 1 is ':0,0,0::'"),
        ("a:0,0,0::\na:1,1,1::\n", "has the name 'a' twice"),
        ("a:0,0,0::\nb:1,1,1::\nc:1,1,1::\n", "has the colour '#010101' twice"),
        ("# nothing\n", "has 0 labels; from 2 to 255 can be used"),
        ("".join(f"c{i}:{i},1,1::\n" for i in range(256)), "has 256 labels"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_malformed_labelmap_is_refused(own: Path, text: str | bytes, message: str) -> None:
    (own / "labelmap.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=rf"labelmap\.txt.*{message}"):
        read(own)


def test_strange_trees_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").write_text("a file")
    (tmp_path / "SegmentationClass").mkdir()
    with pytest.raises(DataError, match="has none of the known layouts"):
        read(tmp_path)
    with pytest.raises(
        DataError, match="needs one folder with JPEGImages/ and SegmentationClass/, but there is none"
    ):
        read_source(DataConfig(source=tmp_path, layout="voc"))
