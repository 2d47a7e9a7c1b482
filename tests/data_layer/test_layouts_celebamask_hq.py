"""CelebAMask-HQ: parts of faces, drawn over one another as the publisher's script does."""

from pathlib import Path

import numpy as np
import pytest

from imported import NO_SPLIT, Noise, Put, imported, loaded, names
from isdm.config import DataConfig
from isdm.data.layouts import read_source
from isdm.data.layouts.source import Source, SourcePair
from isdm.errors import DataError

NAMES = [
    "background",
    "skin",
    "nose",
    "eye_g",
    "l_eye",
    "r_eye",
    "l_brow",
    "r_brow",
    "l_ear",
    "r_ear",
    "mouth",
    "u_lip",
    "l_lip",
    "hair",
    "hat",
    "ear_r",
    "neck_l",
    "neck",
    "cloth",
]
NUMBERS = (0, 7, 2000)
IMAGE, MASK = (12, 8), (6, 4)
MAPPING = "       idx  orig_idx  orig_file\n0 119613 119614.jpg\n7 99094 099095.jpg\n2000 200121 200122.jpg\n"
PARTITION = "000001.jpg 0\n099095.jpg 1\n119614.jpg 0\n200122.jpg 2\n"


def part_pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(MASK) < 0.3


def put_part(put: Put, number: int, name: str, pixels: np.ndarray, *, in_colour: bool = True) -> Path:
    values = pixels * np.uint8(255)
    values = values[:, :, None].repeat(3, axis=2) if in_colour else values
    return put(f"faces/CelebAMask-HQ-mask-anno/{number // 2000}/{number:05d}_{name}.png", values)


@pytest.fixture
def root(put: Put, noise: Noise, tmp_path: Path) -> Path:
    for number in NUMBERS:
        put(f"faces/CelebA-HQ-img/{number}.jpg", noise(number, *IMAGE, 3))
    for index, name in enumerate(reversed(NAMES[1:])):
        put_part(put, 0, name, part_pixels(index), in_colour=index % 2 == 0)
    for number in NUMBERS[1:]:
        put_part(put, number, "skin", np.ones(MASK, bool))
        put_part(put, number, "hair", part_pixels(50 + number))
    (tmp_path / "faces" / "CelebA-HQ-to-CelebA-mapping.txt").write_text(MAPPING)
    for name in ("README.txt", "CelebAMask-HQ-attribute-anno.txt", "CelebAMask-HQ-pose-anno.txt"):
        (tmp_path / "faces" / name).write_text("…")
    return tmp_path / "faces"


def read(root: Path) -> Source:
    layout, source = read_source(DataConfig(source=root))
    assert layout == "celebamask-hq"
    return source


def pair_of(source: Source, stem: str) -> SourcePair:
    return next(pair for pair in source.pairs if pair.stem == stem)


def test_parts_lie_over_one_another_in_the_order_of_the_classes(root: Path) -> None:
    source = read(root)
    assert list(source.class_names) == NAMES
    assert source.problems == []
    small = np.zeros(MASK, np.uint8)
    for index, name in reversed(list(enumerate(reversed(NAMES[1:])))):
        small[part_pixels(index)] = NAMES.index(name)
    mask = pair_of(source, "00000").load_mask()
    assert mask.shape == IMAGE
    assert mask.dtype == np.uint8
    for y in range(IMAGE[0]):
        for x in range(IMAGE[1]):
            assert mask[y, x] == small[y // 2, x // 2]
    assert {18, 17, 16}.issubset(np.unique(mask))


def test_it_is_imported_pixel_by_pixel(root: Path) -> None:
    expected = {pair.stem: pair.load_mask() for pair in read(root).pairs}
    dataset = imported(root, **NO_SPLIT)
    assert names(dataset) == NAMES
    np.testing.assert_equal({stem: mask for stem, (_, mask) in loaded(dataset).items()}, expected)


def test_folders_hold_2000_images_and_all_parts_are_noted(root: Path) -> None:
    source = read(root)
    pair = pair_of(source, "02000")
    assert pair.image.name == "2000.jpg"
    assert pair.mask == root / "CelebAMask-HQ-mask-anno" / "1" / "02000_skin.png"
    assert pair.more_files == (root / "CelebAMask-HQ-mask-anno" / "1" / "02000_hair.png",)
    assert len({pair_of(source, "00000").mask, *pair_of(source, "00000").more_files}) == 18
    assert [pair.group for pair in source.pairs] == [None] * 3


@pytest.mark.parametrize("up", [0, 1])
def test_the_folder_and_what_holds_it_are_recognised(root: Path, up: int) -> None:
    named = root.rename(root.with_name("CelebAMask-HQ"))
    assert len(read([named, named.parent][up]).pairs) == 3


def test_splits_need_both_files(root: Path) -> None:
    source = read(root)
    assert [pair.split for pair in source.pairs] == [None, None, None]
    assert any("there are no splits" in note for note in source.notes)
    (root / "list_eval_partition.txt").write_text(PARTITION)
    source = read(root)
    assert {pair.stem: pair.split for pair in source.pairs} == {
        "00000": "train",
        "00007": "validation",
        "02000": "test",
    }
    assert any("splits are CelebA's" in note for note in source.notes)


@pytest.mark.parametrize(
    ("mapping", "partition", "message"),
    [
        (MAPPING + "8 x y\n", PARTITION, "mapping.txt, line 5 is '8 x y'; it must be like '0 119613 119614.jpg'"),
        (MAPPING + "8 1\n", PARTITION, "mapping.txt, line 5 is '8 1'"),
        (MAPPING + "8 1 1.jpg\n", PARTITION, "mapping.txt, line 5 names '1.jpg', which .*partition.txt lacks"),
        (MAPPING, "000001.jpg 3\n", r"partition.txt, line 1 is '000001.jpg 3'; it must be like '000001.jpg 0'"),
        (MAPPING, "202599\n000001.jpg 0\n", "partition.txt, line 1 is '202599'"),
    ],
)
def test_malformed_files_of_splits_are_refused(root: Path, mapping: str, partition: str, message: str) -> None:
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text(mapping)
    (root / "list_eval_partition.txt").write_text(partition)
    with pytest.raises(DataError, match=message):
        read(root)


def test_an_image_without_a_split_is_named(root: Path) -> None:
    (root / "CelebA-HQ-to-CelebA-mapping.txt").write_text(MAPPING.replace("\n7 99094 099095.jpg", ""))
    (root / "list_eval_partition.txt").write_text(PARTITION)
    source = read(root)
    (problem,) = source.problems
    assert "7.jpg is not in " in problem
    assert [pair.stem for pair in source.pairs] == ["00000", "02000"]


def test_what_is_missing_unknown_or_misplaced_is_named(root: Path, put: Put, noise: Noise) -> None:
    skin = np.ones((*MASK, 3)) * 255
    put("faces/CelebA-HQ-img/4001.jpg", noise(8, *IMAGE, 3))
    put("faces/CelebA-HQ-img/portrait.jpg", noise(8, *IMAGE, 3))
    put("faces/CelebA-HQ-img/0.png", noise(8, *IMAGE, 3))
    put_part(put, 9, "skin", np.ones(MASK, bool))
    put("faces/CelebAMask-HQ-mask-anno/0/00007_beard.png", skin)
    put("faces/CelebAMask-HQ-mask-anno/0/skin.png", skin)
    put("faces/CelebAMask-HQ-mask-anno/0/02000_cloth.png", skin)
    source = read(root)
    assert [pair.stem for pair in source.pairs] == ["00000"]
    text = "\n".join(source.problems)
    for expected in (
        f"CelebA-HQ-img/4001.jpg has no mask; expected {root / 'CelebAMask-HQ-mask-anno/2/04001_skin.png'}",
        "CelebA-HQ-img/portrait.jpg must be named by its number",
        "0.png and ",
        "0/00009_skin.png has no image; expected ",
        "0/00007_beard.png is no known part; known are skin, nose",
        "0/skin.png must be named like 00000_hair.png",
        "0/02000_cloth.png is in the wrong folder or misnamed; move it to ",
    ):
        assert expected in text
    assert len(source.problems) == 7


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((12, 8), r"00007_skin\.png is 4x6 but .*00007_hair\.png is 8x12|00007_hair\.png is 8x12 but .*skin"),
        ((5, 4), "they must agree"),
    ],
)
def test_parts_of_several_sizes_are_refused_when_decoded(
    root: Path, put: Put, shape: tuple[int, int], message: str
) -> None:
    put_part(put, 7, "hair", np.ones(shape, bool))
    with pytest.raises(DataError, match=message):
        pair_of(read(root), "00007").load_mask()


@pytest.mark.parametrize("shape", [(13, 8), (12, 12), (3, 2)])
def test_an_image_of_another_size_is_refused_when_decoded(
    root: Path, put: Put, noise: Noise, shape: tuple[int, int]
) -> None:
    put("faces/CelebA-HQ-img/7.jpg", noise(0, *shape, 3))
    with pytest.raises(DataError, match=rf"7\.jpg is {shape[1]}x{shape[0]} but .*00007_skin\.png is 4x6; the image"):
        pair_of(read(root), "00007").load_mask()


@pytest.mark.parametrize("factor", [1, 3])
def test_other_whole_factors_are_taken(root: Path, put: Put, noise: Noise, factor: int) -> None:
    put("faces/CelebA-HQ-img/7.jpg", noise(0, MASK[0] * factor, MASK[1] * factor, 3))
    small = np.where(part_pixels(57), NAMES.index("hair"), NAMES.index("skin"))
    np.testing.assert_array_equal(pair_of(read(root), "00007").load_mask(), np.kron(small, np.ones((factor, factor))))


def test_damaged_files_are_refused_when_decoded(root: Path) -> None:
    (root / "CelebA-HQ-img" / "7.jpg").write_bytes(b"\xff\xd8\xff")
    (root / "CelebAMask-HQ-mask-anno" / "1" / "02000_hair.png").write_bytes(b"")
    source = read(root)
    assert source.problems == []
    with pytest.raises(DataError, match=r"7\.jpg cannot be read as an image"):
        pair_of(source, "00007").load_mask()
    with pytest.raises(DataError, match=r"02000_hair\.png cannot be read as an image"):
        pair_of(source, "02000").load_mask()


def test_images_alone_are_not_recognised(root: Path) -> None:
    (root / "CelebAMask-HQ-mask-anno").rename(root / "masks-anno")
    with pytest.raises(DataError, match="has none of the known layouts"):
        read(root)
    with pytest.raises(DataError, match="needs CelebA-HQ-img/ and CelebAMask-HQ-mask-anno/"):
        read_source(DataConfig(source=root, layout="celebamask-hq"))
