"""Instance maps: imported, kept, brought to size, and turned into the borders that the network sees."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imported import NO_SPLIT, Noise, Put, imported
from isdm.config import DataConfig, Fit, build
from isdm.data.checking import check_dataset
from isdm.data.dataset import SPLITS, Pair, SegmentationDataset
from isdm.data.fitting import fit_instances, fit_pair
from isdm.data.importing import import_dataset
from isdm.data.instances import load_instances, outside_id, read_instances
from isdm.data.semantic_map import instance_edges, semantic_map
from isdm.errors import DataError, OutputError
from rawfiles import read_png16, write_png16, write_tiff

TWO_CELLS = np.zeros((8, 8), np.uint16)
TWO_CELLS[2:5, 1:4], TWO_CELLS[2:5, 4:7] = 40_000, 300
"""Two objects of one class that touch, on background 0."""


def borders(ids: np.ndarray) -> np.ndarray:
    """Mark by hand each pixel of (H, W) that has a neighbour, above, below, left or right, with another id."""
    height, width = ids.shape
    marked = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width and ids[v, u] != ids[y, x]:
                    marked[y, x] = 1
    return marked


@pytest.fixture
def cells(tmp_path: Path, put: Put, noise: Noise) -> Path:
    """Three images of 8x8 whose masks do not tell two objects apart, and maps that do."""
    for index, stem in enumerate("abc"):
        put(f"source/images/{stem}.png", noise(index))
        put(f"source/masks/{stem}.png", (TWO_CELLS > 0) * 255)
    write_png16(tmp_path / "source/instances/a.png", TWO_CELLS[:, :, None])
    write_tiff(tmp_path / "source/instances/b.tif", np.roll(TWO_CELLS, 1, axis=1), big_endian=True)
    put("source/instances/c.png", np.unique(TWO_CELLS, return_inverse=True)[1].reshape(8, 8))
    return tmp_path / "source"


def maps_by_stem(dataset: SegmentationDataset) -> dict[str, np.ndarray]:
    pairs = [pair for split in SPLITS for pair in dataset.pairs(split)]
    maps = load_instances(dataset, pairs)
    assert maps is not None
    return {pair.stem: ids for pair, ids in zip(pairs, maps, strict=True)}


def test_borders_are_marked_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    ids = rng.choice([3, 3, 3, 300, 40_000], (4, 7, 9))
    edges = instance_edges(torch.from_numpy(ids))
    assert (edges.dtype, edges.shape) == (torch.float32, (4, 1, 7, 9))
    np.testing.assert_array_equal(edges[:, 0].numpy(), [borders(one) for one in ids])


def test_a_single_object_has_no_border_and_one_row_is_enough() -> None:
    assert instance_edges(torch.full((1, 4, 4), 7)).sum() == 0
    assert instance_edges(torch.tensor([[[1, 1, 2]]])).tolist() == [[[[0, 1, 1]]]]


def test_the_borders_are_the_last_channel_of_the_semantic_map() -> None:
    mask = torch.from_numpy((TWO_CELLS > 0).astype(np.int64))[None]
    ids = torch.from_numpy(TWO_CELLS.astype(np.int64))[None]
    whole = semantic_map(mask, 3, instances=ids)
    assert whole.shape == (1, 4, 8, 8)
    assert torch.equal(whole[:, :3], semantic_map(mask, 3))
    np.testing.assert_array_equal(whole[0, 3].numpy(), borders(TWO_CELLS))


def test_ignored_pixels_stay_the_zero_vector() -> None:
    mask = torch.from_numpy((TWO_CELLS > 0).astype(np.int64))[None]
    mask[:, :, 4:] = 255
    whole = semantic_map(mask, 2, instances=torch.from_numpy(TWO_CELLS.astype(np.int64))[None])
    assert whole[..., 4:].abs().sum() == 0
    np.testing.assert_array_equal(whole[0, 2, :, :4].numpy(), borders(TWO_CELLS)[:, :4])


def test_instance_maps_are_imported_with_their_ids(cells: Path) -> None:
    dataset = imported(cells, **NO_SPLIT)
    maps = maps_by_stem(dataset)
    np.testing.assert_array_equal(maps["a"], TWO_CELLS)
    np.testing.assert_array_equal(maps["b"], np.roll(TWO_CELLS, 1, axis=1))
    np.testing.assert_array_equal(borders(maps["c"]), borders(TWO_CELLS))
    assert maps["a"].dtype == np.uint16
    assert check_dataset(dataset) == 3
    pair = dataset.pairs("train")[0]
    assert pair.metadata["instance_file_name"] == "instances/a.png"
    assert pair.instances is not None
    np.testing.assert_array_equal(read_png16(pair.instances), TWO_CELLS)


def test_a_dataset_imported_again_keeps_them(cells: Path) -> None:
    first = imported(cells, **NO_SPLIT)
    second = import_dataset(build(DataConfig, {"source": first.folder} | NO_SPLIT), cells.parent / "second")
    for stem, ids in maps_by_stem(first).items():
        np.testing.assert_array_equal(maps_by_stem(second)[stem], ids)


def test_split_folders_have_maps_each(tmp_path: Path, put: Put, noise: Noise) -> None:
    for seed, split in enumerate(("train", "val", "test")):
        put(f"source/{split}/images/a.png", noise(seed))
        put(f"source/{split}/masks/a_mask.png", (TWO_CELLS > 0) * 255)
        write_png16(tmp_path / "source" / split / "Instances" / "a_mask.png", TWO_CELLS[:, :, None])
    dataset = imported(tmp_path / "source")
    assert check_dataset(dataset) == 3
    assert all(load_instances(dataset, dataset.pairs(split)) is not None for split in SPLITS)


def test_a_map_that_is_missing_is_named(cells: Path) -> None:
    (cells / "instances" / "b.tif").unlink()
    with pytest.raises(DataError, match=r"1 problem.*\n.*images/b\.png has no instance map; expected .*nces/b\.png"):
        imported(cells)


def test_a_split_without_any_map_is_named(tmp_path: Path, put: Put, noise: Noise) -> None:
    for split in ("train", "test"):
        put(f"source/{split}/images/a.png", noise(0))
        put(f"source/{split}/masks/a.png", (TWO_CELLS > 0) * 255)
    write_png16(tmp_path / "source/train/instances/a.png", TWO_CELLS[:, :, None])
    with pytest.raises(DataError, match=r"test/images/a\.png has no instance map; expected .*test/instances/a\.png"):
        imported(tmp_path / "source")


def test_a_map_of_another_size_is_named(cells: Path, put: Put) -> None:
    put("source/instances/c.png", np.zeros((8, 9)))
    with pytest.raises(DataError, match=r"instances/c\.png is 9x8 but .*masks/c\.png is 8x8; they must agree"):
        imported(cells)


def test_a_map_in_colour_is_refused(cells: Path, put: Put, noise: Noise) -> None:
    put("source/instances/c.png", noise(0))
    with pytest.raises(DataError, match=r"c\.png has mode RGB; instance maps hold one id a pixel: save it grey"):
        imported(cells)


def test_a_changed_map_is_another_source(cells: Path, put: Put) -> None:
    imported(cells)
    put("source/instances/c.png", np.zeros((8, 8)))
    with pytest.raises(OutputError, match="another source"):
        imported(cells)


def test_palette_maps_give_their_indices(put: Put) -> None:
    picture = Image.fromarray(np.array([[0, 5], [5, 9]], np.uint8))
    picture.putpalette([255, 255, 255] * 10)
    assert read_instances(put("a.png", picture)).tolist() == [[0, 5], [5, 9]]


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("size", [(13, 5), (4, 4), (16, 24)])
def test_maps_are_fitted_exactly_as_masks_are(fit: Fit, size: tuple[int, int]) -> None:
    """A map whose ids are the mask's, times 257, stays so; what the mask ignores is the given id."""
    mask = np.random.default_rng(0).integers(0, 200, (9, 7), np.uint8)
    fitted_mask = fit_pair(mask[..., None], mask, size, fit)[1]
    fitted = fit_instances(mask.astype(np.uint16) * 257, mask, size, fit, outside=65535)
    assert fitted.dtype == np.uint16
    np.testing.assert_array_equal(fitted, fitted_mask.astype(np.uint16) * 257)


def test_without_a_size_maps_stay_the_same() -> None:
    for size in (None, (8, 8)):
        np.testing.assert_array_equal(
            fit_instances(TWO_CELLS, np.zeros(TWO_CELLS.shape, np.uint8), size, "pad", 0), TWO_CELLS
        )


def test_the_outside_has_the_backgrounds_id() -> None:
    ids = np.array([[9, 9, 5], [4, 4, 4]], np.uint16)
    assert outside_id(ids, np.array([[0, 0, 0], [1, 1, 1]], np.uint8)) == 9
    assert outside_id(ids, np.ones((2, 3), np.uint8)) == 0


def test_padding_draws_no_border_across_the_background(tmp_path: Path, put: Put, noise: Noise) -> None:
    put("source/images/a.png", noise(0, 4, 8, 3))
    put("source/masks/a.png", np.eye(4, 8, k=2) * 255)
    put("source/instances/a.png", np.eye(4, 8, k=2) + 7)
    ids = maps_by_stem(imported(tmp_path / "source", size=8, fit="pad", **NO_SPLIT))["a"]
    assert (ids[:2] == 7).all()
    assert (ids[6:] == 7).all()


def test_a_dataset_without_maps_has_none(fruit_source: Path) -> None:
    dataset = imported(fruit_source)
    assert load_instances(dataset, dataset.pairs("train")) is None
    assert all(pair.instances is None for pair in dataset.pairs("train"))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("with_maps", [False, True])
def test_the_fingerprint_counts_maps_only_where_there_are_some(cells: Path, with_maps: bool) -> None:
    """Models and synthetic sets made before instance maps existed still recognise their dataset."""
    if not with_maps:
        for path in (cells / "instances").iterdir():
            path.unlink()
        (cells / "instances").rmdir()
    dataset = imported(cells, **NO_SPLIT)
    classes = [{"id": entry.id, "name": entry.name, "colour": entry.colour} for entry in dataset.info.classes]
    lines = []
    for pair in dataset.pairs("train"):
        files = [pair.image, pair.mask, *([pair.instances] if pair.instances else [])]
        lines.append([pair.image.name, *(sha256(file.read_bytes()) for file in files), pair.group])
    text = json.dumps([classes, sorted(lines)], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert dataset.fingerprint("train") == sha256(text.encode())
    assert len(lines[0]) == (5 if with_maps else 4)


def edit_lines(dataset: SegmentationDataset, change: Callable[[dict[str, str]], None]) -> None:
    path = dataset.folder / "train" / "metadata.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines[1])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_split_with_some_maps_is_refused_by_name(cells: Path) -> None:
    dataset = imported(cells, **NO_SPLIT)
    edit_lines(dataset, lambda line: line.pop("instance_file_name"))
    with pytest.raises(DataError, match=r"metadata\.jsonl: b\.png has no instance map but others do; import it"):
        dataset.pairs("train")


def test_a_map_outside_the_dataset_is_refused(cells: Path) -> None:
    dataset = imported(cells, **NO_SPLIT)
    edit_lines(dataset, lambda line: line.update(instance_file_name="../../x.png"))
    with pytest.raises(DataError, match=r"line 2: .*x\.png lies outside the dataset"):
        dataset.pairs("train")


def test_pairs_of_which_some_have_maps_are_refused() -> None:
    pairs = [Pair(Path("a.png"), Path("m.png"), {}, Path("i.png")), Pair(Path("b.png"), Path("m.png"), {})]

    class Anything:
        folder = Path("cells")

    with pytest.raises(DataError, match=r"cells: b\.png has no instance map but others do"):
        load_instances(Anything(), pairs)  # type: ignore[arg-type]


def test_checking_finds_a_split_without_maps_and_a_map_of_another_size(cells: Path) -> None:
    dataset = imported(cells, test=1, validation=0)
    pair = dataset.pairs("train")[0]
    assert pair.instances is not None
    Image.fromarray(np.zeros((3, 3), np.uint16)).save(pair.instances)
    path = dataset.folder / "test" / "metadata.jsonl"
    line = json.loads(path.read_text())
    del line["instance_file_name"]
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(DataError) as caught:
        check_dataset(dataset)
    assert str(caught.value).startswith("2 problem(s)")
    assert f"{pair.stem}.png is 3x3 but" in str(caught.value)
    assert "test has no instance maps but train has" in str(caught.value)


def test_beyond_the_limit_maps_are_kept_on_disk(cells: Path) -> None:
    dataset = imported(cells, **NO_SPLIT)
    pairs = dataset.pairs("train")
    on_disk = load_instances(dataset, pairs, memory_limit_bytes=0)
    assert isinstance(on_disk, np.memmap)
    np.testing.assert_array_equal(on_disk, load_instances(dataset, pairs))


def test_hugging_face_reads_the_maps(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    folder = imported(cells, **NO_SPLIT).folder
    rows = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert rows.num_rows == 3
    np.testing.assert_array_equal(np.asarray(rows[0]["instance"]), TWO_CELLS)
